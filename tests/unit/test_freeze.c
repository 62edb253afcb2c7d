/* freeze: real trees, with threads, forks, a vfork, a stopped one, and what they do while frozen. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/app/freeze.h"
#include "waiting.h"

enum { MOST = 4096 };

/* Shared with the children: what they did, and whom we sent SIGCONT, in order. */
static struct {
    atomic_int ready, ticks[8], forks, most_forks;
    atomic_int pids[8];
} *shared;

static pid_t continued[MOST];
static int continued_count;

/* Stands before the C library's: freeze.c's calls are written down on their way to the kernel. */
int kill(pid_t pid, int signo)
{
    if (signo == SIGCONT && continued_count < MOST)
        continued[continued_count++] = pid;
    return (int)syscall(SYS_kill, pid, signo);
}

static struct freeze frozen;

static void set_up(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
}

static char state_of(pid_t pid)
{
    struct process_stat stat;

    return process_read_stat(pid, &stat) == 0 ? stat.state : '-';
}

static void reap_orphans(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void tear_down(void)
{
    struct process_tree tree = { 0 };

    while (process_tree_read(&tree, getpid(), 0) == 0 && tree.count > 0) {
        for (size_t i = tree.count; i > 0; i--)
            kill(tree.pids[i - 1], SIGKILL);
        reap_orphans();
    }
    process_tree_finish(&tree);
    freeze_finish(&frozen);
}

/* ---- what the children do ---- */

static _Noreturn void tick(int slot)
{
    shared->pids[slot] = getpid();
    shared->ready++;
    for (;;) {
        shared->ticks[slot]++;
        poll(NULL, 0, 1);
    }
}

static pid_t fork_ticking(int slot)
{
    const pid_t pid = fork();

    if (pid == 0)
        tick(slot);
    return pid;
}

static void *tick_thread(void *slot)
{
    tick(*(int *)slot);
    return NULL;
}

static pid_t fork_threads(void)
{
    static int slots[3] = { 3, 4, 5 };
    const pid_t pid = fork();

    if (pid != 0)
        return pid;
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, tick_thread, &slots[i]);
    }
    pthread_exit(NULL); /* the leader is a zombie from here on, the process is not */
}

/* A tree of three generations, and a process with threads: slots 0…5. */
static void fork_family(void)
{
    const pid_t pid = fork();

    if (pid == 0) {
        const pid_t child = fork();
        if (child == 0) {
            fork_ticking(2);
            tick(1);
        }
        tick(0);
    }
    fork_threads();
    ck_assert(wait_until(shared->ready == 6));
}

static _Noreturn void fork_for_ever(void)
{
    shared->ready++;
    for (;;) {
        const pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        shared->forks++;
    }
}

/* ---- helpers ---- */

static int complete_with(pid_t except)
{
    return freeze_is_complete(&frozen, getpid(), except, clock_now_us());
}

static void freeze_all(pid_t except)
{
    ck_assert_int_eq(freeze_begin(&frozen, getpid(), except, clock_now_us()), 0);
    ck_assert_msg(wait_until(complete_with(except) == 1), "never complete");
}

static void freeze_all_and_reap(void)
{
    ck_assert_int_eq(freeze_begin(&frozen, getpid(), 0, clock_now_us()), 0);
    ck_assert_msg(wait_until((reap_orphans(), complete_with(0) == 1)), "never complete");
}

static long sum_of_ticks(int from, int to)
{
    long sum = 0;

    for (int i = from; i <= to; i++)
        sum += shared->ticks[i];
    return sum;
}

static bool all_tick(int from, int to)
{
    int before[8];

    for (int i = from; i <= to; i++)
        before[i] = shared->ticks[i];
    for (int i = from; i <= to; i++)
        if (!wait_until(shared->ticks[i] > before[i]))
            return false;
    return true;
}

/* Nothing moves during twenty rounds of the tickers' own pace. */
static bool none_ticks(int from, int to)
{
    const long before = sum_of_ticks(from, to);

    for (int i = 0; i < 20; i++)
        poll(NULL, 0, 1);
    return sum_of_ticks(from, to) == before;
}

/* ---- tests ---- */

START_TEST(the_whole_tree_stands_still_and_goes_on)
{
    fork_family();
    ck_assert(all_tick(0, 5));
    freeze_all(0);
    ck_assert(frozen.on);
    ck_assert_int_ge(frozen.complete_us, frozen.began_us);
    ck_assert_uint_eq(frozen.tree.count, 4);
    ck_assert(none_ticks(0, 5));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(state_of(shared->pids[i]), 'T');
    freeze_end(&frozen);
    ck_assert(!frozen.on);
    ck_assert(all_tick(0, 5));
}
END_TEST

