/* Stops of traced threads: see supervisor/handles/stops.h. Never waits beyond a limit, and never reaps.
 *
 * The wait is sigtimedwait(2) for SIGCHLD, not waitid(2), which has no limit, and not a loop of looks: where the thread
 * shares our processor, a loop keeps it from stopping. */
#include "supervisor/handles/stops.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/signals.h"

static const uint64_t child = SIGNAL_BIT(SIGCHLD);

static void set_mask(int how, const uint64_t *mask, uint64_t *before)
{
    syscall(SYS_rt_sigprocmask, how, mask, before, sizeof *mask);
}

/* One that is not blocked, and has no handler, would not be kept for us. */
void stops_begin(struct stops *stops)
{
    *stops = (struct stops){0};
    set_mask(SIG_BLOCK, &child, &stops->mask);
}

static bool has_news(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

void stops_end(const struct stops *stops)
{
    int error = errno;
    if (stops->took && has_news())
        kill(getpid(), SIGCHLD);
    if (!(stops->mask & child))
        set_mask(SIG_SETMASK, &stops->mask, NULL);
    errno = error;
}

int stops_look(pid_t tid, int *status)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0)
        return errno == EINTR ? 0 : -1;
    *status = info.si_status;
    return info.si_pid == 0 ? 0 : info.si_code == CLD_TRAPPED ? 1 : -1;
}

bool stops_wait(struct stops *stops, int64_t until_us)
{
    int64_t left_us = until_us - clock_now_us();
    if (left_us <= 0)
        return false;
    struct timespec left = {left_us / US_PER_SECOND, left_us % US_PER_SECOND * 1000};
    stops->took |= syscall(SYS_rt_sigtimedwait, &child, NULL, &left, sizeof child) == SIGCHLD;
    return true;
}

int stops_wait_for(struct stops *stops, pid_t tid, int64_t until_us, int *status)
{
    int seen;
    while ((seen = stops_look(tid, status)) == 0)
        if (!stops_wait(stops, until_us)) {
            errno = ETIMEDOUT;
            return -1;
        }
    errno = ESRCH;
    return seen > 0 ? 0 : -1;
}
