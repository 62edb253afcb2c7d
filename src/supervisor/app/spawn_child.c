/* Starting a child, from fork(2) to execve(2): its group, terminal, descriptors and signals are set, and its command is
 * looked for as execvpe(3) does.
 *
 * There are system calls only: no allocation, no stdio, no lock. Never returns; a step that fails is told to the parent
 * through a close-on-exec pipe. */
#include "supervisor/app/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/app/signals.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* execvpe(3), when there is no PATH */

enum { SCRIPT_SAMPLE_BYTES = 128 };

static _Noreturn void child_fail(const struct spawn_plan *plan, enum spawn_step step, int error)
{
    const struct spawn_failure failure = { step, error };
    const ssize_t written = write(plan->report, &failure, sizeof failure);

    _exit(written == sizeof failure ? spawn_exit_code(&failure) : 125);
}

static void write_pid(struct spawn_pid_variable *variable, char **envp, pid_t pid)
{
    char digits[16];
    size_t count = 0, at = strlen(variable->name);

    if (variable->slot == SIZE_MAX)
        return;
    memcpy(variable->text, variable->name, at);
    do
        digits[count++] = (char)('0' + pid % 10);
    while ((pid /= 10) > 0);
    while (count > 0)
        variable->text[at++] = digits[--count];
    variable->text[at] = '\0';
    envp[variable->slot] = variable->text;
}

static void child_set_death_signal(const struct spawn_plan *plan)
{
    if (plan->request->death_signal == 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, plan->request->death_signal, 0, 0, 0) == -1)
        child_fail(plan, SPAWN_SIGNALS, errno);
    if (getppid() != plan->parent) /* it died before the call: the signal will never come */
        _exit(125);
}

/* Needs SIGTTOU blocked: the child's new group is in the background until this call. A terminal that has hung up is no
 * reason not to run the app. */
static void child_take_terminal(const struct spawn_plan *plan)
{
    if (plan->request->terminal == -1 || tcsetpgrp(plan->request->terminal, getpgrp()) == 0)
        return;
    if (errno != ENOTTY && errno != ENXIO && errno != EIO)
        child_fail(plan, SPAWN_TERMINAL, errno);
}

static void child_keep_descriptor(struct spawn_plan *plan)
{
    const int fd = plan->request->keep_fd, as = plan->request->keep_as;

    if (fd == -1)
        return;
    if (plan->report == as) { /* out of the way, or it would be closed */
        const int moved = fcntl(plan->report, F_DUPFD_CLOEXEC, as + 1);
        if (moved == -1)
            child_fail(plan, SPAWN_PIPE, errno);
        plan->report = moved;
    }
    if (fd == as ? fcntl(fd, F_SETFD, 0) == -1 : dup2(fd, as) == -1)
        child_fail(plan, SPAWN_PIPE, errno);
}

/* A program for another machine is no script either: the shell would print its bytes as errors. */
static bool is_text(const char *path)
{
    char sample[SCRIPT_SAMPLE_BYTES];
    int fd _cleanup_close_ = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1)
        return false;
    const ssize_t size = read(fd, sample, sizeof sample);
    return size >= 0 && !memchr(sample, '\0', (size_t)size);
}

/* Returns only when it fails: the errno. */
static int exec_file(struct spawn_plan *plan, const char *path)
{
    execve(path, plan->request->argv, plan->envp);
    if (errno != ENOEXEC || !is_text(path))
        return errno;
    plan->script[1] = (char *)path;
    execve(plan->script[0], plan->script, plan->envp);
    return ENOEXEC;
}

static const char *path_of(char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", strlen("PATH=")) == 0)
            return *envp + strlen("PATH=");
    return DEFAULT_PATH;
}

/* Joins one element of PATH (empty: the working directory) and the name; false when it does not fit. */
static bool join_path(char at[static PATH_MAX], const char *directory, size_t length, const char *name)
{
    const size_t name_size = strlen(name) + 1;

    if (length + 1 + name_size > PATH_MAX)
        return false;
    memcpy(at, directory, length);
    if (length > 0)
        at[length++] = '/';
    memcpy(at + length, name, name_size);
    return true;
}

/* "Not in this directory": go on to the next (as execvpe(3)). */
static bool is_not_here(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV || error == ETIMEDOUT ||
           error == ENAMETOOLONG;
}

/* Returns only when it fails: the telling errno. One that is there but may not be executed beats all that are not. */
static int exec_by_path(struct spawn_plan *plan, const char *name)
{
    char candidate[PATH_MAX];
    int telling = ENOENT;

    for (const char *from = path_of(plan->envp), *end;; from = end + 1) {
        end = strchrnul(from, ':');
        if (join_path(candidate, from, (size_t)(end - from), name)) {
            const int error = exec_file(plan, candidate);
            if (error == EACCES)
                telling = EACCES;
            else if (!is_not_here(error))
                return error;
        }
        if (*end == '\0')
            return telling;
    }
}

static int child_exec(struct spawn_plan *plan)
{
    const char *name = plan->request->argv[0];

    if (!name || *name == '\0')
        return ENOENT;
    write_pid(&plan->listen, plan->envp, getpid());
    write_pid(&plan->watchdog, plan->envp, getpid());
    return strchr(name, '/') ? exec_file(plan, name) : exec_by_path(plan, name);
}

/* Comes with every signal blocked. The mask is emptied last: until then no ^C can end the child half-way. */
_Noreturn void spawn_child_run(struct spawn_plan *plan)
{
    child_set_death_signal(plan);
    if (plan->request->own_group && setpgid(0, 0) == -1)
        child_fail(plan, SPAWN_GROUP, errno);
    child_take_terminal(plan);
    child_keep_descriptor(plan);
    if (plan->request->output_to_error && dup2(STDERR_FILENO, STDOUT_FILENO) == -1)
        child_fail(plan, SPAWN_PIPE, errno);
    if (plan->request->descriptors) /* it can only fail where ours could not be raised either */
        (void)setrlimit(RLIMIT_NOFILE, plan->request->descriptors);
    if (signals_reset(plan->request->still_ignored) == -1 || signals_set_mask(0, NULL) == -1)
        child_fail(plan, SPAWN_SIGNALS, errno);
    child_fail(plan, SPAWN_EXEC, child_exec(plan));
}
