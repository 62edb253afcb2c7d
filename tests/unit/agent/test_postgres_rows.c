/* Rows of pg_stat_activity, and libpq's messages as one line. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/postgres_row.h"
#include "agent/targets/pq_connection.h"
#include "agent/targets/session_table.h"

static struct session_table table;

static void teardown(void)
{
    session_table_finish(&table);
}

static struct session read_row(const char *const values[POSTGRES_COLUMNS], bool *counts)
{
    struct session *session = session_table_add(&table);
    ck_assert_ptr_nonnull(session);
    *counts = postgres_read_row(session, values);
    return *session;
}

static const struct { const char *type, *state; uint8_t wanted; bool counts; } states[] = {
    {"client backend", "idle", SESSION_IDLE, true},
    {"client backend", "active", SESSION_ACTIVE, true},
    {"client backend", "fastpath function call", SESSION_ACTIVE, true},
    {"client backend", "idle in transaction", SESSION_IN_TRANSACTION, true},
    {"client backend", "idle in transaction (aborted)", SESSION_IN_FAILED_TRANSACTION, true},
    {"client backend", "disabled", SESSION_UNKNOWN, true},
    {"client backend", NULL, SESSION_STARTING, true},
    {"client backend", "starting", SESSION_STARTING, true},
    {"client backend", "a state of the future", SESSION_UNKNOWN, true},
    {"walsender", "active", SESSION_REPLICATION, false},
    {NULL, NULL, SESSION_UNKNOWN, true}, /* no right to see it */
};

START_TEST(each_state)
{
    bool counts;
    const char *values[POSTGRES_COLUMNS] = {[POSTGRES_PID] = "19295", [POSTGRES_BACKEND_TYPE] = states[_i].type,
                                            [POSTGRES_STATE] = states[_i].state};
    struct session session = read_row(values, &counts);
    ck_assert_uint_eq(session.state, states[_i].wanted);
    ck_assert_int_eq(counts, states[_i].counts);
    ck_assert_uint_eq(session.id, 19295);
}
END_TEST

/* track_activities off: by its lock and by what it waits for. */
START_TEST(an_untold_state)
{
    static const struct { const char *lock, *waits; uint8_t wanted; } rows[] = {
        {"t", "t", SESSION_IN_TRANSACTION}, {"t", "f", SESSION_ACTIVE},  {"t", NULL, SESSION_ACTIVE},
        {"f", "t", SESSION_IDLE},           {"f", NULL, SESSION_ACTIVE}, {NULL, "t", SESSION_UNKNOWN}};
    bool counts;
    const char *values[POSTGRES_COLUMNS] = {[POSTGRES_PID] = "7", [POSTGRES_BACKEND_TYPE] = "client backend",
                                            [POSTGRES_STATE] = "disabled", [POSTGRES_STATE_CHANGE] = "5",
                                            [POSTGRES_STATE_AGE] = "5", [POSTGRES_WAITS_FOR_CLIENT] = rows[_i].waits,
                                            [POSTGRES_HAS_TRANSACTION] = rows[_i].lock};
    struct session session = read_row(values, &counts);
    ck_assert_uint_eq(session.state, rows[_i].wanted);
    ck_assert_int_eq(session.state_change, 0);
    ck_assert_int_eq(session.state_age_us, -1);
}
END_TEST

START_TEST(a_row_that_is_not_shown)
{
    bool counts;
    const char *values[POSTGRES_COLUMNS] = {[POSTGRES_PID] = "7", [POSTGRES_APPLICATION_NAME] = "psql",
                                            [POSTGRES_QUERY] = "<insufficient privilege>"};
    struct session session = read_row(values, &counts);
    ck_assert_uint_eq(session.state, SESSION_UNKNOWN);
    ck_assert_uint_eq(session.client.family, ENDPOINT_NONE);
    ck_assert_uint_eq(session.tls, 255);
    ck_assert_int_eq(session.start, 0);
    ck_assert_int_eq(session.state_age_us, -1);
    ck_assert_int_eq(session.transaction_age_us, -1);
    ck_assert_int_eq(session.transaction_start, 0);
    ck_assert_str_eq(session.query, "");
    ck_assert_str_eq(session.application_name, "psql"); /* the server shows it to everybody */
}
END_TEST

