/* Which losses of the agent are said, on a clock of the test's own. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "supervisor/platform/loss_log.h"

#define T0 (1000 * US_PER_SECOND)

static struct loss_log reasons;
static unsigned unsaid;

static void begin(void)
{
    memset(&reasons, 0, sizeof reasons);
}

static bool says(const char *reason, int64_t after_s)
{
    return loss_log_may_say(&reasons, reason, T0 + after_s * US_PER_SECOND, &unsaid);
}

START_TEST(each_reason_is_said_once)
{
    ck_assert(says("it exited with code 0", 0));
    ck_assert(says("it exited with code 3", 0));
    for (int i = 0; i < 10; i++)
        ck_assert(!says("it exited with code 0", i) && !says("it exited with code 3", i));
}
END_TEST

START_TEST(the_same_again_comes_at_growing_intervals)
{
    static const int64_t expected_s[] = {0, 10, 30, 70, 150, 310, 630, 1230, 1830};
    size_t said = 0;
    for (int64_t second = 0; second <= 1830; second++)
        if (says("again", second)) {
            ck_assert_int_eq(second, expected_s[said]);
            ck_assert_uint_eq(unsaid, said ? expected_s[said] - expected_s[said - 1] - 1 : 0);
            said++;
        }
    ck_assert_uint_eq(said, sizeof expected_s / sizeof expected_s[0]);
}
END_TEST

START_TEST(after_ten_quiet_minutes_it_is_new)
{
    says("once a day", 0);
    ck_assert(says("once a day", 600));
    ck_assert(!says("once a day", 609));
    ck_assert(says("once a day", 610));
    ck_assert_uint_eq(unsaid, 1);
}
END_TEST

/* More reasons than there is room for: the one that was not seen for longest is forgotten. */
START_TEST(the_oldest_makes_room)
{
    char reason[16];
    for (int i = 0; i < LOSS_REASONS; i++) {
        snprintf(reason, sizeof reason, "reason %d", i);
        ck_assert(says(reason, i));
    }
    ck_assert(!says("reason 0", LOSS_REASONS));
    ck_assert(says("one more", LOSS_REASONS));
    ck_assert(!says("reason 0", LOSS_REASONS));
    ck_assert(says("reason 1", LOSS_REASONS));
}
END_TEST

START_TEST(a_reason_that_is_too_long_is_itself)
{
    char longer[2 * LOSS_REASON];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    ck_assert(says(longer, 0));
    ck_assert(!says(longer, 1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loss_log");
    TCase *tcase = tcase_create("loss_log");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, each_reason_is_said_once);
    tcase_add_test(tcase, the_same_again_comes_at_growing_intervals);
    tcase_add_test(tcase, after_ten_quiet_minutes_it_is_new);
    tcase_add_test(tcase, the_oldest_makes_room);
    tcase_add_test(tcase, a_reason_that_is_too_long_is_itself);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
