/* restart: another life or not, by a table; the waits and the limit; what a life leaves to the next. No real clock. */
#include <check.h>
#include <string.h>

#include "supervisor/lifecycle/cells.h"

#define S INT64_C(1000000)
#define T0 (1000 * S)

static const struct lifecycle_settings always = {
    .grace_us = 10 * S, .has_targets = true,
    .restart = {.after_failure = true, .after_success = true, .backoff_us = 1 * S, .backoff_max_us = 10 * S}};

START_TEST(who_lives_again)
{
    static const struct {
        bool by_itself, failed, after_failure, after_success;
        enum restart_verdict verdict;
    } rows[] = {
        {true, true, false, false, RESTART_NOT},   {true, false, false, false, RESTART_NOT},
        {true, true, true, false, RESTART_AGAIN},  {true, false, true, false, RESTART_NOT},
        {true, true, true, true, RESTART_AGAIN},   {true, false, true, true, RESTART_AGAIN},
        {false, true, true, true, RESTART_NOT},    {false, false, true, true, RESTART_NOT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lifecycle l;
        lifecycle_init(&l, &always);
        l.settings.restart.after_failure = rows[i].after_failure;
        l.settings.restart.after_success = rows[i].after_success;
        l.by_itself = rows[i].by_itself;
        l.failed = rows[i].failed;
        ck_assert_msg(restart_judge(&l, T0) == rows[i].verdict, "row %zu", i);
    }
}
END_TEST

START_TEST(a_person_at_the_terminal_has_the_last_word)
{
    struct lifecycle l;
    lifecycle_init(&l, &always);
    l.by_itself = l.failed = l.by_a_person = true;
    ck_assert_int_eq(restart_judge(&l, T0), RESTART_NOT);
}
END_TEST

/* One life after the other, each `life_us` long; the wait that follows it. */
static int64_t wait_after(struct lifecycle *l, int64_t life_us)
{
    l->began_us = l->lives.started_us + life_us;
    return restart_next_wait(l);
}

START_TEST(waits_double_up_to_the_longest)
{
    struct lifecycle l;
    lifecycle_init(&l, &always);
    l.began_us = T0; /* the first life: nobody knows its length, and its wait is the first one in any case */
    ck_assert_int_eq(restart_next_wait(&l), 1 * S);
    for (int64_t wanted = 2; wanted <= 80; wanted *= 2) {
        restart_begin(&l, T0);
        ck_assert_int_eq(wait_after(&l, 0), wanted < 10 ? wanted * S : 10 * S);
    }
    ck_assert_int_eq(wait_after(&l, 10 * S), 10 * S);
    ck_assert_int_eq(wait_after(&l, 10 * S + 1), 1 * S);
    ck_assert_int_eq(wait_after(&l, 0), 2 * S);
}
END_TEST

/* With limit n, the n + 1st restart within the window is refused; the oldest one leaves the window at its end. */
START_TEST(the_limit_counts_within_the_window)
{
    for (unsigned limit = 1; limit <= RESTART_LIMIT_MOST; limit++) {
        struct lifecycle l;
        lifecycle_init(&l, &always);
        l.settings.restart.limit = limit;
        l.settings.restart.window_us = 100 * S;
        l.by_itself = true;
        for (unsigned i = 0; i < limit; i++) {
            ck_assert_int_eq(restart_judge(&l, T0 + i * S), RESTART_AGAIN);
            restart_begin(&l, T0 + i * S);
            l.by_itself = true;
        }
        ck_assert_int_eq(restart_judge(&l, T0 + 100 * S - 1), RESTART_TOO_OFTEN);
        ck_assert_int_eq(restart_judge(&l, T0 + 100 * S), RESTART_AGAIN);
        restart_begin(&l, T0 + 100 * S);
        l.by_itself = true;
        ck_assert_int_eq(restart_judge(&l, T0 + 101 * S - 1), RESTART_TOO_OFTEN);
        ck_assert_uint_eq(l.lives.restarts, limit + 1);
    }
}
END_TEST

START_TEST(nothing_of_a_life_is_left_but_its_count)
{
    struct lifecycle l, fresh;
    lifecycle_init(&l, &always);
    l.phase = PHASE_WAITING;
    l.began_us = l.drained_until_us = l.deadlines.done = T0;
    l.drain_only = l.ends_at_once = l.no_hands = l.no_freeze = l.kill_next = l.gave_up = l.last_chance = true;
    l.signalled = l.by_itself = l.failed = l.alone = l.by_a_person = true;
    l.lives.wait_us = 4 * S;
    restart_begin(&l, T0);
    memset(&fresh, 0, sizeof fresh);
    fresh.settings = always;
    fresh.phase = PHASE_WAITING;
    fresh.lives = (struct lifecycle_lives){.restarts = 1, .started_us = T0, .wait_us = 4 * S};
    ck_assert(l.began_us == 0 && l.drained_until_us == 0 && l.deadlines.done == 0);
    ck_assert(!l.drain_only && !l.ends_at_once && !l.no_hands && !l.no_freeze && !l.kill_next && !l.gave_up);
    ck_assert(!l.last_chance && !l.signalled && !l.by_itself && !l.failed && !l.alone && !l.by_a_person);
    ck_assert(memcmp(&l.lives, &fresh.lives, sizeof l.lives) == 0 && l.phase == PHASE_WAITING);
}
END_TEST

/* In each phase after a crash: whoever asks for a stop there ends it. */
START_TEST(a_stop_asked_for_in_any_phase_is_the_last_word)
{
    static const enum lifecycle_event asks[] = {EVENT_STOP_SIGNAL, EVENT_ESCALATE, EVENT_DRAIN};
    for (int phase = PHASE_RUNNING; phase < PHASES; phase++)
        for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
            struct lifecycle l;
            struct lifecycle_actions actions;
            lifecycle_init(&l, &always);
            l.phase = (enum phase)phase;
            l.by_itself = true;
            lifecycle_step(&l, asks[i], T0, &actions);
            ck_assert_msg(!l.by_itself, "%s", phase_name((enum phase)phase));
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("restart");
    TCase *tcase = tcase_create("restart");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, who_lives_again);
    tcase_add_test(tcase, a_person_at_the_terminal_has_the_last_word);
    tcase_add_test(tcase, waits_double_up_to_the_longest);
    tcase_add_test(tcase, the_limit_counts_within_the_window);
    tcase_add_test(tcase, nothing_of_a_life_is_left_but_its_count);
    tcase_add_test(tcase, a_stop_asked_for_in_any_phase_is_the_last_word);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
