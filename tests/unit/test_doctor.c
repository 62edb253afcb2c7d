/* What the doctor makes of what it finds: the platform, the grace period, and a target's rows. What was not told is
 * unknown, and unknown is never well. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"

static struct doctor doctor;
static struct doctor_facts facts;
static struct config config;

static void setup(void)
{
    memset(&doctor, 0, sizeof doctor);
    memset(&facts, 0, sizeof facts);
    memset(&config, 0, sizeof config);
}

static const struct doctor_row *row(const char *what, const char *target)
{
    for (size_t i = 0; i < doctor.count; i++)
        if (strcmp(doctor.rows[i].what, what) == 0 && strcmp(doctor.rows[i].target, target) == 0)
            return &doctor.rows[i];
    return NULL;
}

static const char *cure(const struct doctor_row *of, const char *where)
{
    for (size_t i = 0; i < of->cure_count; i++)
        if (strcmp(of->cures[i].where, where) == 0)
            return of->cures[i].line;
    return "";
}

/* ---- place ---- */

static const struct placed {
    struct doctor_clues clues;
    enum doctor_platform platform;
} placed[] = {
    {{NULL, NULL, NULL, false, false, NULL}, PLATFORM_NONE},
    {{"", "", "", false, false, ""}, PLATFORM_NONE},
    {{"10.0.0.1", NULL, NULL, true, false, NULL}, PLATFORM_KUBERNETES},
    {{NULL, NULL, NULL, true, false, NULL}, PLATFORM_DOCKER},
    {{NULL, NULL, NULL, true, true, NULL}, PLATFORM_PODMAN},
    {{NULL, "podman", NULL, false, false, NULL}, PLATFORM_PODMAN},
    {{NULL, "lxc", NULL, false, false, NULL}, PLATFORM_CONTAINER},
    {{NULL, NULL, "abc", false, false, "0::/system.slice/web.service\n"}, PLATFORM_SYSTEMD},
    {{NULL, NULL, "abc", false, false, "0::/user.slice/user-0.slice/user@0.service/app.slice\n"}, PLATFORM_NONE},
    {{NULL, NULL, NULL, false, false, "0::/system.slice/ssh.service\n"}, PLATFORM_NONE},
};

START_TEST(the_place_is_known_by_its_signs)
{
    doctor_judge_place(&doctor, &placed[_i].clues);
    ck_assert_int_eq(doctor.platform, placed[_i].platform);
    ck_assert_int_gt(strlen(doctor.platform_why), 0);
}
END_TEST

START_TEST(the_grace_period_beside_the_platforms)
{
    doctor.platform = PLATFORM_DOCKER;
    doctor_judge_grace(&doctor, 10000000);
    ck_assert_int_eq(row("grace", "")->verdict, DOCTOR_YES);
    setup();
    doctor.platform = PLATFORM_SYSTEMD;
    doctor_judge_grace(&doctor, 90000001);
    ck_assert_int_eq(row("grace", "")->verdict, DOCTOR_PART);
    ck_assert_str_eq(cure(row("grace", ""), "[Service]"), "TimeoutStopSec=91");
    setup();
    doctor_judge_grace(&doctor, 3600000000);
    ck_assert_int_eq(row("grace", "")->verdict, DOCTOR_UNKNOWN);
    ck_assert(doctor_is_well(&doctor));
}
END_TEST

START_TEST(a_cure_is_for_the_platform_that_it_is)
{
    static const struct doctor_remedy remedy = {"d", "c", "k", "s"};
    static const size_t counts[PLATFORMS] = {4, 1, 2, 2, 3, 1};
    doctor.platform = (enum doctor_platform)_i;
    struct doctor_row *made = doctor_add(&doctor, DOCTOR_NO, "x", "", "y");
    doctor_prescribe(&doctor, made, &remedy);
    ck_assert_uint_eq(made->cure_count, counts[_i]);
    ck_assert_str_eq(cure(made, "[Service]"), _i == PLATFORM_SYSTEMD || _i == PLATFORM_NONE ? "s" : "");
}
END_TEST

/* ---- targets ---- */

static void add_target(const char *name, enum target_kind kind, const char *user, int server)
{
    struct config_target *target = &config.targets[config.target_count++];
    *target = (struct config_target){.kind = kind, .server = server, .origin = "DATABASE_URL"};
    strcpy(target->name, name);
    size_t at = user ? (size_t)sprintf(target->params, "user=%s", user) + 1 : 0;
    strcpy(target->params + at, "password=hush");
}

