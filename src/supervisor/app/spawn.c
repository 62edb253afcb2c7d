/* Starting a child with a clean slate: the parent's side.
 *
 * What needs memory is prepared before fork(2); what the child does until execve(2) is in spawn_child.c. A step that
 * fails there is told through a close-on-exec pipe; its end of file is the news that execve succeeded. Descriptors that
 * lastcall inherited (LISTEN_FDS, redirections) are the app's and pass through; ours are close-on-exec, every one of
 * them. */
#include "supervisor/app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/spawn_child.h"

#define SHELL "/bin/sh"

enum { EXEC_LIMIT_MS = 10000 };

/* ---- before the fork ---- */

static void plan_cleanup(struct spawn_plan *plan)
{
    if (plan->request->room)
        return;
    free(plan->envp);
    free(plan->script);
}

static size_t count_strings(char *const *strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    return count;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_for_us(const char *assignment, const char *name)
{
    char *end;

    if (!starts_with(assignment, name))
        return false;
    const char *value = assignment + strlen(name);
    const long pid = strtol(value, &end, 10);
    return end != value && *end == '\0' && pid == getpid();
}

static bool find_pid_variable(struct spawn_pid_variable *variable, const char *name, char *const *envp)
{
    *variable = (struct spawn_pid_variable){ .name = name, .slot = SIZE_MAX };
    for (size_t i = 0; envp[i]; i++)
        if (is_for_us(envp[i], name)) {
            variable->slot = i;
            return true;
        }
    return false;
}

/* LISTEN_PIDFDID names our pidfd's inode: it would make the child refuse what is meant for it. Its absence is fine. */
static void drop_variable(char **envp, const char *name)
{
    char **to = envp;

    for (char **from = envp; *from; from++)
        if (!starts_with(*from, name))
            *to++ = *from;
    *to = NULL;
}

static int plan_environment(struct spawn_plan *plan)
{
    char *const *envp = plan->request->envp;
    const size_t count = count_strings(envp);

    plan->envp = plan->request->room ? plan->request->room : calloc(count + 1, sizeof *plan->envp);
    if (!plan->envp)
        return -1;
    memcpy(plan->envp, envp, (count + 1) * sizeof *envp);
    struct spawn_pid_variable any;
    if (find_pid_variable(&any, "LISTEN_PID=", plan->envp))
        drop_variable(plan->envp, "LISTEN_PIDFDID=");
    find_pid_variable(&plan->listen, "LISTEN_PID=", plan->envp);
    find_pid_variable(&plan->watchdog, "WATCHDOG_PID=", plan->envp);
    return 0;
}

/* A script without "#!" is run by the shell, as execvp(3) does: room for the shell's name and the script's. */
static int plan_script(struct spawn_plan *plan)
{
    char *const *argv = plan->request->argv;
    const size_t count = count_strings(argv);
    char **room = plan->request->room;

    plan->script = room ? room + count_strings(plan->request->envp) + 1 : calloc(count + 2, sizeof *plan->script);
    if (!plan->script)
        return -1;
    plan->script[0] = (char *)SHELL;
    if (count > 0)
        memcpy(plan->script + 2, argv + 1, count * sizeof *argv); /* with the NULL */
    return 0;
}

/* ---- the fork, and after it ---- */

static pid_t spawn_fail(struct spawn_failure *failure, enum spawn_step step, int error)
{
    *failure = (struct spawn_failure){ step, error };
    return -1;
}

static void reap_failed(pid_t pid)
{
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
        ;
}

/* True when the child said that it failed. An execve that takes longer than the limit (a dead network file system) must
 * not cost the supervisor its signals: it counts as started, and if it fails later its exit code tells. */
static bool read_failure(int fd, struct spawn_failure *failure)
{
    struct pollfd waited = { .fd = fd, .events = POLLIN };
    ssize_t size;
    int ready;

    do
        ready = poll(&waited, 1, EXEC_LIMIT_MS);
    while (ready == -1 && errno == EINTR);
    if (ready == 0)
        return false;
    do
        size = read(fd, failure, sizeof *failure);
    while (size == -1 && errno == EINTR);
    return size == sizeof *failure;
}

static pid_t fork_with_signals_blocked(struct spawn_plan *plan)
{
    uint64_t before = 0;

    signals_set_mask(~UINT64_C(0), &before);
    const pid_t pid = fork();
    if (pid == 0)
        spawn_child_run(plan);
    const int error = errno;
    signals_set_mask(before, NULL);
    errno = error;
    return pid;
}

pid_t spawn_process(const struct spawn_request *request, struct spawn_failure *failure)
{
    struct spawn_plan plan __attribute__((cleanup(plan_cleanup))) = { .request = request, .parent = getpid() };
    int ends[2];

    *failure = (struct spawn_failure){ SPAWN_OK, 0 };
    if (plan_environment(&plan) == -1 || plan_script(&plan) == -1)
        return spawn_fail(failure, SPAWN_FORK, ENOMEM);
    if (pipe2(ends, O_CLOEXEC) == -1)
        return spawn_fail(failure, SPAWN_PIPE, errno);
    int read_end _cleanup_close_ = ends[0];
    plan.report = ends[1];

    const pid_t pid = fork_with_signals_blocked(&plan);
    const int error = errno;
    close(ends[1]);
    if (pid == -1)
        return spawn_fail(failure, SPAWN_FORK, error);
    if (request->own_group)
        setpgid(pid, pid); /* whoever comes first; EACCES: the child did and has executed */
    if (request->outcome) {
        *request->outcome = read_end;
        read_end = -1;
        return pid;
    }
    if (!read_failure(read_end, failure))
        return pid;
    reap_failed(pid);
    return -1;
}

bool spawn_read_outcome(int *outcome, struct spawn_failure *failure)
{
    const ssize_t size = *outcome == -1 ? 0 : read(*outcome, failure, sizeof *failure);

    fd_close(outcome);
    return size != sizeof *failure;
}

int spawn_exit_code(const struct spawn_failure *failure)
{
    if (failure->step != SPAWN_EXEC)
        return 125;
    switch (failure->error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return 127;
    default:
        return 126;
    }
}

const char *spawn_step_name(enum spawn_step step)
{
    static const char *const names[] = {
        [SPAWN_OK] = "nothing failed",
        [SPAWN_PIPE] = "preparing its descriptors",
        [SPAWN_FORK] = "creating the process",
        [SPAWN_GROUP] = "giving it a process group",
        [SPAWN_TERMINAL] = "giving it the terminal",
        [SPAWN_SIGNALS] = "resetting its signals",
        [SPAWN_EXEC] = "executing the command",
    };

    return (size_t)step < sizeof names / sizeof *names ? names[step] : "an unknown step";
}
