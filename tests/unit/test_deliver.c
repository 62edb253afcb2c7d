/* deliver: the shells, wrappers and apps that people really start, and who gets their stop signal. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/app/deliver.h"
#include "supervisor/app/freeze.h"
#include "supervisor/app/reap.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/spawn.h"
#include "waiting.h"

extern char **environ;

static struct process_tree tree;
static struct delivery delivery;

/* ---- helpers ---- */

static void set_up(void)
{
    ck_assert_int_eq(reap_become_subreaper(), 0);
}

static void tear_down(void)
{
    delivery_finish(&delivery);
    while (process_tree_read(&tree, getpid(), 0) == 0 && tree.count > 0) {
        for (size_t i = 0; i < tree.count; i++) /* parents first: a shell would say that its child was killed */
            kill(tree.pids[i], SIGKILL);
        waitpid(-1, NULL, 0);
    }
    process_tree_finish(&tree);
}

static pid_t start_command(const char *shell, const char *script)
{
    char *const argv[] = { (char *)shell, (char *)"-c", (char *)script, NULL };
    const struct spawn_request request = {
        .argv = argv, .envp = environ, .terminal = -1, .keep_fd = -1, .keep_as = -1, .own_group = true,
    };
    struct spawn_failure failure;
    const pid_t pid = spawn_process(&request, &failure);

    ck_assert_msg(pid > 0, "%s: %s", shell, strerror(failure.error));
    return pid;
}

/* A child with the signals as the app would have them. */
static pid_t start_function(void (*run)(int ready), int *ready)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        signals_reset(0);
        signals_set_mask(0, NULL);
        run(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    *ready = ends[0];
    return pid;
}

static pid_t start(void (*run)(int ready))
{
    char byte;
    int ready;
    const pid_t pid = start_function(run, &ready);

    ck_assert_int_eq(read(ready, &byte, 1), 1);
    close(ready);
    return pid;
}

static void say_ready(int ready)
{
    if (write(ready, "r", 1) != 1)
        _exit(1);
}

static void pause_for_ever(void)
{
    for (;;)
        pause();
}

static bool is_asleep(pid_t pid)
{
    struct process_stat stat;

    return process_read_stat(pid, &stat) == 0 && (stat.state == 'S' || stat.state == 'T');
}

/* The tree has `count` processes and all of them have gone to sleep where they will stay. */
static bool tree_is(size_t count)
{
    if (process_tree_read(&tree, getpid(), 0) == -1 || tree.count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!is_asleep(tree.pids[i]))
            return false;
    return true;
}

static pid_t pid_named(const char *name)
{
    for (size_t i = 0; i < tree.count; i++) {
        struct process_stat stat;
        if (process_read_stat(tree.pids[i], &stat) == 0 && strcmp(stat.name, name) == 0)
            return tree.pids[i];
    }
    return 0;
}

static void plan(enum deliver_to to, pid_t main_pid)
{
    delivery_finish(&delivery);
    ck_assert_int_eq(delivery_plan(&delivery, to, SIGTERM, main_pid, &tree), 0);
}

/* What the plan's receivers are, once the processes have settled: `expected` is evaluated again and again. */
static bool plan_settles(enum deliver_to to, pid_t main_pid, unsigned count, size_t processes)
{
    return wait_until(tree_is(processes) && (plan(to, main_pid), delivery.count == count));
}

/* Between fork and exec the app has its shell's name. */
static bool app_plan_settles(pid_t main_pid, unsigned count, size_t processes, const char *app)
{
    return wait_until(tree_is(processes) && pid_named(app) != 0 &&
                      (plan(DELIVER_AUTO, main_pid), delivery.count == count));
}

static void expect_alone(pid_t main_pid, size_t processes, bool ends_at_once)
{
    ck_assert(wait_until(tree_is(processes)));
    plan(DELIVER_AUTO, main_pid);
    ck_assert_uint_eq(delivery.count, 1);
    ck_assert_int_eq(delivery.pids[0], main_pid);
    ck_assert_int_eq(delivery.handed_on_to, 0);
    ck_assert_int_eq(delivery.ends_at_once, ends_at_once);
}

