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
bool lender_is_still_best(pid_t pid, pid_t tid);

/* Has the thread a seccomp filter that this process has not? Its own may forbid calls, or end it for them. */
bool lender_is_filtered(pid_t tid);

#endif