static void tell(size_t target, enum found_what what, enum found_answer answer, enum target_kind kind, const char *text)
{
    facts.of[target][what].found = true;
    struct message_found *found = &facts.of[target][what].message;
    *found = (struct message_found){.target = (int16_t)target, .what = (uint8_t)what, .answer = (uint8_t)answer,
                                    .kind = (uint8_t)kind, .took_us = 1000};
    strcpy(found->text, text);
}

static void judge(void)
{
    doctor_judge_targets(&doctor, &config, &facts);
    for (size_t i = 0; i < doctor.count; i++)
        ck_assert_ptr_null(strstr(doctor.rows[i].detail, "hush"));
}

START_TEST(what_was_not_told_is_unknown)
{
    add_target("db", TARGET_POSTGRES, "app", -1);
    judge();
    ck_assert_int_eq(row("reach", "db")->verdict, DOCTOR_UNKNOWN);
    ck_assert_int_eq(row("rights", "db")->verdict, DOCTOR_UNKNOWN);
    ck_assert(!doctor_is_well(&doctor));
    setup();
    add_target("db", TARGET_POSTGRES, "app", -1);
    tell(0, FOUND_REACHED, FOUND_YES, TARGET_POSTGRES, "");
    judge();
    ck_assert_int_eq(row("reach", "db")->verdict, DOCTOR_YES);
    ck_assert_int_eq(row("addresses", "db")->verdict, DOCTOR_UNKNOWN);
    ck_assert_int_eq(row("see", "db")->verdict, DOCTOR_UNKNOWN);
    ck_assert_int_eq(row("end", "db")->verdict, DOCTOR_UNKNOWN);
    ck_assert(!doctor_is_well(&doctor));
}
END_TEST

static const struct refused {
    enum target_kind kind;
    const char *user, *why, *where, *line;
} refused[] = {
    {TARGET_PGBOUNCER, "app", "h:1: FATAL: not allowed (name the agent's user in PgBouncer's stats_users)",
     "pgbouncer.ini", "stats_users = app"},
    {TARGET_POSTGRES, "app", "h:1: FATAL: no pg_hba.conf entry for host", "pg_hba.conf",
     "host all app samenet scram-sha-256   (hostssl for TLS; then: SELECT pg_reload_conf();)"},
    {TARGET_POSTGRES, "a\x1b[1m", "h:1: FATAL: password authentication failed", "DATABASE_URL",
     "its user or password is not the server's: user a\\x1b[1m"},
    {TARGET_REDIS, NULL, "h:1: NOPERM this user", "redis-cli",
     "ACL SETUSER default +ping +client|list +client|id +client|setname +client|kill +info +config|get"},
    {TARGET_REDIS, NULL, "h:1: Connection refused", "DATABASE_URL",
     "this URL must lead to the server that the app uses, from here"},
};

START_TEST(a_refusal_has_its_cure)
{
    const struct refused *it = &refused[_i];
    add_target("db", it->kind, it->user, -1);
    tell(0, FOUND_REACHED, FOUND_NO, it->kind, it->why);
    judge();
    ck_assert_int_eq(row("reach", "db")->verdict, DOCTOR_NO);
    ck_assert_str_eq(cure(row("reach", "db"), it->where), it->line);
}
END_TEST

/* DATABASE_URL may turn out to be a pooler; only then must the direct URL's role see another one's sessions. */
static void two_urls(enum target_kind first, const char *second_user)
{
    setup();
    add_target("database", TARGET_POSTGRES, "app", 1);
    add_target("direct", TARGET_POSTGRES, second_user, -1);
    tell(0, FOUND_REACHED, FOUND_YES, first, "");
    tell(1, FOUND_REACHED, FOUND_YES, TARGET_POSTGRES, "");
    tell(1, FOUND_SEES_OTHERS, FOUND_NO, TARGET_POSTGRES, "\"a b\"");
    tell(1, FOUND_ENDS_OTHERS, FOUND_NO, TARGET_POSTGRES, "\"a b\"");
    judge();
}

