/* children: when the app has ended, and the killing of what is left of it, with real processes. The supervisor around
 * it is this test: its events are written down instead of stepped. */
#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/state.h"
#include "waiting.h"

enum { CROWD = 300, TICKS = 200 };
#define TICK_MS 2

static struct supervisor s;
static unsigned posted[EVENTS];
static unsigned killed; /* SIGKILLs sent */
static bool immortal;   /* they do nothing */

void supervisor_post(struct supervisor *supervisor, enum lifecycle_event event)
{
    ck_assert_ptr_eq(supervisor, &s);
    posted[event]++;
}

bool hooks_reaped(struct supervisor *supervisor, const struct reaped *reaped)
{
    (void)supervisor, (void)reaped;
    return false;
}

void before_take_stop_signal(struct supervisor *supervisor, int signo)
{
    (void)supervisor, (void)signo;
}

void supervisor_left_by_agent(struct supervisor *supervisor)
{
    (void)supervisor;
}

/* Stands before the C library's. */
int kill(pid_t pid, int signo)
{
    killed += signo == SIGKILL;
    return immortal && signo == SIGKILL ? 0 : (int)syscall(SYS_kill, pid, signo);
}

static pid_t fork_waiting(void)
{
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    for (; pid == 0;)
        pause();
    return pid;
}

static void set_up(void)
{
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    s.main_ended = true;
    s.lifecycle.phase = PHASE_STOPPING;
}

static void end_all(void)
{
    struct process_tree tree = {0};
    immortal = false;
    while (process_tree_read(&tree, getpid(), 0) == 0 && tree.count > 0) {
        for (size_t i = 0; i < tree.count; i++)
            kill(tree.pids[i], SIGKILL);
        waitpid(-1, NULL, 0);
    }
    process_tree_finish(&tree);
}

static void tear_down(void)
{
    end_all();
    process_tree_finish(&s.tree);
    freeze_finish(&s.freeze);
}

static unsigned all_posted(void)
{
    unsigned all = 0;
    for (int i = 0; i < EVENTS; i++)
        all += posted[i];
    return all;
}

/* The signal went to `pid`. */
static void signal_went_to(pid_t pid)
{
    static pid_t pids[1];
    pids[0] = pid;
    s.lifecycle.signalled = true;
    s.delivery.pids = pids;
    s.delivery.count = 1;
}

START_TEST(what_runs_beside_the_app_is_not_the_apps)
{
    pid_t hook = fork_waiting(), app = fork_waiting(), orphan = fork_waiting();
    ck_assert(setpgid(hook, hook) == 0 && setpgid(orphan, hook) == 0);
    process_leave_out(hook);
    children_kill(&s);
    ck_assert_uint_eq(killed, 1);
    ck_assert_int_eq(waitpid(app, NULL, 0), app);
    children_check(&s);
    ck_assert(posted[EVENT_TREE_ENDED] == 1 && all_posted() == 1);
    ck_assert_int_eq(kill(hook, 0), 0);
    process_leave_out(0);
    children_check(&s);
    ck_assert(posted[EVENT_APP_ENDED] == 1 && all_posted() == 2);
}
END_TEST

/* Reading the tree has just cost so much that it may not be read again for 200 ms. */
static void be_costly(void)
{
    pace_note(&s.tree_pace, clock_now_us(), US_PER_SECOND);
}

START_TEST(while_the_main_process_lives_nothing_is_asked)
{
    s.main_ended = false;
    children_check(&s);
    fork_waiting();
    children_check(&s);
    ck_assert_uint_eq(all_posted(), 0);
}
END_TEST

START_TEST(the_last_process_ends_the_tree)
{
    pid_t pid = fork_waiting();
    be_costly();
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    children_check(&s);
    ck_assert(posted[EVENT_TREE_ENDED] == 1 && all_posted() == 1);
}
END_TEST

/* Nothing of procfs can be read. */
static void lose_procfs(void)
{
    const struct rlimit none = {0, 0};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(process_has_child(getpid(), 0), -1);
}

START_TEST(without_procfs_the_end_is_seen_all_the_same)
{
    lose_procfs();
    children_check(&s);
    ck_assert(posted[EVENT_TREE_ENDED] == 1 && all_posted() == 1);
}
END_TEST

