/* A probe's questions: which kind is asked what, and what each answer means. What is no clear answer is unknown. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/probe_questions.h"

static const struct probe_question *question(enum target_kind kind, enum found_what what)
{
    const struct probe_question *at = NULL;
    while ((at = probe_question_next(kind, at)) && at->what != what)
        ;
    ck_assert_ptr_nonnull(at);
    return at;
}

static const struct judged {
    enum target_kind kind;
    enum found_what what;
    bool ok;
    const char *said;
    enum found_answer answer;
    const char *text;
} judged[] = {
    {TARGET_POSTGRES, FOUND_VERSION, true, "PostgreSQL 15.4", FOUND_YES, "PostgreSQL 15.4"},
    {TARGET_POSTGRES, FOUND_VERSION, true, "", FOUND_UNKNOWN, ""},
    {TARGET_POSTGRES, FOUND_SEES_OTHERS, true, "yes app", FOUND_YES, "app"},
    {TARGET_POSTGRES, FOUND_SEES_OTHERS, true, "no \"a b\"", FOUND_NO, "\"a b\""},
    {TARGET_POSTGRES, FOUND_ENDS_OTHERS, false, "db:5432: no answer after 1.0 s", FOUND_UNKNOWN,
     "db:5432: no answer after 1.0 s"},
    {TARGET_POSTGRES, FOUND_TRACKS, false, "no answer", FOUND_UNKNOWN, "no answer"},
    {TARGET_POSTGRES, FOUND_TRACKS, true, "", FOUND_UNKNOWN, ""},
    {TARGET_PGBOUNCER, FOUND_VERSION, true, "PgBouncer 1.18.0", FOUND_YES, "PgBouncer 1.18.0"},
    {TARGET_PGBOUNCER, FOUND_ENDS_OTHERS, false, "ERROR: admin access needed", FOUND_NO, ""},
    {TARGET_PGBOUNCER, FOUND_ENDS_OTHERS, false, "ERROR: SET failed", FOUND_YES, ""},
    {TARGET_PGBOUNCER, FOUND_ENDS_OTHERS, false, "the connection was closed", FOUND_UNKNOWN,
     "the connection was closed"},
    {TARGET_REDIS, FOUND_VERSION, true, "# Server\\x0d\\x0aredis_version:7.0.15\\x0d\\x0aredis_git", FOUND_YES,
     "Redis 7.0.15"},
    {TARGET_REDIS, FOUND_VERSION, true, "# Server", FOUND_UNKNOWN, "# Server"},
    {TARGET_REDIS, FOUND_VERSION, false, "NOPERM redis_version:1", FOUND_UNKNOWN, "NOPERM redis_version:1"},
    {TARGET_REDIS, FOUND_ENDS_OTHERS, true, "", FOUND_YES, ""},
    {TARGET_REDIS, FOUND_ENDS_OTHERS, false, "NOPERM this user has no permissions", FOUND_NO, ""},
    {TARGET_REDIS, FOUND_ENDS_OTHERS, false, "LOADING", FOUND_UNKNOWN, "LOADING"},
};

START_TEST(answers_are_judged)
{
    const struct judged *row = &judged[_i];
    char text[256] = "";
    enum found_answer answer = question(row->kind, row->what)->judge(row->ok, row->said, text, sizeof text);
    ck_assert_msg(answer == row->answer, "%s: %d", row->said, answer);
    ck_assert_str_eq(text, row->text);
}
END_TEST

START_TEST(each_kind_has_its_own)
{
    static const int counts[] = {[TARGET_POSTGRES] = 4, [TARGET_PGBOUNCER] = 2, [TARGET_REDIS] = 2};
    int count = 0;
    for (const struct probe_question *at = NULL; (at = probe_question_next((enum target_kind)_i, at)); count++)
        ck_assert_int_eq(at->kind, _i);
    ck_assert_int_eq(count, counts[_i]);
}
END_TEST

/* "CLIENT KILL ID 0" ends every client of a Redis before 7. */
START_TEST(nobody_is_killed)
{
    ck_assert_str_eq(question(TARGET_REDIS, FOUND_ENDS_OTHERS)->command, "CLIENT KILL ID 9223372036854775807");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe_questions");
    TCase *tcase = tcase_create("probe_questions");
    tcase_add_loop_test(tcase, answers_are_judged, 0, sizeof judged / sizeof *judged);
    tcase_add_loop_test(tcase, each_kind_has_its_own, TARGET_POSTGRES, TARGET_REDIS + 1);
    tcase_add_test(tcase, nobody_is_killed);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
