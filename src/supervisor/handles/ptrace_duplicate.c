/* Duplicates by ptrace(2): see supervisor/handles/ptrace_duplicate.h. Never waits for longer than it says there. */
#include "supervisor/handles/ptrace_duplicate.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/handles/lender.h"
#include "supervisor/handles/lent.h"
#include "supervisor/handles/letterbox.h"
#include "supervisor/handles/stops.h"

struct ptrace_duplicate_limits ptrace_duplicate_limits = {.stop_us = 1000, .calls_us = 5000, .rest_us = 3000};

enum { THREADS_ASKED = 5, UNFINISHED_MOST = 8 };

/* Threads that had begun and were late: finished stop by stop, as they are reaped. */
static struct lent unfinished[UNFINISHED_MOST];
static unsigned unfinished_count;

static struct lent *find_unfinished(pid_t tid)
{
    for (unsigned i = 0; i < unfinished_count; i++)
        if (unfinished[i].tid == tid)
            return &unfinished[i];
    return NULL;
}

static struct stops stops;

/* Who did it the last time. */
static struct {
    pid_t pid, tid;
    unsigned long call; /* where it made its calls */
    bool stepping;      /* and how */
    unsigned long stack;
} last;

/* No thread of it could be stopped just now: its other handles are not waited for in vain, too. */
static struct {
    pid_t pid;
    int64_t until_us;
} busy;

/* -- stops --------------------------------------------------------------------------------------------------------- */

/* Threads that were interrupted and have not stopped yet. Whenever they do, they are let go by who reaps them. */
struct asked {
    pid_t tids[THREADS_ASKED];
    unsigned count;
};

static void forget(struct asked *asked, unsigned i)
{
    asked->tids[i] = asked->tids[--asked->count];
}

static pid_t find_stopped(struct asked *asked, int *status)
{
    for (unsigned i = asked->count; i-- > 0;) {
        pid_t tid = asked->tids[i];
        int seen = stops_look(tid, status);
        if (seen != 0)
            forget(asked, i);
        if (seen > 0)
            return tid;
    }
    return 0;
}

/* The first one that stops, and is not in the list any more; 0: none did. */
static pid_t wait_for_any(struct asked *asked, int64_t until_us, int *status)
{
    pid_t tid = 0;
    while (asked->count > 0 && (tid = find_stopped(asked, status)) == 0 && stops_wait(&stops, until_us))
        ;
    return tid;
}

/* One that is seized already, for a nudge, is interrupted all the same: what it is stopped for is done then, too. */
static int seize(pid_t tid)
{
    if (find_unfinished(tid)) {
        errno = EAGAIN;
        return -1;
    }
    if (ptrace(PTRACE_SEIZE, tid, 0, (void *)(long)PTRACE_O_TRACESYSGOOD) < 0 && errno != EPERM)
        return -1;
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0)
        return 0;
    errno = EPERM;
    return -1;
}

/* -- one thread ---------------------------------------------------------------------------------------------------- */

static int finish_later(const struct lent *lent)
{
    unfinished[unfinished_count] = *lent;
    lent_give_up(&unfinished[unfinished_count++]);
    errno = EAGAIN;
    return -1;
}

static int run(struct lent *lent)
{
    int status;
    int64_t until_us = clock_now_us() + ptrace_duplicate_limits.calls_us;
    for (enum lent_state state = LENT_GOES_ON; state == LENT_GOES_ON; state = lent_goes_on(lent, status))
        if (stops_wait_for(&stops, lent->tid, until_us, &status) < 0)
            return errno == ETIMEDOUT ? finish_later(lent) : -1;
    return 0;
}

/* What the app's calls failed with, as duplicate_take() tells it. */
static int error_of(long error)
{
    static const struct {
        int theirs, ours;
    } errors[] = {{EBADF, ESTALE}, {EPERM, ENOSYS}, {EACCES, ENOSYS}, {ENOSYS, ENOSYS}, {ECONNREFUSED, ENOSYS},
                  {EAFNOSUPPORT, ENOSYS}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].theirs == error)
            return errors[i].ours;
    return EAGAIN;
}

static int let_go(pid_t tid, int signo, int error)
{
    ptrace(PTRACE_DETACH, tid, 0, (void *)(long)signo);
    errno = error;
    return -1;
}

/* The thread has stopped: at a system call or in its own code; or at a signal, which it has to take first. */
static int lend(struct lent *lent, int status)
{
    if (status >> 8 == 0)
        return let_go(lent->tid, status, EAGAIN);
    if (lent_begin(lent) == LENT_LOST)
        return let_go(lent->tid, 0, errno);
    if (run(lent) < 0)
        return -1;
    errno = error_of(lent->error);
    return lent->sent == 1 ? 0 : -1;
}

/* -- the promise --------------------------------------------------------------------------------------------------- */

/* A process that ends has threads that cannot be seized any more, and no memory. */
static int error_of_process(pid_t pid, int error)
{
    char path[32], link[8];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (error != ESTALE && readlink(path, link, sizeof link) < 0)
        return ESRCH;
    return error == ETIMEDOUT || error == ESRCH ? EAGAIN : error;
}

static bool is_final(int error)
{
    return error == ESTALE || error == ENOSYS;
}