START_TEST(without_procfs_some_may_be_left)
{
    pid_t pid = fork_waiting();
    s.lifecycle.phase = PHASE_RUNNING;
    lose_procfs();
    children_check(&s);
    ck_assert(posted[EVENT_APP_ENDED] == 1 && all_posted() == 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(others_are_left_when_nobody_was_told)
{
    fork_waiting();
    be_costly();
    children_check(&s);
    ck_assert(posted[EVENT_APP_ENDED] == 1 && all_posted() == 1);
}
END_TEST

START_TEST(who_was_told_is_waited_for)
{
    pid_t told = fork_waiting();
    fork_waiting();
    signal_went_to(told);
    children_check(&s);
    ck_assert_uint_eq(all_posted(), 0);
    kill(told, SIGKILL);
    waitpid(told, NULL, 0);
    be_costly();
    children_check(&s);
    ck_assert_uint_eq(all_posted(), 0);
    ck_assert(wait_until((children_check(&s), all_posted() > 0)));
    ck_assert_uint_eq(posted[EVENT_APP_ENDED], 1);
}
END_TEST

START_TEST(a_process_forked_meanwhile_is_killed_too)
{
    pid_t first = fork_waiting();
    children_kill(&s);
    ck_assert_int_eq(waitpid(first, NULL, 0), first);
    pid_t second = fork_waiting();
    ck_assert(wait_until((children_kill_again(&s), waitpid(second, NULL, WNOHANG) == second)));
}
END_TEST

static void do_nothing(void)
{
}

static void kill_again(void)
{
    children_kill_again(&s);
}

static void check_told(void)
{
    children_check(&s);
}

/* The processor time that as many ticks of the watch timer take. */
static int64_t cost_of_ticks(void (*tick)(void), int64_t *wall_us)
{
    int64_t began_us = clock_cpu_us(), from_us = clock_now_us();
    for (int i = 0; i < TICKS; i++) {
        tick();
        poll(NULL, 0, TICK_MS);
    }
    *wall_us = clock_now_us() - from_us;
    return clock_cpu_us() - began_us;
}

/* What is costly is done less often, but again and again; at each tick it would take more than half of the time. A
 * third: the last time may just have been. */
static void is_paced(void (*tick)(void))
{
    int64_t wall_us, idle_us = cost_of_ticks(do_nothing, &wall_us), cost_us = cost_of_ticks(tick, &wall_us);
    ck_assert_msg(cost_us - idle_us < wall_us / 3, "%lld of %lld us", (long long)cost_us, (long long)wall_us);
}

START_TEST(a_crowd_costs_a_fifth_of_the_time)
{
    pid_t told = 0;
    for (int i = 0; i < CROWD; i++)
        told = fork_waiting();
    immortal = true;
    is_paced(kill_again);
    ck_assert_msg(killed >= 3 * CROWD && killed % CROWD == 0, "%u times", killed);
    signal_went_to(told);
    is_paced(check_told);
    ck_assert_uint_eq(all_posted(), 0);
}
END_TEST

START_TEST(a_freeze_that_is_too_slow_is_left_out)
{
    pid_t pid = fork_waiting();
    ck_assert_int_eq(freeze_begin(&s.freeze, getpid(), 0, clock_now_us()), 0);
    ck_assert(wait_until(freeze_is_complete(&s.freeze, getpid(), 0, clock_now_us()) == 1));
    ck_assert(!children_skip_freeze(&s) && !s.no_freeze && s.freeze.on);
    s.freeze.pass_us = s.freeze.pass_cpu_us = 30 * US_PER_MS;
    s.nudging = true; /* only an interruption: it is over soon */
    ck_assert(!children_skip_freeze(&s) && !s.no_freeze && s.freeze.on);
    s.nudging = false;
    ck_assert(children_skip_freeze(&s) && s.no_freeze && !s.freeze.on);
    ck_assert_uint_eq(s.record.unknown_count, 1);
    ck_assert_str_eq(s.record.unknown[0].what, "what the app did after the last look");
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WCONTINUED), 0);
}
END_TEST

START_TEST(the_pause_follows_the_cost)
{
    struct pace pace = {0};
    ck_assert(pace_is_due(&pace, 1));
    pace_note(&pace, 1000, 30);
    ck_assert(!pace_is_due(&pace, 1119) && pace_is_due(&pace, 1120));
    pace_note(&pace, 1000, US_PER_SECOND);
    ck_assert(!pace_is_due(&pace, 200999) && pace_is_due(&pace, 201000));
}
END_TEST

START_TEST(a_child_is_a_child_until_it_is_reaped)
{
    ck_assert_int_eq(process_has_child(getpid(), 0), 0);
    pid_t pid = fork_waiting();
    ck_assert_int_eq(process_has_child(getpid(), 0), 1);
    ck_assert_int_eq(process_has_child(getpid(), pid), 0);
    ck_assert_int_eq(process_has_child(pid, 0), 0);
    pid_t second = fork_waiting();
    ck_assert_int_eq(process_has_child(getpid(), pid), 1);
    ck_assert_int_eq(process_has_child(getpid(), second), 1);
    kill(second, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)second, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(process_has_child(getpid(), pid), 1);
    waitpid(second, NULL, 0);
    ck_assert_int_eq(process_has_child(getpid(), pid), 0);
    ck_assert_int_eq(process_has_child(second, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("children");
    TCase *tcase = tcase_create("children");
    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, while_the_main_process_lives_nothing_is_asked);
    tcase_add_test(tcase, the_last_process_ends_the_tree);
    tcase_add_test(tcase, what_runs_beside_the_app_is_not_the_apps);
    tcase_add_test(tcase, without_procfs_the_end_is_seen_all_the_same);
    tcase_add_test(tcase, without_procfs_some_may_be_left);
    tcase_add_test(tcase, others_are_left_when_nobody_was_told);
    tcase_add_test(tcase, who_was_told_is_waited_for);
    tcase_add_test(tcase, a_process_forked_meanwhile_is_killed_too);
    tcase_add_test(tcase, a_crowd_costs_a_fifth_of_the_time);
    tcase_add_test(tcase, a_freeze_that_is_too_slow_is_left_out);
    tcase_add_test(tcase, the_pause_follows_the_cost);
    tcase_add_test(tcase, a_child_is_a_child_until_it_is_reaped);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