START_TEST(complete_is_when_it_was_first)
{
    fork_family();
    freeze_all(0);
    const int64_t first = frozen.complete_us;
    ck_assert_int_eq(freeze_is_complete(&frozen, getpid(), 0, first + 1000), 1);
    ck_assert_int_eq(frozen.complete_us, first);
}
END_TEST

START_TEST(leaves_go_on_first)
{
    fork_family();
    freeze_all(0);
    continued_count = 0;
    freeze_end(&frozen);
    ck_assert_int_eq(continued_count, 4);
    int at[3];
    for (int slot = 0; slot < 3; slot++)
        for (int i = 0; i < continued_count; i++)
            if (continued[i] == shared->pids[slot])
                at[slot] = i;
    ck_assert_int_lt(at[2], at[1]);
    ck_assert_int_lt(at[1], at[0]);
}
END_TEST

START_TEST(nothing_frozen_nothing_sent)
{
    fork_family();
    freeze_end(&frozen);
    freeze_finish(&frozen);
    ck_assert_int_eq(complete_with(0), 0);
    ck_assert_int_eq(continued_count, 0);
    freeze_all(0);
    freeze_end(&frozen);
    continued_count = 0;
    freeze_end(&frozen);
    freeze_finish(&frozen);
    ck_assert_int_eq(continued_count, 0);
}
END_TEST

START_TEST(no_child_is_complete_at_once)
{
    ck_assert_int_eq(freeze_begin(&frozen, getpid(), 0, 1), 0);
    ck_assert_int_eq(complete_with(0), 1);
}
END_TEST

START_TEST(the_excepted_one_and_its_children_go_on)
{
    const pid_t agent = fork();

    if (agent == 0) {
        fork_ticking(1);
        tick(0);
    }
    fork_ticking(2);
    ck_assert(wait_until(shared->ready == 3));
    freeze_all(agent);
    ck_assert(none_ticks(2, 2));
    ck_assert(all_tick(0, 1));
}
END_TEST

START_TEST(who_was_stopped_before_stays_stopped)
{
    const pid_t stopped = fork_ticking(0);

    fork_ticking(1);
    ck_assert(wait_until(shared->ready == 2));
    kill(stopped, SIGSTOP);
    ck_assert(wait_until(state_of(stopped) == 'T'));
    freeze_all(0);
    ck_assert_uint_eq(frozen.stopped_before_count, 1);
    ck_assert_int_eq(frozen.stopped_before[0], stopped);
    freeze_end(&frozen);
    ck_assert(all_tick(1, 1));
    ck_assert_int_eq(state_of(stopped), 'T');
    ck_assert(none_ticks(0, 0));
}
END_TEST

START_TEST(who_is_continued_by_another_is_stopped_again_and_then_goes_on)
{
    const pid_t stopped = fork_ticking(0);

    ck_assert(wait_until(shared->ready == 1));
    kill(stopped, SIGSTOP);
    ck_assert(wait_until(state_of(stopped) == 'T'));
    freeze_all(0);
    kill(stopped, SIGCONT);
    ck_assert(all_tick(0, 0));
    ck_assert(wait_until(complete_with(0) == 1));
    ck_assert(none_ticks(0, 0));
    freeze_end(&frozen);
    ck_assert(all_tick(0, 0));
}
END_TEST

START_TEST(one_goes_on_alone)
{
    const pid_t first = fork_ticking(0);

    fork_ticking(1);
    ck_assert(wait_until(shared->ready == 2));
    freeze_all(0);
    continued_count = 0;
    freeze_release(&frozen, first);
    ck_assert(all_tick(0, 0));
    ck_assert(none_ticks(1, 1));
    freeze_release(&frozen, first); /* not frozen any more: nothing to do */
    freeze_release(&frozen, 1);
    freeze_end(&frozen);
    ck_assert_int_eq(continued_count, 2);
    ck_assert(all_tick(0, 1));
}
END_TEST

START_TEST(who_forks_without_end_is_caught)
{
    for (int i = 0; i < 4; i++)
        if (fork() == 0)
            fork_for_ever();
    ck_assert(wait_until(shared->ready == 4 && shared->forks > 100));
    for (int round = 0; round < 50; round++) {
        freeze_all(0);
        const int forks = shared->forks;
        ck_assert_int_eq(complete_with(0), 1);
        ck_assert_int_eq(shared->forks, forks);
        freeze_end(&frozen);
        ck_assert(wait_until(shared->forks > forks));
    }
}
END_TEST

/* Forks and ends, and its child does the same: it is never where it was. Bounded, so that a test that fails does not
 * fill the machine with the dead. */
static _Noreturn void flee(void)
{
    for (;;) {
        const pid_t pid = shared->forks < shared->most_forks ? fork() : -1;
        if (pid > 0)
            _exit(0);
        if (pid == 0)
            shared->forks++;
        else
            poll(NULL, 0, 1);
    }
}