static void expect_handed_on(pid_t main_pid, size_t processes, const char *app)
{
    ck_assert_msg(app_plan_settles(main_pid, 2, processes, app), "not handed on to %s", app);
    ck_assert_int_eq(delivery.pids[0], main_pid);
    ck_assert_int_eq(delivery.pids[1], pid_named(app));
    ck_assert_int_eq(delivery.handed_on_to, pid_named(app));
    ck_assert(delivery.ends_at_once);
}

/* ---- auto: shells ---- */

static const struct { const char *shell, *script; } waiting_shells[] = {
    { "sh", "sleep 1000; true" },     { "dash", "sleep 1000; true" },  { "bash", "sleep 1000; true" },
    { "dash", "sleep 1000 & wait" },  { "bash", "sleep 1000 & wait" }, { "bash", "set -m; sleep 1000; true" },
};

START_TEST(a_shell_that_waits_hands_on)
{
    const pid_t shell = start_command(waiting_shells[_i].shell, waiting_shells[_i].script);

    expect_handed_on(shell, 2, "sleep");
}
END_TEST

START_TEST(a_chain_of_shells_hands_on_to_its_end)
{
    const pid_t shell = start_command("sh", "sh -c 'sleep 1000; true'; true");

    ck_assert(app_plan_settles(shell, 3, 3, "sleep"));
    ck_assert_int_eq(delivery.pids[0], shell);
    ck_assert_int_eq(delivery.pids[2], pid_named("sleep"));
    ck_assert_int_eq(delivery.handed_on_to, pid_named("sleep"));
}
END_TEST

START_TEST(the_chain_ends_at_one_that_handles_it)
{
    const pid_t shell = start_command("sh", "bash -c 'trap : TERM; sleep 1000 & wait; true'; true");

    ck_assert(app_plan_settles(shell, 2, 3, "sleep"));
    ck_assert_int_eq(delivery.handed_on_to, pid_named("bash"));
    ck_assert(!delivery.ends_at_once);
}
END_TEST

/* Again and again: the stop of its child may or may not catch the shell on its way into its SIGCHLD handler. */
START_TEST(also_while_frozen)
{
    const pid_t shell = start_command("sh", "sleep 1000; true");

    ck_assert(app_plan_settles(shell, 2, 2, "sleep"));
    for (int round = 0; round < 200; round++) {
        struct freeze freeze = { 0 };
        ck_assert_int_eq(freeze_begin(&freeze, getpid(), 0, clock_now_us()), 0);
        ck_assert(wait_until(freeze_is_complete(&freeze, getpid(), 0, clock_now_us()) == 1));
        plan(DELIVER_AUTO, shell);
        ck_assert_uint_eq(delivery.count, 2);
        freeze_finish(&freeze);
        ck_assert(wait_until(tree_is(2)));
    }
}
END_TEST

START_TEST(two_children_are_not_one)
{
    expect_alone(start_command("sh", "sleep 1000 | sleep 1001; true"), 3, true);
}
END_TEST

START_TEST(a_shell_with_a_trap_gets_it_alone)
{
    const pid_t shell = start_command("sh", "trap 'exit 0' TERM; sleep 1000 & wait");

    ck_assert(wait_until(tree_is(2)));
    expect_alone(shell, 2, false);
}
END_TEST

START_TEST(a_shell_that_ignores_it_gets_it_alone)
{
    expect_alone(start_command("sh", "trap '' TERM; sleep 1000; true"), 2, false);
}
END_TEST

static void run_busy_parent(int ready)
{
    int ends[2];
    char byte;

    if (pipe(ends) == -1 || fork() == 0)
        pause_for_ever();
    say_ready(ready);
    while (read(ends[0], &byte, 1) != 0) /* it has a child, but waits for something else */
        ;
}

START_TEST(a_parent_that_does_something_else_gets_it_alone)
{
    expect_alone(start(run_busy_parent), 2, true);
}
END_TEST

static void *wait_for_nothing(void *ready)
{
    say_ready(*(int *)ready);
    pause_for_ever();
    return NULL;
}

