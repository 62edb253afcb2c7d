/* Job control: lastcall stands in its shell's job, the app in a process group of its own, and the terminal goes back
 * and forth between the three.
 *
 *   in the foreground    the terminal is the app's: ^C and ^Z reach the app's group, and only it, once
 *   ^Z                   the app stops; the terminal comes back to our group, which stops too, whole (a pipeline, the
 *                        script that called us); our shell sees a stopped job and takes over
 *   fg                   the shell gives our group the terminal and SIGCONT; we hand both on to the app
 *   bg, or started by &  the shell keeps the terminal; an app that reads it is stopped (SIGTTIN), and we are with it
 *   a container's PID 1  nobody could ever continue us: a ^Z continues the app at once
 *
 * This file blocks in one place only, stop_our_group(), and only while a shell is there to end it. It never takes the
 * terminal from a group that is neither ours nor the app's. */
#include "supervisor/app/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/process.h"
#include "common/signals.h"
#include "supervisor/app/signals.h"

enum { MOST_ANCESTORS = 64 };

static int open_controlling_terminal(void)
{
    return open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

/* A group is orphaned when none of its members has a parent in its session and outside of it (POSIX, 3.264). We look
 * along our own ancestors: a script's shell may stand between us and the interactive one. */
static bool somebody_can_continue_us(pid_t own_group)
{
    const pid_t session = getsid(0);
    pid_t parent = getppid();

    for (int i = 0; i < MOST_ANCESTORS && parent > 0; i++) {
        struct process_stat stat;
        if (process_read_stat(parent, &stat) == -1 || stat.session != session)
            return false;
        if (stat.pgrp != own_group)
            return true;
        parent = stat.ppid;
    }
    return false;
}

static bool is_ours_in_the_end(pid_t pid)
{
    for (int i = 0; i < MOST_ANCESTORS && pid > 1; i++) {
        struct process_stat stat;
        if (process_read_stat(pid, &stat) == -1)
            return false;
        if (stat.ppid == getpid())
            return true;
        pid = stat.ppid;
    }
    return false;
}

/* tcsetpgrp(3) from the background stops the caller unless SIGTTOU is blocked. */
static void set_foreground(const struct terminal *terminal, pid_t group)
{
    uint64_t before = 0;

    signals_set_mask(~UINT64_C(0), &before);
    tcsetpgrp(terminal->fd, group);
    signals_set_mask(before, NULL);
}

static void continue_app(const struct terminal *terminal)
{
    kill(-terminal->app_group, SIGCONT);
}

static void give_to_app_if_ours(const struct terminal *terminal)
{
    if (tcgetpgrp(terminal->fd) == terminal->own_group)
        set_foreground(terminal, terminal->app_group);
}

void terminal_open(struct terminal *terminal)
{
    *terminal = (struct terminal){ .fd = open_controlling_terminal(), .own_group = getpgrp() };
    terminal->can_stop = somebody_can_continue_us(terminal->own_group);
    if (terminal->fd != -1 && tcgetpgrp(terminal->fd) != terminal->own_group)
        fd_close(&terminal->fd);
}

void terminal_close(struct terminal *terminal)
{
    fd_close(&terminal->fd);
}

/* Started in the background, we left the terminal alone; a later fg brings us to it. */
static bool find_again(struct terminal *terminal)
{
    if (terminal->app_group == 0)
        return false;
    if (terminal->fd == -1)
        terminal->fd = open_controlling_terminal();
    return terminal->fd != -1;
}

/* The SIGCONT that ended our stop is pending for the signalfd: the app is continued here, and needs it once only. */
static void drop_pending_continue(void)
{
    const uint64_t only = SIGNAL_BIT(SIGCONT);
    const struct timespec now = { 0, 0 };

    while (syscall(SYS_rt_sigtimedwait, &only, NULL, &now, sizeof only) == SIGCONT)
        ;
}

/* What the terminal itself does at ^Z: SIGTSTP to the whole group, us included, with its default effect. The kernel
 * ignores it when our group has become orphaned meanwhile, so we can't be left behind stopped; and a SIGCONT that is
 * faster than we are takes it back. Returns when continued. */
static void stop_our_group(void)
{
    const struct sigaction by_default = { .sa_handler = SIG_DFL };
    struct sigaction former;
    uint64_t before = 0;

    sigaction(SIGTSTP, &by_default, &former);
    signals_set_mask(~UINT64_C(0), &before);
    kill(0, SIGTSTP);
    signals_set_mask(~SIGNAL_BIT(SIGTSTP), NULL);
    signals_set_mask(~UINT64_C(0), NULL);
    drop_pending_continue();
    signals_set_mask(before, NULL);
    sigaction(SIGTSTP, &former, NULL);
}

void terminal_app_stopped(struct terminal *terminal)
{
    if (!find_again(terminal))
        return;
    const pid_t front = tcgetpgrp(terminal->fd);
    terminal->can_stop = somebody_can_continue_us(terminal->own_group);
    if (front == terminal->own_group || !terminal->can_stop) {
        /* We are (again) the foreground job; or PID 1, where the app must have the terminal or wait for ever. */
        set_foreground(terminal, terminal->app_group);
        continue_app(terminal);
        return;
    }
    if (front == terminal->app_group)
        set_foreground(terminal, terminal->own_group);
    stop_our_group();
    give_to_app_if_ours(terminal);
    continue_app(terminal);
}

void terminal_continued(struct terminal *terminal)
{
    if (find_again(terminal))
        give_to_app_if_ours(terminal);
}

/* The foreground group is the app's, or one that a process of the app's made, or nobody is left in it. */
static bool is_left_by_app(const struct terminal *terminal, pid_t front)
{
    if (front <= 0 || front == terminal->own_group)
        return false;
    return front == terminal->app_group || is_ours_in_the_end(front) || (kill(-front, 0) == -1 && errno == ESRCH);
}

void terminal_take_back(struct terminal *terminal)
{
    if (terminal->fd == -1 || terminal->app_group == 0)
        return;
    if (is_left_by_app(terminal, tcgetpgrp(terminal->fd)))
        set_foreground(terminal, terminal->own_group);
}
