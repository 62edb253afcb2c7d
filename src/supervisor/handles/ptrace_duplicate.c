/* Duplicates by ptrace(2): see supervisor/handles/ptrace_duplicate.h. Never waits for longer than it says there. */
#include "supervisor/handles/ptrace_duplicate.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/handles/lender.h"
#include "supervisor/handles/lent.h"

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

/* Who did it the last time. */
static struct {
    pid_t pid, tid;
} last;

/* No thread of it could be stopped just now: its other handles are not waited for in vain, too. */
static struct {
    pid_t pid;
    int64_t until_us;
} busy;

/* -- stops --------------------------------------------------------------------------------------------------------- */

/* 1: it stands stopped; 0: not yet; -1: it has ended. What is seen stays to be reaped: an end is not ours to take. */
static int look_for_stop(pid_t tid, int *status)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0)
        return errno == EINTR ? 0 : -1;
    *status = info.si_status;
    return info.si_pid == 0 ? 0 : info.si_code == CLD_TRAPPED ? 1 : -1;
}

/* -1 and errno: ETIMEDOUT, ESRCH. */
static int wait_for_stop(pid_t tid, int64_t until_us, int *status)
{
    for (int seen; (seen = look_for_stop(tid, status)) <= 0; sched_yield())
        if (seen < 0 || clock_now_us() >= until_us) {
            errno = seen < 0 ? ESRCH : ETIMEDOUT;
            return -1;
        }
    return 0;
}

/* Threads that were interrupted and have not stopped yet. Whenever they do, they are let go by who reaps them. */
struct asked {
    pid_t tids[THREADS_ASKED];
    unsigned count;
};

static void forget(struct asked *asked, unsigned i)
{
    asked->tids[i] = asked->tids[--asked->count];
}

/* The first one that stops, and is not in the list any more; 0: none did. */
static pid_t wait_for_any(struct asked *asked, int64_t until_us, int *status)
{
    for (; asked->count > 0; sched_yield()) {
        for (unsigned i = asked->count; i-- > 0;) {
            pid_t tid = asked->tids[i];
            int seen = look_for_stop(tid, status);
            if (seen != 0)
                forget(asked, i);
            if (seen > 0)
                return tid;
        }
        if (clock_now_us() >= until_us)
            break;
    }
    return 0;
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
    unfinished[unfinished_count++] = *lent;
    errno = EAGAIN;
    return -1;
}

static int run(struct lent *lent)
{
    int status;
    int64_t until_us = clock_now_us() + ptrace_duplicate_limits.calls_us;
    for (enum lent_state state = LENT_GOES_ON; state == LENT_GOES_ON; state = lent_goes_on(lent, status))
        if (wait_for_stop(lent->tid, until_us, &status) < 0)
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

/* -- the letter-box ------------------------------------------------------------------------------------------------ */

/* A name of the kernel's choice, which lives for this one call (unix(7), "Autobind feature"): it needs no file system,
 * and no process but the app's could know it in time. What comes is looked at by its inode. */
static int open_box(struct lent *lent)
{
    int box _cleanup_close_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    lent->to_size = sizeof lent->to;
    if (box < 0 || bind(box, (struct sockaddr *)&any, sizeof any.sun_family) < 0 ||
        getsockname(box, (struct sockaddr *)&lent->to, &lent->to_size) < 0)
        return -1;
    int opened = box;
    box = -1;
    return opened;
}

static int take_from(int box)
{
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights;
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1,
                             .msg_control = &rights, .msg_controllen = CMSG_LEN(sizeof(int))}; /* room for one only */
    int fd = -1;
    if (recvmsg(box, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    errno = EMFILE; /* it was sent, and there was no number for it */
    return fd;
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

static int pass(pid_t pid, pid_t tid, int status, struct lent *lent)
{
    bool known = last.pid == pid && last.tid == tid;
    *lent = (struct lent){.tid = tid, .call = lent->call, .fd = lent->fd, .to = lent->to, .to_size = lent->to_size};
    if (!known && lender_is_filtered(tid))
        return let_go(tid, status >> 8 ? 0 : status, ENOSYS);
    if (lend(lent, status) < 0)
        return -1;
    last.pid = pid;
    last.tid = tid;
    return 0;
}

/* One thread after the other is interrupted, 1 ms apart; the first one that stops does it. */
static int ask(pid_t pid, const pid_t *tids, unsigned count, struct lent *lent)
{
    struct asked asked = {.count = 0};
    int status, error = ESRCH;
    int64_t end_us = clock_now_us() + ptrace_duplicate_limits.stop_us * THREADS_ASKED;
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

static int ask_threads(pid_t pid, struct lent *lent)
{
    pid_t tids[THREADS_ASKED];
    unsigned count = lender_choose(pid, last.pid == pid ? last.tid : 0, tids, THREADS_ASKED);
    lent->call = registers_find_call(pid);
    if (lent->call && ask(pid, tids, count, lent) == 0)
        return 0;
    last.pid = 0;
    errno = error_of_process(pid, errno);
    return -1;
}

/* Those that were late: the next try is their chance, too, as long as they go on at once. */
static void finish_unfinished(void)
{
    int status;
    for (unsigned i = unfinished_count; i-- > 0;) {
        enum lent_state state = LENT_GOES_ON;
        while (state == LENT_GOES_ON && wait_for_stop(unfinished[i].tid, clock_now_us() + 100, &status) == 0)
            state = lent_goes_on(&unfinished[i], status);
        if (state != LENT_GOES_ON)
            unfinished[i] = unfinished[--unfinished_count];
    }
}

int ptrace_duplicate(pid_t pid, int fd)
{
    struct lent lent = {.fd = fd};
    finish_unfinished();
    bool rests = busy.pid == pid && clock_now_us() < busy.until_us;
    errno = EAGAIN;
    if (rests || unfinished_count > UNFINISHED_MOST - THREADS_ASKED)
        return -1;
    int box _cleanup_close_ = open_box(&lent);
    if (box < 0)
        return -1;
    if (ask_threads(pid, &lent) == 0)
        return take_from(box);
    if (errno == EAGAIN) {
        busy.pid = pid;
        busy.until_us = clock_now_us() + ptrace_duplicate_limits.rest_us;
    }
    return -1;
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
