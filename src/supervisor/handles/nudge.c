/* Nudges by ptrace(2): see supervisor/handles/nudge.h. Never waits, and never keeps a thread stopped. */
#include "supervisor/handles/nudge.h"

#include <errno.h>
#include <sys/ptrace.h>

#include "common/as_user.h"
#include "supervisor/handles/ptrace_duplicate.h"

#define LATE_US INT64_C(5000)

static bool is_under_way(const struct nudges *nudges, pid_t tid)
{
    for (unsigned i = 0; i < nudges->count; i++)
        if (nudges->list[i].tid == tid)
            return true;
    return false;
}

int nudge_thread(struct nudges *nudges, pid_t tid, int64_t now_us)
{
    if (is_under_way(nudges, tid))
        return 0;
    if (nudges->count == NUDGES_MOST) {
        errno = EBUSY;
        return -1;
    }
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, tid, AS_USER_TO_TOUCH);
    if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0)
        return -1;
    nudges->list[nudges->count].tid = tid;
    nudges->list[nudges->count++].since_us = now_us;
    return (int)ptrace(PTRACE_INTERRUPT, tid, 0, 0); /* fails only when it has ended: that will be reaped */
}

static void forget(struct nudges *nudges, pid_t tid)
{
    for (unsigned i = 0; i < nudges->count; i++)
        if (nudges->list[i].tid == tid)
            nudges->list[i--] = nudges->list[--nudges->count];
}

/* Also one that is not in the list any more, or has got another number by execve(2): whoever stops for us is let go. */
void nudge_stopped(struct nudges *nudges, pid_t tid, int status)
{
    long signo = status >> 8 ? 0 : status;
    if (!ptrace_duplicate_stopped(tid, status))
        ptrace(PTRACE_DETACH, tid, 0, (void *)signo);
    forget(nudges, tid);
}

void nudge_ended(struct nudges *nudges, pid_t tid)
{
    ptrace_duplicate_ended(tid);
    forget(nudges, tid);
}

unsigned nudge_forget_late(struct nudges *nudges, int64_t now_us)
{
    unsigned late = 0;
    for (unsigned i = 0; i < nudges->count; i++) {
        if (now_us - nudges->list[i].since_us < LATE_US)
            continue;
        late++;
        nudges->list[i--] = nudges->list[--nudges->count];
    }
    return late;
}