static void *read_for_ever(void *ready)
{
    int ends[2];
    char byte;

    if (pipe(ends) == -1)
        _exit(1);
    say_ready(*(int *)ready);
    while (read(ends[0], &byte, 1) != 0)
        ;
    return NULL;
}

static void run_waiting_with(void *(*thread)(void *), int ready)
{
    pthread_t id;

    if (fork() == 0)
        pause_for_ever();
    pthread_create(&id, NULL, thread, &ready);
    waitpid(-1, NULL, 0);
}

static void run_waiting_and_reading(int ready)
{
    run_waiting_with(read_for_ever, ready);
}

static void run_waiting_twice(int ready)
{
    run_waiting_with(wait_for_nothing, ready);
}

START_TEST(every_thread_must_wait)
{
    const pid_t reading = start(run_waiting_and_reading);

    expect_alone(reading, 2, true);
}
END_TEST

START_TEST(threads_that_all_wait_hand_on)
{
    const pid_t waiting = start(run_waiting_twice);

    ck_assert(plan_settles(DELIVER_AUTO, waiting, 2, 2));
}
END_TEST

START_TEST(a_dead_child_is_no_child)
{
    const pid_t shell = start_command("bash", "sleep 1000; true");

    expect_handed_on(shell, 2, "sleep");
    struct process_stat stat;
    kill(shell, SIGSTOP); /* so that it does not reap */
    ck_assert(wait_until(process_read_stat(shell, &stat) == 0 && stat.state == 'T'));
    kill(delivery.handed_on_to, SIGKILL);
    ck_assert(wait_until(process_read_stat(delivery.handed_on_to, &stat) == 0 && stat.state == 'Z'));
    ck_assert_int_eq(process_tree_read(&tree, getpid(), 0), 0);
    plan(DELIVER_AUTO, shell);
    ck_assert_uint_eq(delivery.count, 1);
    plan(DELIVER_TREE, shell);
    ck_assert_uint_eq(delivery.count, 1);
}
END_TEST

/* npm: handles the signal, passes it to its shell only; as it looks in /proc. */
static void handle(int signo)
{
    (void)signo;
}

static void run_like_npm(int ready)
{
    prctl(PR_SET_NAME, "npm start");
    signal(SIGTERM, handle);
    start_command("sh", "sleep 1000; true");
    say_ready(ready);
    read_for_ever(&ready);
}

START_TEST(the_app_behind_npms_shell_gets_it)
{
    const pid_t npm = start(run_like_npm);

    ck_assert(app_plan_settles(npm, 2, 3, "sleep"));
    ck_assert_int_eq(delivery.pids[0], npm);
    ck_assert_int_eq(delivery.pids[1], pid_named("sleep"));
    ck_assert_int_eq(delivery.handed_on_to, pid_named("sleep"));
    ck_assert(!delivery.ends_at_once);
}
END_TEST

static void run_like_npm_with_exec(int ready)
{
    prctl(PR_SET_NAME, "npm start");
    signal(SIGTERM, handle);
    start_command("sh", "exec sleep 1000");
    say_ready(ready);
    read_for_ever(&ready);
}

START_TEST(the_app_that_npm_reaches_itself_is_left_to_npm)
{
    const pid_t npm = start(run_like_npm_with_exec);

    ck_assert(wait_until(tree_is(2) && pid_named("sleep") != 0));
    expect_alone(npm, 2, false);
}
END_TEST

/* ---- ends at once ---- */

static void run_plain(int ready)
{
    say_ready(ready);
    pause_for_ever();
}

static void run_handling(int ready)
{
    signal(SIGTERM, handle);
    run_plain(ready);
}

static void run_ignoring(int ready)
{
    signal(SIGTERM, SIG_IGN);
    run_plain(ready);
}

