/* Who gets the stop signal. Reads procfs, decides, and sends; a process whose state can't be read is never taken for
 * one that the signal ends at once. */
#include "supervisor/app/deliver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/as_user.h"
#include "common/fd.h"
#include "common/signals.h"

enum { LONGEST_CHAIN = 16 };

/* ---- facts about one process ---- */

static const uint64_t NOT_FATAL = SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGURG) |
                                  SIGNAL_BIT(SIGWINCH) | SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) |
                                  SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU);
static const uint64_t UNSTOPPABLE = SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP);

/* Calls `each` for every thread until it says no. Returns whether all said yes; no thread at all is a no. */
static bool all_threads(pid_t pid, bool (*each)(pid_t pid, const char *thread))
{
    char path[64];
    bool all = true, any = false;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads)
        return false;
    for (struct dirent *entry; all && (entry = readdir(threads));)
        if (entry->d_name[0] != '.') {
            any = true;
            all = each(pid, entry->d_name);
        }
    closedir(threads);
    return all && any;
}

static ssize_t read_of_thread(pid_t pid, const char *thread, const char *file, char *at, size_t size)
{
    char path[352];

    snprintf(path, sizeof path, "/proc/%d/task/%s/%s", pid, thread, file);
    return fd_read_file(AT_FDCWD, path, at, size);
}

static bool thread_is_zombie(pid_t pid, const char *thread)
{
    char stat[512];

    if (read_of_thread(pid, thread, "stat", stat, sizeof stat) == -1)
        return errno == ENOENT || errno == ESRCH;
    const char *end = strrchr(stat, ')');
    return end && (end[2] == 'Z' || end[2] == 'X');
}

/* A leader that called pthread_exit(3) looks like a zombie while its other threads go on. */
static bool is_alive(pid_t pid, struct process_stat *stat)
{
    if (process_read_stat(pid, stat) == -1)
        return false;
    return (stat->state != 'Z' && stat->state != 'X') || !all_threads(pid, thread_is_zombie);
}

struct status {
    bool is_init;   /* PID 1 of a namespace below ours: the kernel drops what it has no handler for */
    bool is_traced; /* the tracer gets the signal first */
};

static bool last_number_is_one(const char *numbers)
{
    const size_t length = strcspn(numbers, "\n");
    const char *last = memrchr(numbers, '\t', length);

    return last && last != numbers && length == (size_t)(last - numbers) + 2 && last[1] == '1';
}

/* proc(5): "NSpid:\t7\t1": the pid in our namespace first, then in each below. */
static int read_status(pid_t pid, struct status *status)
{
    char path[64], text[8192];

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof text) == -1)
        return -1;
    const char *tracer = strstr(text, "\nTracerPid:"), *numbers = strstr(text, "\nNSpid:");
    status->is_traced = tracer && atoi(tracer + strlen("\nTracerPid:")) != 0;
    status->is_init = numbers && last_number_is_one(numbers + strlen("\nNSpid:"));
    return 0;
}

enum answer { WOULD_END, WOULD_HANDLE, WOULD_IGNORE, WOULD_WAIT, IS_UNKNOWN };

/* Blocked in some thread may mean that sigwait(3) or signalfd(2) takes it, or just that it is not its time. */
static enum answer answer_to(pid_t pid, int signo)
{
    struct process_signals signals;
    struct status status;
    const uint64_t bit = SIGNAL_BIT(signo);

    if (process_read_signals(pid, &signals) == -1 || read_status(pid, &status) == -1)
        return IS_UNKNOWN;
    if (bit & UNSTOPPABLE)
        return bit & NOT_FATAL ? WOULD_IGNORE : WOULD_END;
    if (signals.caught & bit)
        return WOULD_HANDLE;
    if (signals.ignored & bit || status.is_init || bit & NOT_FATAL)
        return WOULD_IGNORE;
    return signals.blocked & bit || status.is_traced ? WOULD_WAIT : WOULD_END;
}

/* ---- does it do nothing but wait? ---- */

static bool is_waiting_call(long number)
{
    static const long calls[] = {
        SYS_wait4, SYS_waitid, SYS_rt_sigsuspend,
#ifdef SYS_pause
        SYS_pause,
#endif
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i] == number)
            return true;
    return false;
}

static bool is_waiting_channel(const char *name)
{
    return strcmp(name, "do_wait") == 0 || strstr(name, "sigsuspend") || strstr(name, "sys_pause");
}

static bool is_shell(pid_t pid)
{
    static const char *const shells[] = { "sh", "dash", "bash", "ash", "ksh", "mksh", "zsh", "busybox" };
    struct process_stat stat;

    if (process_read_stat(pid, &stat) == -1)
        return false;
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(stat.name, shells[i]) == 0)
            return true;
    return false;
}

/* By the system call it is in ("61 0x… "; "running": in none). That needs the right to trace (Yama gives it to an
 * ancestor); wchan less ("do_wait"; "0" where it is hidden); the name none. */
static bool thread_waits(pid_t pid, const char *thread)
{
    char text[256], *end;

    if (thread_is_zombie(pid, thread))
        return true;
    if (read_of_thread(pid, thread, "syscall", text, sizeof text) > 0) {
        const long number = strtol(text, &end, 10);
        return end != text && is_waiting_call(number);
    }
    if (read_of_thread(pid, thread, "wchan", text, sizeof text) > 0 && strcmp(text, "0") != 0)
        return is_waiting_channel(text);
    return is_shell(pid);
}

/* ---- who gets it ---- */

struct member {
    pid_t pid, ppid, pgrp;
    bool is_npm;
};

struct members {
    struct member *all; /* heap: the living, parents first */
    size_t count;
};

static void members_cleanup(struct members *members)
{
    free(members->all);
}

