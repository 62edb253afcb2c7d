/* reap: each way a child can change, and 10,000 orphans. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/app/reap.h"
#include "waiting.h"

enum { PARENTS = 100, ORPHANS_OF_EACH = 100 };

static struct reaped next_within_limit(void)
{
    struct reaped reaped = { 0 };

    ck_assert_msg(wait_until((reaped = reap_next()).how != REAPED_NONE), "nothing to reap came");
    return reaped;
}

static void expect(pid_t pid, enum reaped_how how, int value)
{
    const struct reaped reaped = next_within_limit();

    ck_assert_int_eq(reaped.pid, pid);
    ck_assert_int_eq(reaped.how, how);
    ck_assert_int_eq(reaped.value, value);
}

static pid_t fork_pausing(void)
{
    signal(SIGTERM, SIG_DFL); /* Check has a handler, which the child would have too */
    const pid_t pid = fork();

    while (pid == 0)
        pause();
    return pid;
}

START_TEST(no_child_is_none)
{
    ck_assert_int_eq(reap_next().how, REAPED_NONE);
}
END_TEST

START_TEST(a_running_child_is_none)
{
    const pid_t pid = fork_pausing();

    ck_assert_int_eq(reap_next().how, REAPED_NONE);
    kill(pid, SIGKILL);
    expect(pid, REAPED_SIGNALED, SIGKILL);
    ck_assert_int_eq(reap_next().how, REAPED_NONE);
}
END_TEST

START_TEST(a_child_is_there_until_it_is_reaped)
{
    ck_assert(reap_is_childless());
    const pid_t pid = fork_pausing();
    siginfo_t info;

    ck_assert(!reap_is_childless());
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(!reap_is_childless());
    expect(pid, REAPED_SIGNALED, SIGKILL);
    ck_assert(reap_is_childless());
}
END_TEST

START_TEST(exit_codes_are_told)
{
    for (int code = 0; code < 256; code += 51) {
        const pid_t pid = fork();
        if (pid == 0)
            _exit(code);
        expect(pid, REAPED_EXITED, code);
    }
}
END_TEST

START_TEST(stops_and_continues_are_told)
{
    const pid_t pid = fork_pausing();

    kill(pid, SIGSTOP);
    expect(pid, REAPED_STOPPED, SIGSTOP);
    kill(pid, SIGCONT);
    expect(pid, REAPED_CONTINUED, 0);
    kill(pid, SIGTERM);
    expect(pid, REAPED_SIGNALED, SIGTERM);
}
END_TEST

/* A stop for us as the tracer is told apart from job control, and which signal the thread is about to take, if any. */
START_TEST(stops_for_the_tracer_are_told)
{
    const pid_t pid = fork_pausing();

    ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
    kill(pid, SIGTERM);
    expect(pid, REAPED_TRAPPED, SIGTERM);
    ck_assert_int_eq(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
    expect(pid, REAPED_TRAPPED, SIGTRAP | PTRACE_EVENT_STOP << 8);
    ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
    kill(pid, SIGSTOP);
    expect(pid, REAPED_STOPPED, SIGSTOP);
    kill(pid, SIGKILL);
    expect(pid, REAPED_SIGNALED, SIGKILL);
}
END_TEST

START_TEST(exit_code_is_the_shells)
{
    const struct reaped exited = { 1, REAPED_EXITED, 3 }, signaled = { 1, REAPED_SIGNALED, SIGTERM };

    ck_assert_int_eq(reap_exit_code(&exited), 3);
    ck_assert_int_eq(reap_exit_code(&signaled), 128 + SIGTERM);
}
END_TEST

static _Noreturn void leave_orphans(void)
{
    for (int i = 0; i < ORPHANS_OF_EACH; i++) {
        const pid_t pid = fork();
        if (pid == 0)
            _exit(7);
        if (pid == -1)
            _exit(1);
    }
    _exit(0);
}

/* A parent says 0, an orphan 7. */
START_TEST(ten_thousand_orphans)
{
    int of_code[256] = { 0 };

    ck_assert_int_eq(reap_become_subreaper(), 0);
    for (int i = 0; i < PARENTS; i++)
        if (fork() == 0)
            leave_orphans();
    for (int i = 0; i < PARENTS * (1 + ORPHANS_OF_EACH); i++) {
        const struct reaped reaped = next_within_limit();
        ck_assert_int_eq(reaped.how, REAPED_EXITED);
        of_code[reaped.value]++;
    }
    ck_assert_int_eq(of_code[0], PARENTS);
    ck_assert_int_eq(of_code[7], PARENTS * ORPHANS_OF_EACH);
    ck_assert_int_eq(reap_next().how, REAPED_NONE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reap");
    TCase *cases = tcase_create("reap");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, no_child_is_none);
    tcase_add_test(cases, a_running_child_is_none);
    tcase_add_test(cases, a_child_is_there_until_it_is_reaped);
    tcase_add_test(cases, exit_codes_are_told);
    tcase_add_test(cases, stops_and_continues_are_told);
    tcase_add_test(cases, stops_for_the_tracer_are_told);
    tcase_add_test(cases, exit_code_is_the_shells);
    tcase_add_test(cases, ten_thousand_orphans);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
