/* SHOW CLIENTS and SHOW POOLS: which state a client has in which pool mode, and which mode its pool has. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/pgbouncer_rows.h"
#include "common/clock.h"

static struct session_table table;
static struct pool_list pools;

static void teardown(void)
{
    session_table_finish(&table);
    pool_list_finish(&pools);
}

static struct session read_client(const struct pgbouncer_client *client, enum pool_mode mode, uint64_t *link)
{
    struct session *session = session_table_add(&table);
    ck_assert_ptr_nonnull(session);
    pgbouncer_read_client(session, client, mode, link);
    return *session;
}

static const struct { const char *state, *link; enum pool_mode mode; uint8_t wanted; } states[] = {
    {"active", "", POOL_MODE_TRANSACTION, SESSION_IDLE},
    {"active", NULL, POOL_MODE_TRANSACTION, SESSION_IDLE},
    {"active", "0x10", POOL_MODE_TRANSACTION, SESSION_ACTIVE},
    {"waiting", "", POOL_MODE_TRANSACTION, SESSION_WAITING},
    {"waiting_login", "", POOL_MODE_TRANSACTION, SESSION_WAITING},
    {"idle", "", POOL_MODE_TRANSACTION, SESSION_IDLE},
    {"active_cancel_req", "", POOL_MODE_TRANSACTION, SESSION_ACTIVE},
    {"waiting_cancel_req", "", POOL_MODE_SESSION, SESSION_ACTIVE},
    {"active", "", POOL_MODE_SESSION, SESSION_IDLE},
    {"waiting", "", POOL_MODE_SESSION, SESSION_WAITING},
    {"active", "0x10", POOL_MODE_SESSION, SESSION_UNKNOWN}, /* the server behind it knows */
    {"active", "0x10", POOL_MODE_UNKNOWN, SESSION_UNKNOWN},
    {"active", "", POOL_MODE_UNKNOWN, SESSION_IDLE},
    {NULL, "0x10", POOL_MODE_TRANSACTION, SESSION_UNKNOWN},
};

START_TEST(each_state)
{
    uint64_t link;
    struct pgbouncer_client client = {.state = states[_i].state, .link = states[_i].link, .ptr = "0x564a4888ee00"};
    struct session session = read_client(&client, states[_i].mode, &link);
    ck_assert_uint_eq(session.state, states[_i].wanted);
    ck_assert_uint_eq(session.id, 0x564a4888ee00);
    ck_assert_uint_eq(link, states[_i].link && *states[_i].link ? 0x10 : 0);
    ck_assert_uint_eq(session.server_pid, 0);
}
END_TEST

static const struct { const char *addr, *port; uint8_t family; } addresses[] = {
    {"127.0.0.1", "39708", ENDPOINT_INET}, {"::1", "39708", ENDPOINT_INET6}, {"unix", "6432", ENDPOINT_UNIX},
    {"unix(17@host)", "6432", ENDPOINT_UNIX}, {NULL, NULL, ENDPOINT_NONE}, {"?", "1", ENDPOINT_NONE},
};

START_TEST(each_address)
{
    uint64_t link;
    struct pgbouncer_client client = {.state = "active", .addr = addresses[_i].addr, .port = addresses[_i].port};
    struct session session = read_client(&client, POOL_MODE_TRANSACTION, &link);
    bool inet = addresses[_i].family == ENDPOINT_INET || addresses[_i].family == ENDPOINT_INET6;
    ck_assert_uint_eq(session.client.family, addresses[_i].family);
    ck_assert_uint_eq(session.client.port, inet ? 39708 : 0);
}
END_TEST

START_TEST(the_rest_of_a_client)
{
    uint64_t link;
    struct pgbouncer_client client = {.state = "waiting", .wait = "2", .wait_us = "212969", .tls = "TLSv1.3/…",
                                      .application_name = "lastcall/web-1 - 10.0.0.5:4711"};
    struct session session = read_client(&client, POOL_MODE_TRANSACTION, &link);
    ck_assert_int_eq(session.state_age_us, 2212969);
    ck_assert_int_eq(session.transaction_age_us, -1);
    ck_assert_uint_eq(session.tls, 1);
    ck_assert_str_eq(session.application_name, "lastcall/web-1 - 10.0.0.5:4711");
    client.tls = "";
    client.state = "active";
    session = read_client(&client, POOL_MODE_TRANSACTION, &link);
    ck_assert_uint_eq(session.tls, 0);
    ck_assert_int_eq(session.state_age_us, -1);
    client.tls = NULL; /* a version without that column */
    ck_assert_uint_eq(read_client(&client, POOL_MODE_TRANSACTION, &link).tls, 255);
}
END_TEST

START_TEST(the_mode_of_a_pool)
{
    ck_assert_int_eq(pool_list_mode(&pools, "a", "u"), POOL_MODE_UNKNOWN);
    ck_assert_int_eq(pool_list_add(&pools, "a", "u", "transaction"), 0);
    ck_assert_int_eq(pool_list_add(&pools, "a", "v", "session"), 0);
    ck_assert_int_eq(pool_list_add(&pools, "b", "forced", "statement"), 0);
    ck_assert_int_eq(pool_list_add(&pools, "c", "u", "something new"), 0);
    ck_assert_int_eq(pool_list_mode(&pools, "a", "u"), POOL_MODE_TRANSACTION);
    ck_assert_int_eq(pool_list_mode(&pools, "a", "v"), POOL_MODE_SESSION);
    ck_assert_int_eq(pool_list_mode(&pools, "b", "forced"), POOL_MODE_TRANSACTION);
    ck_assert_int_eq(pool_list_mode(&pools, "b", "client"), POOL_MODE_TRANSACTION); /* all of b agree */
    ck_assert_int_eq(pool_list_mode(&pools, "a", "client"), POOL_MODE_UNKNOWN);     /* those of a do not */
    ck_assert_int_eq(pool_list_mode(&pools, "c", "u"), POOL_MODE_UNKNOWN);
    ck_assert_int_eq(pool_list_mode(&pools, "d", "u"), POOL_MODE_UNKNOWN);
}
END_TEST

START_TEST(an_unknown_mode_among_known_ones_is_no_agreement)
{
    ck_assert_int_eq(pool_list_add(&pools, "a", "u", "something new"), 0);
    ck_assert_int_eq(pool_list_add(&pools, "a", "v", "transaction"), 0);
    ck_assert_int_eq(pool_list_mode(&pools, "a", "client"), POOL_MODE_UNKNOWN);
}
END_TEST

START_TEST(pointers)
{
    ck_assert_uint_eq(pgbouncer_pointer("0x5643fbc0be70"), 0x5643fbc0be70);
    ck_assert_uint_eq(pgbouncer_pointer(""), 0);
    ck_assert_uint_eq(pgbouncer_pointer(NULL), 0);
    ck_assert_uint_eq(pgbouncer_pointer("(nil)"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pgbouncer_parse");
    TCase *cases = tcase_create("rows");
    tcase_add_checked_fixture(cases, NULL, teardown);
    tcase_add_loop_test(cases, each_state, 0, (int)(sizeof states / sizeof *states));
    tcase_add_loop_test(cases, each_address, 0, (int)(sizeof addresses / sizeof *addresses));
    tcase_add_test(cases, the_rest_of_a_client);
    tcase_add_test(cases, the_mode_of_a_pool);
    tcase_add_test(cases, an_unknown_mode_among_known_ones_is_no_agreement);
    tcase_add_test(cases, pointers);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