static int members_read(struct members *members, const struct process_tree *tree)
{
    members->all = calloc(tree->count + 1, sizeof *members->all);
    if (!members->all)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        struct process_stat stat;
        if (is_alive(tree->pids[i], &stat))
            members->all[members->count++] = (struct member){
                tree->pids[i], stat.ppid, stat.pgrp, strncmp(stat.name, "npm ", 4) == 0,
            };
    }
    return 0;
}

static const struct member *find_member(const struct members *members, pid_t pid)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->all[i].pid == pid)
            return &members->all[i];
    return NULL;
}

static const struct member *only_child(const struct members *members, const struct member *parent)
{
    const struct member *child = NULL;

    for (size_t i = 0; i < members->count; i++)
        if (members->all[i].ppid == parent->pid) {
            if (child)
                return NULL;
            child = &members->all[i];
        }
    return child;
}

/* The child for which `parent` stands there and waits, and which would never hear of the signal. Blocked is no handling
 * here: a thread that waits for a child does not wait for a signal. (A shell whose SIGCHLD handler is about to run
 * blocks all of them; a freeze, which stops its child, brings it there.) */
static const struct member *awaited_child(const struct members *members, const struct member *parent, int signo)
{
    const struct member *child = only_child(members, parent);
    const enum answer answer = child ? answer_to(parent->pid, signo) : IS_UNKNOWN;

    if ((answer != WOULD_END && answer != WOULD_WAIT) || !all_threads(parent->pid, thread_waits))
        return NULL;
    return child;
}

/* npm handles the signal: it passes it to the shell that it has started, which dies of it; the app behind that shell
 * hears nothing and is left an orphan (npm 11, @npmcli/run-script). So the shell is seen to, and the app is ours. */
static const struct member *child_behind_npm(const struct members *members, const struct member *npm, int signo)
{
    const struct member *shell = only_child(members, npm);

    return shell ? awaited_child(members, shell, signo) : NULL;
}

static int add_receiver(struct delivery *delivery, pid_t pid)
{
    pid_t *pids = realloc(delivery->pids, (delivery->count + 1) * sizeof *pids);

    if (!pids)
        return -1;
    pids[delivery->count++] = pid;
    delivery->pids = pids;
    return 0;
}

static int plan_main(struct delivery *delivery, const struct members *members, pid_t main, int signo)
{
    (void)signo;
    return find_member(members, main) ? add_receiver(delivery, main) : 0;
}

static int plan_auto(struct delivery *delivery, const struct members *members, pid_t main, int signo)
{
    const struct member *at = find_member(members, main);

    for (int i = 0; at && i < LONGEST_CHAIN; i++) {
        if (add_receiver(delivery, at->pid) == -1)
            return -1;
        if (at->pid != main)
            delivery->handed_on_to = at->pid;
        at = at->is_npm ? child_behind_npm(members, at, signo) : awaited_child(members, at, signo);
    }
    return 0;
}

static int plan_group(struct delivery *delivery, const struct members *members, pid_t main, int signo)
{
    struct process_stat stat;
    const pid_t group = process_read_stat(main, &stat) == 0 ? stat.pgrp : main;

    (void)signo;
    for (size_t i = 0; i < members->count; i++)
        if (members->all[i].pgrp == group && add_receiver(delivery, members->all[i].pid) == -1)
            return -1;
    return 0;
}

static int plan_tree(struct delivery *delivery, const struct members *members, pid_t main, int signo)
{
    (void)main;
    (void)signo;
    for (size_t i = 0; i < members->count; i++)
        if (add_receiver(delivery, members->all[i].pid) == -1)
            return -1;
    return 0;
}

static bool ends_all_at_once(const struct delivery *delivery, int signo)
{
    for (unsigned i = 0; i < delivery->count; i++)
        if (answer_to(delivery->pids[i], signo) != WOULD_END)
            return false;
    return delivery->count > 0;
}

int delivery_plan(struct delivery *delivery, enum deliver_to to, int signo, pid_t main, const struct process_tree *tree)
{
    static int (*const plans[])(struct delivery *, const struct members *, pid_t, int) = {
        [DELIVER_AUTO] = plan_auto,
        [DELIVER_MAIN] = plan_main,
        [DELIVER_GROUP] = plan_group,
        [DELIVER_TREE] = plan_tree,
    };
    struct members members __attribute__((cleanup(members_cleanup))) = { 0 };

    *delivery = (struct delivery){ 0 };
    if (signo < 1 || signo > SIGNAL_LAST || (size_t)to >= sizeof plans / sizeof *plans) {
        errno = EINVAL;
        return -1;
    }
    if (members_read(&members, tree) == -1 || plans[to](delivery, &members, main, signo) == -1) {
        delivery_finish(delivery);
        errno = ENOMEM;
        return -1;
    }
    delivery->ends_at_once = ends_all_at_once(delivery, signo);
    return 0;
}

static bool is_among(const pid_t *pids, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

int delivery_carry_over(struct delivery *delivery, const struct delivery *former, const struct process_tree *tree)
{
    for (unsigned i = 0; i < former->count; i++) {
        const pid_t pid = former->pids[i];
        if (is_among(delivery->pids, delivery->count, pid) || !is_among(tree->pids, tree->count, pid))
            continue;
        if (add_receiver(delivery, pid) == -1)
            return -1;
    }
    return 0;
}

unsigned delivery_send(const struct delivery *delivery, int signo)
{
    unsigned sent = 0;

    for (unsigned i = 0; i < delivery->count; i++)
        sent += as_user_kill(delivery->pids[i], signo) == 0;
    return sent;
}

void delivery_finish(struct delivery *delivery)
{
    free(delivery->pids);
    *delivery = (struct delivery){ 0 };
}
