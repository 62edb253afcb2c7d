/* Reaping: what ended, stopped or went on among our children, one at a time. Never waits, never signals. */
#include "supervisor/app/reap.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int reap_become_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static struct reaped reaped_from(const siginfo_t *info)
{
    static const enum reaped_how how_of[] = {
        [CLD_EXITED] = REAPED_EXITED, [CLD_KILLED] = REAPED_SIGNALED, [CLD_DUMPED] = REAPED_SIGNALED,
        [CLD_TRAPPED] = REAPED_TRAPPED, [CLD_STOPPED] = REAPED_STOPPED, [CLD_CONTINUED] = REAPED_CONTINUED};
    const enum reaped_how how = how_of[info->si_code];

    return (struct reaped){ info->si_pid, how, how == REAPED_CONTINUED ? 0 : info->si_status };
}

struct reaped reap_next(void)
{
    siginfo_t info = { 0 };
    int result;

    do
        result = waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG);
    while (result == -1 && errno == EINTR);
    if (result == -1 || info.si_pid == 0)
        return (struct reaped){ 0, REAPED_NONE, 0 };
    return reaped_from(&info);
}

bool reap_is_childless(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

int reap_exit_code(const struct reaped *reaped)
{
    return reaped->how == REAPED_SIGNALED ? 128 + reaped->value : reaped->value;
}
