/* A thread that makes a few system calls for us while it stands stopped, one after the other: the steps of one passing
 * of descriptors, and how it is let go unharmed. Each stop is one call of lent_goes_on(), which never waits: who
 * waits for the stops, and for how long, is the caller's. */
#ifndef SUPERVISOR_HANDLES_LENT_H
#define SUPERVISOR_HANDLES_LENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/handles/letter.h"
#include "supervisor/handles/registers.h"

enum lent_step { LENT_MAP, LENT_SOCKET, LENT_SEND, LENT_CLOSE, LENT_UNMAP, LENT_LEAVE, LENT_STEPS };

struct lent {
    pid_t tid;
    struct registers saved;
    uint64_t saved_mask;
    unsigned long call;          /* address of a system call instruction */
    enum lent_step step;
    unsigned long stack;         /* the beginning of its stack, if that is the process's own one: it may be borrowed */
    bool borrowed;               /* the letter lies on that stack, below what is in use; `kept` is what was there */
    struct letter kept;
    bool stepping;               /* a call is a single step: one stop instead of two. Set by the caller: it may be */
    bool inside;                 /* if not: it has entered the step's call, and not left it */
    bool trapped;                /* a SIGTRAP that is not ours has come meanwhile */
    /* what it is to send, and where to */
    const int *fds;              /* the caller's, until lent_give_up() */
    unsigned count;              /* at most LETTER_FDS_MOST */
    struct sockaddr_un to;
    socklen_t to_size;
    /* `page`: where the letter lies; what the calls returned, or -errno; error: the first one that failed */
    long page, socket, sent, error;
};

enum lent_state { LENT_GOES_ON, LENT_DONE, LENT_LOST };

/* The thread stands in its first stop after PTRACE_INTERRUPT. `lent` has tid, call, fds, count, `to`,
 * stepping and stack; the rest is zero. Returns LENT_GOES_ON; or LENT_LOST and errno: EAGAIN (not from where it
 * stands), ENOSYS, ESRCH: nothing has been changed. */
enum lent_state lent_begin(struct lent *lent);

/* It stopped again; `status` as in waitid(2) of a traced thread. LENT_DONE: it has been let go, and is as it was
 * before. LENT_LOST: it has ended. */
enum lent_state lent_goes_on(struct lent *lent, int status);

/* Nobody waits for the descriptors any more: what has not been done for them is left out, what has been is undone. */
void lent_give_up(struct lent *lent);

#endif
