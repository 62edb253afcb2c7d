/* Which thread of a process is to be stopped for a moment, and to make system calls for us. Its own call is
 * interrupted by that: one that waits in futex(2), poll(2) or nanosleep(2) goes on without a trace of it,
 * epoll_wait(2) returns EINTR as after a SIGSTOP (signal(7)), and a recv(2) returns what it has taken, which a brake
 * may mean to keep. */
#ifndef SUPERVISOR_HANDLES_LENDER_H
#define SUPERVISOR_HANDLES_LENDER_H

#include <stdbool.h>
#include <sys/types.h>

/* Fills tids[0…room) with threads of `pid`, the best first. Looks at some of many. Returns how many there are; 0: the
 * process is gone, or cannot be looked at. */
unsigned lender_choose(pid_t pid, pid_t *tids, unsigned room);

/* Of one that did it before: does it wait where no trace is left now, too? Then none is looked for. */
bool lender_is_still_best(pid_t tid);

/* What of a thread is looked at before it does it for the first time. */
struct lender_traits {
    int filters;       /* seccomp: how many it has; -1: not known */
    bool is_filtered;  /* it has one that this process has not, which may forbid calls, or end it for them */
    bool ignores_trap; /* SIGTRAP, or it is not known: then it is not to get one */
    unsigned long stack; /* where the stack of the process begins, if this is its main thread; 0: not, or not known */
};
void lender_read_traits(pid_t pid, pid_t tid, struct lender_traits *traits);

#endif