static void block_term(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *block_and_wait(void *ready)
{
    block_term();
    return wait_for_nothing(ready);
}

static void run_one_thread_blocking(int ready)
{
    pthread_t id;

    pthread_create(&id, NULL, block_and_wait, &ready);
    pause_for_ever();
}

static void run_leader_gone(int ready)
{
    pthread_t id;

    pthread_create(&id, NULL, wait_for_nothing, &ready);
    pthread_exit(NULL);
}

START_TEST(a_plain_app_ends_at_once)
{
    expect_alone(start(run_plain), 1, true);
}
END_TEST

START_TEST(a_handler_an_ignorer_and_a_blocking_thread_do_not)
{
    static void (*const runs[])(int) = { run_handling, run_ignoring, run_one_thread_blocking };

    expect_alone(start(runs[_i]), 1, false);
}
END_TEST

START_TEST(a_process_whose_leader_is_gone_is_alive)
{
    struct process_stat stat;
    const pid_t pid = start(run_leader_gone);

    ck_assert(wait_until(process_read_stat(pid, &stat) == 0 && stat.state == 'Z'));
    ck_assert_int_eq(process_tree_read(&tree, getpid(), 0), 0);
    plan(DELIVER_AUTO, pid);
    ck_assert_uint_eq(delivery.count, 1);
    ck_assert_int_eq(delivery.pids[0], pid);
}
END_TEST

START_TEST(it_is_the_signal_that_counts)
{
    const pid_t pid = start(run_handling);
    static const struct { int signo; bool ends; } cases[] = {
        { SIGTERM, false }, { SIGINT, true }, { SIGQUIT, true }, { SIGKILL, true }, { 34, true },
        { SIGWINCH, false }, { SIGCHLD, false }, { SIGTSTP, false }, { SIGSTOP, false }, { SIGCONT, false },
    };

    ck_assert(wait_until(tree_is(1)));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        delivery_finish(&delivery);
        ck_assert_int_eq(delivery_plan(&delivery, DELIVER_MAIN, cases[i].signo, pid, &tree), 0);
        ck_assert_msg(delivery.ends_at_once == cases[i].ends, "signal %d", cases[i].signo);
    }
}
END_TEST