START_TEST(another_role_behind_a_pooler_needs_more_rights)
{
    two_urls(TARGET_PGBOUNCER, "other");
    ck_assert_int_eq(row("see", "direct")->verdict, DOCTOR_NO);
    ck_assert_str_eq(cure(row("see", "direct"), "SQL"), "GRANT pg_read_all_stats TO \"a b\";");
    ck_assert_str_eq(cure(row("end", "direct"), "SQL"), "GRANT pg_signal_backend TO \"a b\";");
    ck_assert_int_eq(row("pooler", "database")->verdict, DOCTOR_YES);
    two_urls(TARGET_PGBOUNCER, "app");
    ck_assert_int_eq(row("see", "direct")->verdict, DOCTOR_YES);
    two_urls(TARGET_POSTGRES, "other");
    ck_assert_int_eq(row("see", "direct")->verdict, DOCTOR_YES);
    two_urls(TARGET_PGBOUNCER, NULL);
    ck_assert_int_eq(row("see", "direct")->verdict, DOCTOR_NO);
}
END_TEST

static const struct killing {
    const char *version;
    enum found_answer admin;
    enum doctor_verdict verdict;
    size_t cures;
} killing[] = {
    {"PgBouncer 1.24.0", FOUND_YES, DOCTOR_YES, 0},  {"PgBouncer 1.25.2", FOUND_NO, DOCTOR_PART, 1},
    {"PgBouncer 1.23.1", FOUND_YES, DOCTOR_PART, 1}, {"PgBouncer 1.18.0", FOUND_NO, DOCTOR_PART, 2},
    {"PgBouncer 2.0", FOUND_YES, DOCTOR_YES, 0},     {"PgBouncer 1.25.2", FOUND_UNKNOWN, DOCTOR_UNKNOWN, 0},
};

START_TEST(ending_a_client_of_pgbouncer)
{
    add_target("pool", TARGET_PGBOUNCER, "app", -1);
    tell(0, FOUND_REACHED, FOUND_YES, TARGET_PGBOUNCER, "");
    tell(0, FOUND_VERSION, FOUND_YES, TARGET_PGBOUNCER, killing[_i].version);
    tell(0, FOUND_ENDS_OTHERS, killing[_i].admin, TARGET_PGBOUNCER, "");
    judge();
    ck_assert_int_eq(row("end", "pool")->verdict, killing[_i].verdict);
    ck_assert_uint_eq(row("end", "pool")->cure_count, killing[_i].cures);
    ck_assert(doctor_is_well(&doctor));
}
END_TEST

START_TEST(changed_addresses)
{
    add_target("cache", TARGET_REDIS, NULL, -1);
    tell(0, FOUND_REACHED, FOUND_YES, TARGET_REDIS, "");
    tell(0, FOUND_UNCHANGED, FOUND_NO, TARGET_REDIS, "");
    judge();
    ck_assert_int_eq(row("addresses", "cache")->verdict, DOCTOR_PART);
    ck_assert_int_gt(strlen(row("addresses", "cache")->consequence), 0);
}
END_TEST

START_TEST(sockets)
{
    static const enum doctor_verdict verdicts[] = {DOCTOR_UNKNOWN, DOCTOR_NO, DOCTOR_YES};
    tell(WIRE_TARGETS, FOUND_SOCKETS, (enum found_answer)_i, 0, _i == FOUND_NO ? "/proc/self/net" : "x");
    doctor_judge_sockets(&doctor, &facts, true);
    ck_assert_int_eq(row("sockets", "")->verdict, verdicts[_i]);
    ck_assert(doctor_is_well(&doctor) == (_i == FOUND_YES));
}
END_TEST

START_TEST(too_many_rows_do_not_overflow)
{
    for (int i = 0; i < DOCTOR_ROWS + 3; i++)
        doctor_add(&doctor, DOCTOR_YES, "x", "", "%d", i);
    ck_assert_uint_eq(doctor.count, DOCTOR_ROWS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("doctor");
    TCase *tcase = tcase_create("doctor");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, the_place_is_known_by_its_signs, 0, sizeof placed / sizeof *placed);
    tcase_add_test(tcase, the_grace_period_beside_the_platforms);
    tcase_add_loop_test(tcase, a_cure_is_for_the_platform_that_it_is, 0, PLATFORMS);
    tcase_add_test(tcase, what_was_not_told_is_unknown);
    tcase_add_loop_test(tcase, a_refusal_has_its_cure, 0, sizeof refused / sizeof *refused);
    tcase_add_test(tcase, another_role_behind_a_pooler_needs_more_rights);
    tcase_add_loop_test(tcase, ending_a_client_of_pgbouncer, 0, sizeof killing / sizeof *killing);
    tcase_add_test(tcase, changed_addresses);
    tcase_add_loop_test(tcase, sockets, FOUND_UNKNOWN, FOUND_YES + 1);
    tcase_add_test(tcase, too_many_rows_do_not_overflow);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