START_TEST(who_flees_is_caught)
{
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    if (fork() == 0)
        flee();
    for (int round = 0; round < 200; round++) {
        const int before = shared->forks;
        shared->most_forks = before + 1000;
        ck_assert(wait_until(shared->forks > before));
        freeze_all_and_reap();
        ck_assert_int_lt(shared->forks, shared->most_forks); /* caught on the run */
        const int forks = shared->forks;
        for (int i = 0; i < 3; i++)
            poll(NULL, 0, 1);
        ck_assert_int_eq(shared->forks, forks);
        freeze_end(&frozen);
    }
}
END_TEST

static _Noreturn void vfork_and_wait(void)
{
    if (vfork() == 0) {
        syscall(SYS_rt_sigsuspend, &(uint64_t){ 0 }, sizeof(uint64_t));
        _exit(0);
    }
    tick(0);
}

static pid_t only_child_of(pid_t pid)
{
    struct process_tree tree = { 0 };

    ck_assert_int_eq(process_tree_read(&tree, pid, 0), 0);
    const pid_t child = tree.count == 1 ? tree.pids[0] : 0;
    process_tree_finish(&tree);
    return child;
}

START_TEST(a_vforks_parent_is_not_stopped)
{
    const pid_t parent = fork();
    pid_t child = 0;

    if (parent == 0)
        vfork_and_wait();
    ck_assert(wait_until(state_of(parent) == 'D' && (child = only_child_of(parent)) != 0));
    ck_assert_int_eq(freeze_begin(&frozen, getpid(), 0, clock_now_us()), 0);
    ck_assert(wait_until(state_of(child) == 'T'));
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(complete_with(0), 0);
    ck_assert_int_eq(frozen.complete_us, 0);
    kill(child, SIGKILL); /* its parent comes out of vfork, and into the stop that waits for it */
    ck_assert(wait_until(complete_with(0) == 1));
    ck_assert_int_eq(shared->ticks[0], 0);
    freeze_end(&frozen);
    ck_assert(wait_until(shared->ticks[0] > 0));
}
END_TEST

START_TEST(a_zombie_does_not_count)
{
    const pid_t zombie = fork();

    if (zombie == 0)
        _exit(0);
    ck_assert(wait_until(state_of(zombie) == 'Z'));
    freeze_all(0);
    ck_assert_uint_eq(frozen.tree.count, 0);
}
END_TEST

START_TEST(two_hundred_at_once)
{
    for (int i = 0; i < 200; i++)
        if (fork() == 0) {
            shared->ready++;
            for (;;)
                pause();
        }
    ck_assert(wait_until(shared->ready == 200));
    freeze_all(0);
    ck_assert_uint_eq(frozen.tree.count, 200);
    for (size_t i = 0; i < 200; i++)
        ck_assert_int_eq(state_of(frozen.tree.pids[i]), 'T');
    continued_count = 0;
    freeze_end(&frozen);
    ck_assert_int_eq(continued_count, 200);
}
END_TEST

/* A pass in which we only wait for the processor is not the processes' fault. */
START_TEST(a_pass_that_costs_too_much_is_too_slow)
{
    fork_family();
    freeze_all(0);
    ck_assert(frozen.pass_us > 0 && frozen.pass_cpu_us > 0 && frozen.pass_cpu_us <= frozen.pass_us + 1);
    frozen.pass_us = 20001;
    frozen.pass_cpu_us = 5001;
    ck_assert(freeze_is_too_slow(&frozen));
    frozen.pass_cpu_us = 5000;
    ck_assert(!freeze_is_too_slow(&frozen));
    frozen.pass_us = 20000;
    frozen.pass_cpu_us = 20000;
    ck_assert(!freeze_is_too_slow(&frozen));
    freeze_end(&frozen);
    freeze_all(0);
    ck_assert(!freeze_is_too_slow(&frozen));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("freeze");
    TCase *cases = tcase_create("freeze");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, the_whole_tree_stands_still_and_goes_on);
    tcase_add_test(cases, complete_is_when_it_was_first);
    tcase_add_test(cases, leaves_go_on_first);
    tcase_add_test(cases, nothing_frozen_nothing_sent);
    tcase_add_test(cases, no_child_is_complete_at_once);
    tcase_add_test(cases, the_excepted_one_and_its_children_go_on);
    tcase_add_test(cases, who_was_stopped_before_stays_stopped);
    tcase_add_test(cases, who_is_continued_by_another_is_stopped_again_and_then_goes_on);
    tcase_add_test(cases, one_goes_on_alone);
    tcase_add_test(cases, who_forks_without_end_is_caught);
    tcase_add_test(cases, who_flees_is_caught);
    tcase_add_test(cases, a_vforks_parent_is_not_stopped);
    tcase_add_test(cases, a_zombie_does_not_count);
    tcase_add_test(cases, two_hundred_at_once);
    tcase_add_test(cases, a_pass_that_costs_too_much_is_too_slow);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