START_TEST(an_impossible_signal_is_refused)
{
    static const int impossible[] = { 0, -1, 65 };

    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        errno = 0;
        ck_assert_int_eq(delivery_plan(&delivery, DELIVER_AUTO, impossible[i], getpid(), &tree), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
}
END_TEST

START_TEST(nobody_left_is_nobody_ended)
{
    plan(DELIVER_AUTO, getpid()); /* not in the (empty) tree */
    ck_assert_uint_eq(delivery.count, 0);
    ck_assert(!delivery.ends_at_once);
    ck_assert_uint_eq(delivery_send(&delivery, SIGTERM), 0);
}
END_TEST

static void run_namespace(int ready)
{
    if (unshare(CLONE_NEWPID) == -1 && unshare(CLONE_NEWUSER | CLONE_NEWPID) == -1)
        _exit(1);
    if (fork() == 0)
        run_plain(ready);
    waitpid(-1, NULL, 0);
}

START_TEST(the_init_of_a_namespace_does_not_end_at_once)
{
    const pid_t outside = start(run_namespace);

    ck_assert(wait_until(tree_is(2)));
    const pid_t init = tree.pids[1];
    plan(DELIVER_MAIN, init);
    ck_assert_uint_eq(delivery.count, 1);
    ck_assert(!delivery.ends_at_once);
    plan(DELIVER_MAIN, outside);
    ck_assert(delivery.ends_at_once);
}
END_TEST

/* ---- the other ways, and sending ---- */

START_TEST(group_is_the_main_processs_group)
{
    const pid_t shell = start_command("bash", "setsid sleep 1000 & sleep 1001; true");

    ck_assert(wait_until(tree_is(3) && plan_settles(DELIVER_GROUP, shell, 2, 3)));
    ck_assert_int_eq(delivery.pids[0], shell);
    ck_assert_int_eq(getpgid(delivery.pids[1]), shell);
    ck_assert_int_eq(delivery.handed_on_to, 0);
}
END_TEST

START_TEST(tree_is_everybody_parents_first)
{
    const pid_t shell = start_command("sh", "sh -c 'sleep 1000; true'; true");

    ck_assert(wait_until(tree_is(3) && pid_named("sleep") != 0));
    plan(DELIVER_TREE, shell);
    ck_assert_uint_eq(delivery.count, 3);
    ck_assert_int_eq(delivery.pids[0], shell);
    ck_assert_int_eq(delivery.pids[2], pid_named("sleep"));
}
END_TEST

START_TEST(main_is_main_alone)
{
    const pid_t shell = start_command("sh", "sleep 1000; true");

    ck_assert(plan_settles(DELIVER_MAIN, shell, 1, 2));
    ck_assert_int_eq(delivery.pids[0], shell);
}
END_TEST

START_TEST(all_of_them_get_it)
{
    int status = 0;
    const pid_t shell = start_command("sh", "sleep 1000; true");

    expect_handed_on(shell, 2, "sleep");
    ck_assert_uint_eq(delivery_send(&delivery, SIGTERM), 2);
    ck_assert(wait_until(waitpid(shell, &status, WNOHANG) == shell));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    /* sleep's end is told to the shell, or to us when the shell was faster */
    ck_assert(wait_until(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD));
    ck_assert_uint_eq(delivery_send(&delivery, SIGTERM), 0);
}
END_TEST

/* The next signal of a sequence: for those that it is for, and for those of the first one that are still there, each
 * once; a pid that is nobody's in the tree any more, or somebody else's, gets nothing. */
START_TEST(those_of_the_first_signal_get_the_next_one)
{
    const pid_t shell = start_command("sh", "sleep 1000; true");
    struct delivery next;

    expect_handed_on(shell, 2, "sleep");
    const pid_t sleeping = pid_named("sleep");
    ck_assert_int_eq(delivery_plan(&next, DELIVER_MAIN, SIGINT, shell, &tree), 0);
    ck_assert_int_eq(delivery_carry_over(&next, &delivery, &tree), 0);
    ck_assert(next.count == 2 && next.pids[0] == shell && next.pids[1] == sleeping);
    delivery_finish(&next);
    kill(shell, SIGKILL);
    ck_assert_int_eq(waitpid(shell, NULL, 0), shell);
    ck_assert(wait_until(tree_is(1)));
    ck_assert_int_eq(delivery_plan(&next, DELIVER_AUTO, SIGINT, shell, &tree), 0);
    ck_assert_uint_eq(next.count, 0);
    ck_assert_int_eq(delivery_carry_over(&next, &delivery, &tree), 0);
    ck_assert(next.count == 1 && next.pids[0] == sleeping);
    delivery_finish(&next);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deliver");
    TCase *cases = tcase_create("deliver");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, a_shell_that_waits_hands_on, 0, (int)(sizeof waiting_shells / sizeof *waiting_shells));
    tcase_add_test(cases, a_chain_of_shells_hands_on_to_its_end);
    tcase_add_test(cases, the_chain_ends_at_one_that_handles_it);
    tcase_add_test(cases, also_while_frozen);
    tcase_add_test(cases, two_children_are_not_one);
    tcase_add_test(cases, a_shell_with_a_trap_gets_it_alone);
    tcase_add_test(cases, a_shell_that_ignores_it_gets_it_alone);
    tcase_add_test(cases, a_parent_that_does_something_else_gets_it_alone);
    tcase_add_test(cases, every_thread_must_wait);
    tcase_add_test(cases, threads_that_all_wait_hand_on);
    tcase_add_test(cases, a_dead_child_is_no_child);
    tcase_add_test(cases, the_app_behind_npms_shell_gets_it);
    tcase_add_test(cases, the_app_that_npm_reaches_itself_is_left_to_npm);
    tcase_add_test(cases, a_plain_app_ends_at_once);
    tcase_add_loop_test(cases, a_handler_an_ignorer_and_a_blocking_thread_do_not, 0, 3);
    tcase_add_test(cases, a_process_whose_leader_is_gone_is_alive);
    tcase_add_test(cases, it_is_the_signal_that_counts);
    tcase_add_test(cases, an_impossible_signal_is_refused);
    tcase_add_test(cases, nobody_left_is_nobody_ended);
    tcase_add_test(cases, the_init_of_a_namespace_does_not_end_at_once);
    tcase_add_test(cases, group_is_the_main_processs_group);
    tcase_add_test(cases, tree_is_everybody_parents_first);
    tcase_add_test(cases, main_is_main_alone);
    tcase_add_test(cases, all_of_them_get_it);
    tcase_add_test(cases, those_of_the_first_signal_get_the_next_one);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
