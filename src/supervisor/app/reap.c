/* Reaping: what ended, stopped or went on among our children, one at a time. Never waits, never signals. */
#include "supervisor/app/reap.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int reap_become_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static struct reaped reaped_from(pid_t pid, int status)
{
    if (WIFEXITED(status))
        return (struct reaped){ pid, REAPED_EXITED, WEXITSTATUS(status) };
    if (WIFSIGNALED(status))
        return (struct reaped){ pid, REAPED_SIGNALED, WTERMSIG(status) };
    if (WIFSTOPPED(status))
        return (struct reaped){ pid, REAPED_STOPPED, WSTOPSIG(status) };
    return (struct reaped){ pid, REAPED_CONTINUED, 0 };
}

struct reaped reap_next(void)
{
    int status;
    pid_t pid;

    do
        pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED);
    while (pid == -1 && errno == EINTR);
    if (pid <= 0)
        return (struct reaped){ 0, REAPED_NONE, 0 };
    return reaped_from(pid, status);
}

int reap_exit_code(const struct reaped *reaped)
{
    return reaped->how == REAPED_SIGNALED ? 128 + reaped->value : reaped->value;
}
