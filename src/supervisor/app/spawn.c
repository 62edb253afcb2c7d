/* Starting a child with a clean slate.
 *
 * What needs memory is prepared before fork(2). Between fork and execve(2) there are system calls only: no allocation,
 * no stdio, no lock. Each step that fails is told to the parent through a close-on-exec pipe; its end of file is the
 * news that execve succeeded. Descriptors that lastcall inherited (LISTEN_FDS, redirections) are the app's and pass
 * through; ours are close-on-exec, every one of them. */
#include "supervisor/app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/app/signals.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* execvpe(3), when there is no PATH */
#define SHELL "/bin/sh"

enum { EXEC_LIMIT_MS = 10000, SCRIPT_SAMPLE_BYTES = 128 };

/* sd_listen_fds(3), sd_watchdog_enabled(3): meant for one pid, ours; the child takes our place. */
struct pid_variable {
    const char *name; /* with the '=' */
    size_t slot;      /* of envp; SIZE_MAX: not there, or not meant for us */
    char text[40];
};

struct plan {
    const struct spawn_request *request;
    char **envp;   /* heap, or the request's room: its strings in an array of our own */
    char **script; /* the same: sh, the script, argv[1]… */
    struct pid_variable listen, watchdog;
    pid_t parent;
    int report; /* the pipe's write end */
};

/* ---- before the fork ---- */

static void plan_cleanup(struct plan *plan)
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

static bool find_pid_variable(struct pid_variable *variable, const char *name, char *const *envp)
{
    *variable = (struct pid_variable){ .name = name, .slot = SIZE_MAX };
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

static int plan_environment(struct plan *plan)
{
    char *const *envp = plan->request->envp;
    const size_t count = count_strings(envp);

    plan->envp = plan->request->room ? plan->request->room : calloc(count + 1, sizeof *plan->envp);
    if (!plan->envp)
        return -1;
    memcpy(plan->envp, envp, (count + 1) * sizeof *envp);
    struct pid_variable any;
    if (find_pid_variable(&any, "LISTEN_PID=", plan->envp))
        drop_variable(plan->envp, "LISTEN_PIDFDID=");
    find_pid_variable(&plan->listen, "LISTEN_PID=", plan->envp);
    find_pid_variable(&plan->watchdog, "WATCHDOG_PID=", plan->envp);
    return 0;
}

/* A script without "#!" is run by the shell, as execvp(3) does: room for the shell's name and the script's. */
static int plan_script(struct plan *plan)
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

/* ---- in the child ---- */

static _Noreturn void child_fail(const struct plan *plan, enum spawn_step step, int error)
{
    const struct spawn_failure failure = { step, error };
    const ssize_t written = write(plan->report, &failure, sizeof failure);

    _exit(written == sizeof failure ? spawn_exit_code(&failure) : 125);
}

static void write_pid(struct pid_variable *variable, char **envp, pid_t pid)
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

static void child_set_death_signal(const struct plan *plan)
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
static void child_take_terminal(const struct plan *plan)
{
    if (plan->request->terminal == -1 || tcsetpgrp(plan->request->terminal, getpgrp()) == 0)
        return;
    if (errno != ENOTTY && errno != ENXIO && errno != EIO)
        child_fail(plan, SPAWN_TERMINAL, errno);
}

static void child_keep_descriptor(struct plan *plan)
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
static int exec_file(struct plan *plan, const char *path)
{
    execve(path, plan->request->argv, plan->envp);
    if (errno != ENOEXEC || !is_text(path))
        return errno;
    plan->script[1] = (char *)path;
    execve(SHELL, plan->script, plan->envp);
    return ENOEXEC;
}

static const char *path_of(char *const *envp)
{
    for (; *envp; envp++)
        if (starts_with(*envp, "PATH="))
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
static int exec_by_path(struct plan *plan, const char *name)
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

static int child_exec(struct plan *plan)
{
    const char *name = plan->request->argv[0];

    if (!name || *name == '\0')
        return ENOENT;
    write_pid(&plan->listen, plan->envp, getpid());
    write_pid(&plan->watchdog, plan->envp, getpid());
    return strchr(name, '/') ? exec_file(plan, name) : exec_by_path(plan, name);
}

/* Comes with every signal blocked. The mask is emptied last: until then no ^C can end the child half-way. */
static _Noreturn void child_run(struct plan *plan)
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

/* ---- in the parent ---- */

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

static pid_t fork_with_signals_blocked(struct plan *plan)
{
    uint64_t before = 0;

    signals_set_mask(~UINT64_C(0), &before);
    const pid_t pid = fork();
    if (pid == 0)
        child_run(plan);
    const int error = errno;
    signals_set_mask(before, NULL);
    errno = error;
    return pid;
}

pid_t spawn_process(const struct spawn_request *request, struct spawn_failure *failure)
{
    struct plan plan __attribute__((cleanup(plan_cleanup))) = { .request = request, .parent = getpid() };
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
