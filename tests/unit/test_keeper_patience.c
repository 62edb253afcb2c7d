/* How long the keeper waits, before a start and for an answer, on a clock of the test's own. */
#include <check.h>

#include "common/clock.h"
#include "supervisor/platform/agent_backoff.h"
#include "supervisor/platform/agent_patience.h"

#define T0 (1000 * US_PER_SECOND)

static struct agent_patience patience;
static struct agent_backoff backoff;
static char why_text[200];

static bool is_over(int64_t now_us)
{
    struct text why = text_in(why_text, sizeof why_text);
    return agent_patience_is_over(&patience, now_us, &why);
}

static void begin(int64_t interval_us)
{
    agent_patience_init(&patience, interval_us);
    agent_patience_started(&patience, T0);
}

START_TEST(backoff_doubles_to_its_limit)
{
    static const int64_t expected_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    agent_backoff_init(&backoff);
    for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
        ck_assert_int_eq(agent_backoff_before_start(&backoff), expected_ms[i] * US_PER_MS);
        agent_backoff_started(&backoff, T0);
        agent_backoff_lost(&backoff, T0 + 59 * US_PER_SECOND);
    }
}
END_TEST

START_TEST(a_long_life_resets_the_backoff)
{
    agent_backoff_init(&backoff);
    for (int i = 0; i < 5; i++)
        agent_backoff_before_start(&backoff);
    agent_backoff_started(&backoff, T0);
    agent_backoff_lost(&backoff, T0 + 60 * US_PER_SECOND);
    ck_assert_int_eq(agent_backoff_before_start(&backoff), 100 * US_PER_MS);
}
END_TEST

START_TEST(hurry_starts_at_once_and_then_every_tenth)
{
    agent_backoff_init(&backoff);
    for (int i = 0; i < 8; i++)
        agent_backoff_before_start(&backoff);
    agent_backoff_hurry(&backoff, true);
    ck_assert_int_eq(agent_backoff_before_start(&backoff), 0);
    agent_backoff_hurry(&backoff, true); /* again: nothing new */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(agent_backoff_before_start(&backoff), 100 * US_PER_MS);
    agent_backoff_hurry(&backoff, false);
    ck_assert_int_eq(agent_backoff_before_start(&backoff), 25600 * US_PER_MS);
}
END_TEST

START_TEST(nothing_expected_is_never_overdue)
{
    begin(0);
    ck_assert_int_eq(agent_patience_deadline(&patience), 0);
    ck_assert(!is_over(INT64_MAX));
}
END_TEST

START_TEST(a_look_is_overdue_half_a_second_late)
{
    begin(0);
    agent_patience_asked(&patience, 7, 250, T0);
    ck_assert_int_eq(agent_patience_deadline(&patience), T0 + 750 * US_PER_MS);
    ck_assert(!is_over(T0 + 750 * US_PER_MS - 1));
    ck_assert(is_over(T0 + 750 * US_PER_MS));
    ck_assert_str_eq(why_text, "it did not answer a look within 250 + 500 ms");
}
END_TEST

START_TEST(only_its_own_answer_satisfies_a_look)
{
    begin(0);
    agent_patience_asked(&patience, 7, 250, T0);
    agent_patience_answered(&patience, 0, T0 + 1);
    agent_patience_answered(&patience, 6, T0 + 1);
    ck_assert(is_over(T0 + US_PER_SECOND));
    agent_patience_answered(&patience, 7, T0 + 2);
    ck_assert(!is_over(T0 + US_PER_SECOND));
}
END_TEST

/* An agent that answers nothing must be found out however often it is asked. */
START_TEST(looks_that_replace_each_other_end_too)
{
    begin(0);
    int64_t now = T0;
    for (uint32_t look = 1; !is_over(now); look++, now += 50 * US_PER_MS) {
        agent_patience_asked(&patience, look, 200, now);
        ck_assert_int_lt(now, T0 + 10 * US_PER_SECOND);
    }
    ck_assert_int_eq(now, T0 + 1400 * US_PER_MS);
}
END_TEST

START_TEST(a_replacing_look_gets_its_own_time)
{
    begin(0);
    agent_patience_asked(&patience, 1, 250, T0);
    agent_patience_asked(&patience, 2, 250, T0 + 500 * US_PER_MS);
    ck_assert_int_eq(agent_patience_deadline(&patience), T0 + 1250 * US_PER_MS);
}
END_TEST

START_TEST(samples_are_overdue_after_twice_the_interval_and_five_seconds)
{
    begin(60 * US_PER_SECOND);
    ck_assert_int_eq(agent_patience_deadline(&patience), T0 + 125 * US_PER_SECOND);
    agent_patience_answered(&patience, 0, T0 + 60 * US_PER_SECOND);
    ck_assert(!is_over(T0 + 125 * US_PER_SECOND));
    ck_assert(is_over(T0 + 185 * US_PER_SECOND));
}
END_TEST

START_TEST(the_earlier_deadline_counts)
{
    begin(60 * US_PER_SECOND);
    agent_patience_asked(&patience, 1, 1000, T0);
    ck_assert_int_eq(agent_patience_deadline(&patience), T0 + 1500 * US_PER_MS);
    agent_patience_asked(&patience, 2, 1000000, T0);
    agent_patience_answered(&patience, 2, T0);
    agent_patience_asked(&patience, 3, 1000000, T0);
    ck_assert_int_eq(agent_patience_deadline(&patience), T0 + 125 * US_PER_SECOND);
}
END_TEST

START_TEST(a_lost_agent_owes_nothing)
{
    begin(60 * US_PER_SECOND);
    agent_patience_asked(&patience, 1, 1000, T0);
    agent_patience_lost(&patience);
    ck_assert_int_eq(agent_patience_deadline(&patience), 0);
    ck_assert(!is_over(INT64_MAX));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keeper_patience");
    TCase *tcase = tcase_create("patience");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, backoff_doubles_to_its_limit);
    tcase_add_test(tcase, a_long_life_resets_the_backoff);
    tcase_add_test(tcase, hurry_starts_at_once_and_then_every_tenth);
    tcase_add_test(tcase, nothing_expected_is_never_overdue);
    tcase_add_test(tcase, a_look_is_overdue_half_a_second_late);
    tcase_add_test(tcase, only_its_own_answer_satisfies_a_look);
    tcase_add_test(tcase, looks_that_replace_each_other_end_too);
    tcase_add_test(tcase, a_replacing_look_gets_its_own_time);
    tcase_add_test(tcase, samples_are_overdue_after_twice_the_interval_and_five_seconds);
    tcase_add_test(tcase, the_earlier_deadline_counts);
    tcase_add_test(tcase, a_lost_agent_owes_nothing);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
