/* Hidden sessions: since when the newest of them is there. */
#include <check.h>

#include "agent/ledger/hidden.h"
#include "common/clock.h"

enum { MOST = 4 };
static struct hidden hidden;

static void teardown(void)
{
    hidden_finish(&hidden);
}

/* Ids that are negative belong to sessions whose client is shown. */
static int64_t since_after(int64_t asked_at_us, size_t count, const int *ids)
{
    struct session sessions[MOST] = {{0}};
    for (size_t i = 0; i < count; i++) {
        sessions[i].id = (uint64_t)(ids[i] < 0 ? -ids[i] : ids[i]);
        sessions[i].client.family = ids[i] < 0 ? ENDPOINT_INET : ENDPOINT_NONE;
    }
    hidden_note(&hidden, sessions, count, asked_at_us);
    return hidden.since_us;
}

#define SINCE(at, ...) since_after(at, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (int[]){__VA_ARGS__})

START_TEST(the_newest_one_counts)
{
    ck_assert_int_eq(SINCE(1000, 12, 11), 1000);
    ck_assert_int_eq(SINCE(2000, 11, 12), 1000);
    ck_assert_int_eq(SINCE(3000, 11, -13), 1000); /* one is gone; another one is seen */
    ck_assert_int_eq(SINCE(4000, 11, 12), 4000);  /* it came back, or its number did */
    ck_assert_int_eq(SINCE(5000, 11, 12, 5, 14), 5000);
    ck_assert_int_eq(SINCE(6000, 5), 5000);
}
END_TEST

START_TEST(none_are_none)
{
    ck_assert_int_eq(SINCE(1000, -1, -2), 0);
    ck_assert_int_eq(SINCE(2000, 7), 2000);
    ck_assert_int_eq(SINCE(3000, -1), 0);
    ck_assert_int_eq(since_after(4000, 0, NULL), 0);
}
END_TEST

START_TEST(an_old_answer_proves_nothing)
{
    ck_assert_int_eq(SINCE(1000, 7), 1000);
    ck_assert_int_eq(SINCE(1000 + US_PER_SECOND, 7), 1000);
    ck_assert_int_eq(SINCE(1001 + 2 * US_PER_SECOND, 7), 1001 + 2 * US_PER_SECOND);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hidden");
    TCase *all = tcase_create("hidden");
    tcase_add_checked_fixture(all, NULL, teardown);
    tcase_add_test(all, the_newest_one_counts);
    tcase_add_test(all, none_are_none);
    tcase_add_test(all, an_old_answer_proves_nothing);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
