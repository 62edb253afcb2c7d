/* A hook's process: real ones, on a loop of the test's own; each way that it can end, and that starting it takes no
 * memory. The environment of hooks. */
#include <check.h>
#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/process.h"
#include "supervisor/app/spawn.h"
#include "supervisor/platform/hook.h"
#include "supervisor/platform/hook_variables.h"
#include "waiting.h"

#define LONG (60 * US_PER_SECOND)

static struct ev_loop *loop;
static struct hook hook;
static unsigned endings;
static unsigned allocations;

/* Stand before the C library's. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    allocations++;
    return __libc_realloc(at, size);
}

static void ended(void *context, struct hook *of)
{
    ck_assert_ptr_eq(context, &hook);
    ck_assert_ptr_eq(of, &hook);
    endings++;
}

static void enter(void)
{
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    loop = ev_loop_new(EVFLAG_NOENV);
    hook = (struct hook){.context = &hook, .ended = ended};
    hook_init(&hook, loop);
}

static void leave(void)
{
    hook_signal(&hook, SIGKILL);
    ev_loop_destroy(loop);
}

static void start(const char *script, int64_t timeout_us)
{
    static char *room[SPAWN_ROOM(1, 3)];
    static char *const envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
    char *const missing[] = {(char *)"/nonexistent/hook", NULL};
    struct hook_order order = {.argv = script ? argv : missing, .envp = envp, .room = room, .timeout_us = timeout_us};
    hook_start(&hook, &order);
}

/* The loop turns, and what ends is reaped, as the supervisor does it. */
static bool turn(void)
{
    ev_run(loop, EVRUN_NOWAIT);
    for (struct reaped reaped; (reaped = reap_next()).how != REAPED_NONE;)
        hook_reaped(&hook, &reaped);
    return hook.outcome != HOOK_RUNNING && hook.pid == 0;
}

static const struct ending {
    const char *script; /* NULL: a command that is missing */
    int64_t timeout_us;
    enum hook_outcome outcome;
    const char *why;
} ends[] = {
    {"exit 0", LONG, HOOK_OK, ""},
    {"exit 3", LONG, HOOK_FAILED, "it ended with code 3"},
    {"no-such-command 2>&-", LONG, HOOK_FAILED, "it ended with code 127 (no such command)"},
    {"kill -SEGV $$", LONG, HOOK_FAILED, "it was ended by SIGSEGV"},
    {NULL, LONG, HOOK_NOT_STARTED, "executing the command: No such file or directory"},
    {"sleep 60", 20 * US_PER_MS, HOOK_TIMED_OUT, "it had not ended after "},
    {"kill -STOP $$", 20 * US_PER_MS, HOOK_TIMED_OUT, "it had not ended after "},
};

START_TEST(each_way_to_end)
{
    const struct ending *the = &ends[_i];
    start(the->script, the->timeout_us);
    ck_assert_int_eq(hook.outcome, HOOK_RUNNING);
    ck_assert_int_eq(process_left_out(), hook.pid);
    ck_assert(wait_until(turn()));
    ck_assert_str_eq(hook_outcome_name(hook.outcome), hook_outcome_name(the->outcome));
    ck_assert_msg(strncmp(hook.why, the->why, strlen(the->why)) == 0, "%s", hook.why);
    ck_assert_uint_eq(endings, 1);
    ck_assert_int_eq(process_left_out(), 0);
    ck_assert_int_ge(hook.took_us, 0);
}
END_TEST

START_TEST(one_that_is_cut_ends_at_once)
{
    start("trap '' TERM; sleep 60", LONG);
    hook_cut(&hook, "for a reason");
    ck_assert(hook.outcome == HOOK_CUT_SHORT && endings == 1);
    ck_assert_str_eq(hook.why, "for a reason");
    ck_assert(wait_until(turn()));
    hook_cut(&hook, "for another");
    ck_assert_uint_eq(endings, 1);
}
END_TEST

START_TEST(one_that_runs_is_not_started_again)
{
    start("sleep 60", LONG);
    pid_t pid = hook.pid;
    start("sleep 60", LONG);
    ck_assert_int_eq(hook.pid, pid);
    hook_hurry(&hook, 10 * US_PER_MS);
    ck_assert(wait_until(turn()));
    ck_assert_int_eq(hook.outcome, HOOK_TIMED_OUT);
    start("exit 0", LONG);
    ck_assert(wait_until(turn()));
    ck_assert(hook.outcome == HOOK_OK && endings == 2 && hook.why[0] == '\0');
}
END_TEST

START_TEST(what_it_leaves_running_ends_with_it)
{
    start("sleep 60 & exit 0", LONG);
    ck_assert(wait_until(turn()));
    ck_assert(wait_until(turn() && reap_is_childless()));
}
END_TEST

/* The timer's place in libev is there from the first time on. */
START_TEST(starting_takes_no_memory)
{
    start("exit 0", LONG);
    ck_assert(wait_until(turn()));
    allocations = 0;
    start("exit 0", LONG);
    ck_assert_uint_eq(allocations, 0);
    ck_assert(wait_until(turn()));
}
END_TEST

static const char *listed(char *const *envp, const char *name)
{
    const char *found = NULL;
    for (; *envp; envp++)
        if (strncmp(*envp, name, strlen(name)) == 0) {
            ck_assert_ptr_null(found);
            found = *envp;
        }
    return found;
}

START_TEST(the_environment_is_ours_without_what_is_the_apps)
{
    static struct hook_variables variables;
    char *const ours[] = {(char *)"A=1", (char *)"LISTEN_FDS=2", (char *)"LASTCALL_REPORT=/x",
                          (char *)"WATCHDOG_USEC=1", (char *)"LASTCALL_REPORT_FILE=/y", NULL};
    ck_assert_int_eq(hook_variables_init(&variables, ours), 0);
    char *const *envp = hook_variables_list(&variables);
    ck_assert_str_eq(listed(envp, "A="), "A=1");
    ck_assert_ptr_null(listed(envp, "LISTEN_FDS="));
    ck_assert_ptr_null(listed(envp, "WATCHDOG_USEC="));
    ck_assert_ptr_null(listed(envp, "LASTCALL_REPORT="));
    ck_assert_str_eq(listed(envp, "LASTCALL_REPORT_FILE="), "LASTCALL_REPORT_FILE=/y");
    hook_variables_set(&variables, VARIABLE_REPORT, "%s", "/z");
    hook_variables_set(&variables, VARIABLE_EXIT_CODE, "%d", 7);
    allocations = 0;
    envp = hook_variables_list(&variables);
    ck_assert_uint_eq(allocations, 0);
    ck_assert_str_eq(listed(envp, "LASTCALL_REPORT="), "LASTCALL_REPORT=/z");
    ck_assert_str_eq(listed(envp, "LASTCALL_EXIT_CODE="), "LASTCALL_EXIT_CODE=7");
    ck_assert_str_eq(listed(envp, "A="), "A=1");
    hook_variables_finish(&variables);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hook");
    TCase *tcase = tcase_create("hook");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_loop_test(tcase, each_way_to_end, 0, (int)(sizeof ends / sizeof *ends));
    tcase_add_test(tcase, one_that_is_cut_ends_at_once);
    tcase_add_test(tcase, one_that_runs_is_not_started_again);
    tcase_add_test(tcase, what_it_leaves_running_ends_with_it);
    tcase_add_test(tcase, starting_takes_no_memory);
    tcase_add_test(tcase, the_environment_is_ours_without_what_is_the_apps);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