/* What was looked at when it did it the last time is taken for granted. */
static bool may_lend(pid_t pid, struct lent *lent)
{
    struct lender_traits traits;
    lent->stepping = last.stepping;
    lent->stack = last.stack;
    if (last.pid == pid && last.tid == lent->tid)
        return true;
    lender_read_traits(pid, lent->tid, &traits);
    lent->stepping = !traits.ignores_trap;
    lent->stack = traits.stack;
    return !traits.is_filtered;
}

static int pass(pid_t pid, pid_t tid, int status, struct lent *lent)
{
    *lent = (struct lent){.tid = tid, .call = lent->call, .fds = lent->fds, .count = lent->count, .to = lent->to,
                           .to_size = lent->to_size};
    if (!may_lend(pid, lent))
        return let_go(tid, status >> 8 ? 0 : status, ENOSYS);
    if (lend(lent, status) < 0)
        return -1;
    last.pid = pid;
    last.tid = tid;
    last.call = lent->call;
    last.stepping = lent->stepping;
    last.stack = lent->stack;
    return 0;
}

/* One thread after the other is interrupted, 1 ms apart; the first one that stops does it. */
static int ask(pid_t pid, const pid_t *tids, unsigned count, int64_t end_us, struct lent *lent)
{
    struct asked asked = {.count = 0};
    int status, error = ESRCH;
    for (unsigned next = 0; next < count || asked.count > 0;) {
        if (next < count && seize(tids[next]) == 0)
            asked.tids[asked.count++] = tids[next];
        else if (next < count)
            error = errno;
        bool more = ++next < count;
        int64_t until_us = clock_now_us() + ptrace_duplicate_limits.stop_us;
        pid_t tid = wait_for_any(&asked, more && until_us < end_us ? until_us : end_us, &status);
        if (tid && pass(pid, tid, status, lent) == 0)
            return 0;
        error = tid ? errno : asked.count > 0 ? ETIMEDOUT : error;
        if (is_final(error) || (!tid && !more))
            break;
    }
    errno = error;
    return -1;
}

/* Who did it the last time, if it waits as well as then: nothing has to be looked for. An execve(2) since then has put
 * the instruction somewhere else. */
static int ask_last(pid_t pid, int64_t end_us, struct lent *lent)
{
    lent->call = last.call;
    errno = EAGAIN;
    if (last.pid != pid || !lender_is_still_best(last.tid))
        return -1;
    int64_t until_us = clock_now_us() + ptrace_duplicate_limits.stop_us;
    if (ask(pid, &last.tid, 1, until_us < end_us ? until_us : end_us, lent) == 0)
        return 0;
    if (errno != ESTALE)
        last.pid = 0;
    return -1;
}

static int ask_any(pid_t pid, int64_t end_us, struct lent *lent)
{
    pid_t tids[THREADS_ASKED];
    unsigned count = lender_choose(pid, tids, THREADS_ASKED);
    lent->call = registers_find_call(pid);
    return lent->call ? ask(pid, tids, count, end_us, lent) : -1;
}

static int ask_threads(pid_t pid, struct lent *lent)
{
    int64_t end_us = clock_now_us() + ptrace_duplicate_limits.stop_us * THREADS_ASKED;
    if (ask_last(pid, end_us, lent) == 0)
        return 0;
    if (errno != ESTALE && ask_any(pid, end_us, lent) == 0)
        return 0;
    errno = error_of_process(pid, errno);
    return -1;
}

/* Those that were late: the next try is their chance, too, as long as they go on at once. */
static void finish_unfinished(void)
{
    int status;
    for (unsigned i = unfinished_count; i-- > 0;) {
        enum lent_state state = LENT_GOES_ON;
        while (state == LENT_GOES_ON && stops_wait_for(&stops, unfinished[i].tid, clock_now_us() + 100, &status) == 0)
            state = lent_goes_on(&unfinished[i], status);
        if (state != LENT_GOES_ON)
            unfinished[i] = unfinished[--unfinished_count];
    }
}

static int take_all(pid_t pid, const int *fds, unsigned count, int *duplicates)
{
    struct lent lent = {.fds = fds, .count = count};
    finish_unfinished();
    bool rests = busy.pid == pid && clock_now_us() < busy.until_us;
    errno = EAGAIN;
    if (rests || unfinished_count > UNFINISHED_MOST - THREADS_ASKED)
        return -1;
    int box _cleanup_close_ = letterbox_open(&lent.to, &lent.to_size);
    if (box < 0)
        return -1;
    if (ask_threads(pid, &lent) == 0)
        return letterbox_take(box, duplicates, count);
    if (errno == EAGAIN) {
        busy.pid = pid;
        busy.until_us = clock_now_us() + ptrace_duplicate_limits.rest_us;
    }
    return -1;
}

int ptrace_duplicate_all(pid_t pid, const int *fds, unsigned count, int *duplicates)
{
    stops_begin(&stops);
    int result = take_all(pid, fds, count, duplicates);
    stops_end(&stops);
    return result;
}

int ptrace_duplicate(pid_t pid, int fd)
{
    int duplicate = -1;
    return ptrace_duplicate_all(pid, &fd, 1, &duplicate) == 0 ? duplicate : -1;
}

bool ptrace_duplicate_stopped(pid_t tid, int status)
{
    struct lent *lent = find_unfinished(tid);
    if (!lent)
        return false;
    if (lent_goes_on(lent, status) != LENT_GOES_ON)
        *lent = unfinished[--unfinished_count];
    return true;
}

void ptrace_duplicate_ended(pid_t tid)
{
    struct lent *lent = find_unfinished(tid);
    if (lent)
        *lent = unfinished[--unfinished_count];
}