START_TEST(a_whole_row)
{
    bool counts;
    struct endpoint wanted;
    const char *values[POSTGRES_COLUMNS] = {
        "19295", "client backend", "10.0.0.5", "52066", "idle in transaction", "t", "1795510758191101",
        "1795510758200481", "270308", "-3", "t", "lastcall/web-1", "SELECT 'äöü'",
        [POSTGRES_TRANSACTION_START] = "1795510758191999"};
    struct session session = read_row(values, &counts);
    ck_assert_int_eq(endpoint_parse(&wanted, "10.0.0.5", 52066), 0);
    ck_assert(endpoint_equal(&session.client, &wanted));
    ck_assert_uint_eq(session.tls, 1);
    ck_assert_uint_eq(session.waits_for_client, 1);
    ck_assert_int_eq(session.start, 1795510758191101);
    ck_assert_int_eq(session.state_change, 1795510758200481);
    ck_assert_int_eq(session.state_age_us, 270308);
    ck_assert_int_eq(session.transaction_start, 1795510758191999);
    ck_assert_int_eq(session.transaction_age_us, 0); /* the server's clock was set back meanwhile */
    ck_assert_str_eq(session.application_name, "lastcall/web-1");
    ck_assert_str_eq(session.query, "SELECT 'äöü'");
}
END_TEST

START_TEST(a_unix_socket)
{
    bool counts;
    const char *values[POSTGRES_COLUMNS] = {[POSTGRES_PID] = "7", [POSTGRES_BACKEND_TYPE] = "client backend",
                                            [POSTGRES_CLIENT_PORT] = "-1", [POSTGRES_SSL] = "f"};
    struct session session = read_row(values, &counts);
    ck_assert_uint_eq(session.client.family, ENDPOINT_UNIX);
    ck_assert_uint_eq(session.tls, 0);
}
END_TEST

static const struct { const char *message, *wanted; } messages[] = {
    {"connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
     "\tIs the server running on that host and accepting TCP/IP connections?\n", "Connection refused"},
    {"connection to server at \"::1\", port 5432 failed: FATAL:  password authentication failed for user \"app\"\n"
     "connection to server at \"::1\", port 5432 failed: FATAL:  password authentication failed for user \"app\"\n",
     "FATAL: password authentication failed for user \"app\""},
    {"connection to server on socket \"/run/x\" failed: FATAL:  a\n"
     "connection to server on socket \"/run/x\" failed: b\n",
     "FATAL: a; b"},
    {"ERROR:  permission denied\nDETAIL:  none\n", "ERROR: permission denied; DETAIL: none"},
    {"", "the connection was closed"},
    {"\n\n", "the connection was closed"},
    {"bad \x1b[31m bytes\n", "bad \\x1b[31m bytes"},
};

START_TEST(each_message)
{
    char why[240];
    struct text text = text_in(why, sizeof why);
    pq_format_why(messages[_i].message, &text);
    ck_assert_str_eq(why, messages[_i].wanted);
}
END_TEST

START_TEST(a_long_message_stays_in_its_room)
{
    char why[16], message[400];
    struct text text = text_in(why, sizeof why);
    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = 0;
    pq_format_why(message, &text);
    ck_assert_str_eq(why, "xxxxxxxxxxxxxxx");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres_rows");
    TCase *cases = tcase_create("rows");
    tcase_add_checked_fixture(cases, NULL, teardown);
    tcase_add_loop_test(cases, each_state, 0, (int)(sizeof states / sizeof *states));
    tcase_add_loop_test(cases, an_untold_state, 0, 6);
    tcase_add_test(cases, a_row_that_is_not_shown);
    tcase_add_test(cases, a_whole_row);
    tcase_add_test(cases, a_unix_socket);
    tcase_add_loop_test(cases, each_message, 0, (int)(sizeof messages / sizeof *messages));
    tcase_add_test(cases, a_long_message_stays_in_its_room);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
