/* signals: every number really sent by another process, and read from the signalfd. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/signals.h"
#include "supervisor/app/signals.h"
#include "waiting.h"

static int take_within_limit(int fd, struct taken_signal *taken)
{
    int result = 0;

    ck_assert_msg(wait_until((result = signals_take(fd, taken)) != 0), "no signal came");
    return result;
}

/* Takes the SIGCHLD of `pid` too. */
static void reap(int fd, pid_t pid)
{
    struct taken_signal taken;
    int status = -1;

    ck_assert(wait_until(waitpid(pid, &status, WNOHANG) == pid));
    ck_assert_int_eq(status, 0);
    while (signals_take(fd, &taken) == 1)
        ck_assert_int_eq(taken.signo, SIGCHLD);
}

static pid_t send_from_child(int signo)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(syscall(SYS_kill, getppid(), signo) == 0 ? 0 : 1);
    return pid;
}

static void ignore_raw(int signo)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } ignore = {.handler = SIG_IGN};

    ck_assert_int_eq(syscall(SYS_rt_sigaction, signo, &ignore, NULL, sizeof(uint64_t)), 0);
}

START_TEST(every_signal_is_taken)
{
    uint64_t ignored;
    struct taken_signal taken;
    const int fd = signals_open(&ignored);

    ck_assert_int_ge(fd, 0);
    for (int signo = 1; signo <= SIGNAL_LAST; signo++) {
        if (signo == SIGKILL || signo == SIGSTOP || signo == SIGCHLD)
            continue;
        const pid_t child = send_from_child(signo);
        do
            ck_assert_int_eq(take_within_limit(fd, &taken), 1);
        while (taken.signo == SIGCHLD);
        ck_assert_int_eq(taken.signo, signo);
        ck_assert_int_eq(taken.from, child);
        ck_assert(!taken.by_kernel);
        reap(fd, child);
    }
    ck_assert_int_eq(signals_take(fd, &taken), 0);
}
END_TEST

START_TEST(a_childs_end_is_taken)
{
    uint64_t ignored;
    struct taken_signal taken;
    const int fd = signals_open(&ignored);
    const pid_t child = fork();

    if (child == 0)
        _exit(0);
    ck_assert_int_eq(take_within_limit(fd, &taken), 1);
    ck_assert_int_eq(taken.signo, SIGCHLD);
    ck_assert_int_eq(taken.from, child);
    reap(fd, child);
}
END_TEST

START_TEST(all_are_blocked_and_the_descriptor_is_closed_at_exec)
{
    uint64_t ignored;
    char status[8192];
    const int fd = signals_open(&ignored);

    ck_assert_int_gt(fd_read_file(AT_FDCWD, "/proc/self/status", status, sizeof status), 0);
    const char *blocked = strstr(status, "\nSigBlk:");
    ck_assert_ptr_nonnull(blocked);
    ck_assert_uint_eq(strtoull(blocked + 8, NULL, 16), ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP)));
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}
END_TEST

START_TEST(ignored_ones_are_told_and_still_taken)
{
    uint64_t ignored = 0;
    struct taken_signal taken;

    ignore_raw(SIGHUP);
    ignore_raw(33);
    ignore_raw(64);
    const int fd = signals_open(&ignored);
    ck_assert_uint_eq(ignored & (SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(33) | SIGNAL_BIT(64)),
                      SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(33) | SIGNAL_BIT(64));
    ck_assert_uint_eq(ignored & SIGNAL_BIT(SIGTERM), 0);
    kill(getpid(), SIGHUP);
    ck_assert_int_eq(take_within_limit(fd, &taken), 1);
    ck_assert_int_eq(taken.signo, SIGHUP);
    ck_assert_int_eq(taken.from, getpid());
}
END_TEST

/* A parent that ignored SIGCHLD hands that on by exec: the kernel would then throw our children's exit codes away. */
START_TEST(an_ignored_sigchld_does_not_lose_exit_codes)
{
    uint64_t ignored = 0;
    int status = 0;

    ignore_raw(SIGCHLD);
    ck_assert_int_ge(signals_open(&ignored), 0);
    ck_assert_uint_eq(ignored & SIGNAL_BIT(SIGCHLD), SIGNAL_BIT(SIGCHLD));
    const pid_t child = fork();
    if (child == 0)
        _exit(42);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 42);
}
END_TEST

START_TEST(our_own_broken_pipe_is_nobodys_signal)
{
    uint64_t ignored;
    struct taken_signal taken;
    int ends[2];
    const int fd = signals_open(&ignored);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    ck_assert_int_eq(write(ends[1], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    kill(getpid(), SIGUSR1);
    ck_assert_int_eq(take_within_limit(fd, &taken), 1);
    ck_assert_int_eq(taken.signo, SIGUSR1);
    ck_assert_int_eq(signals_take(fd, &taken), 0);
}
END_TEST

/* In a terminal of its own: says that it is ready, and answers with what it took. */
static _Noreturn void run_in_terminal(int report)
{
    uint64_t ignored;
    struct taken_signal taken = { 0 };
    const int fd = signals_open(&ignored);

    if (write(report, "r", 1) != 1 || !wait_until(signals_take(fd, &taken) == 1))
        _exit(1);
    _exit(taken.signo == SIGINT && taken.by_kernel && taken.from == 0 ? 0 : 2);
}

START_TEST(the_terminals_signal_is_by_the_kernel)
{
    int ends[2], terminal, status = -1;
    char ready;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0)
        run_in_terminal(ends[1]);
    ck_assert_int_eq(read(ends[0], &ready, 1), 1);
    ck_assert_int_eq(write(terminal, "\003", 1), 1);
    ck_assert(wait_until(waitpid(child, &status, WNOHANG) == child));
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("supervisor signals");
    TCase *cases = tcase_create("supervisor signals");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 30);
    tcase_add_test(cases, every_signal_is_taken);
    tcase_add_test(cases, a_childs_end_is_taken);
    tcase_add_test(cases, all_are_blocked_and_the_descriptor_is_closed_at_exec);
    tcase_add_test(cases, ignored_ones_are_told_and_still_taken);
    tcase_add_test(cases, an_ignored_sigchld_does_not_lose_exit_codes);
    tcase_add_test(cases, our_own_broken_pipe_is_nobodys_signal);
    tcase_add_test(cases, the_terminals_signal_is_by_the_kernel);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
