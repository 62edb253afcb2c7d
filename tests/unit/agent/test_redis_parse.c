/* CLIENT LIST, line by line: every state, every form of address, and lines that are none. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/redis_client_list.h"
#include "common/clock.h"

static struct session_table table;

static void setup(void)
{
    session_table_clear(&table);
}

static void teardown(void)
{
    session_table_finish(&table);
}

static struct session read_line(const char *line, bool *is_client)
{
    struct session *session = session_table_add(&table);
    ck_assert_ptr_nonnull(session);
    *is_client = redis_read_client(session, line, strlen(line), true);
    return *session;
}

static const struct { const char *fields; uint8_t state; } states[] = {
    {"flags=N multi=-1 qbuf=0 oll=0", SESSION_IDLE},
    {"flags=N multi=-1 qbuf=26 oll=0", SESSION_ACTIVE},
    {"flags=N multi=-1 qbuf=0 oll=2", SESSION_ACTIVE},
    {"flags=N multi=-1 qbuf=0 obl=5 oll=0", SESSION_ACTIVE},
    {"flags=x multi=0 qbuf=0 oll=0", SESSION_IN_TRANSACTION},
    {"flags=x multi=3 qbuf=9 oll=9", SESSION_IN_TRANSACTION},
    {"flags=Px multi=1 qbuf=0 oll=0", SESSION_IN_TRANSACTION},
    {"flags=b multi=-1 qbuf=0 oll=0", SESSION_BLOCKED},
    {"flags=P multi=-1 qbuf=0 oll=0", SESSION_SUBSCRIBED},
    {"flags=P multi=-1 qbuf=0 oll=7", SESSION_SUBSCRIBED},
    {"flags=O multi=-1 qbuf=0 oll=7", SESSION_MONITORING},
    {"flags=S multi=-1 qbuf=0 oll=7", SESSION_REPLICATION},
    {"flags=M multi=-1 qbuf=0 oll=0", SESSION_REPLICATION},
    {"flags=t multi=-1 qbuf=0 oll=0", SESSION_IDLE},
    {"multi=-1 qbuf=0 oll=0", SESSION_UNKNOWN},
    {"flags= multi=-1 qbuf=0", SESSION_UNKNOWN},
};

START_TEST(each_state)
{
    char line[256];
    bool is_client;
    snprintf(line, sizeof line, "id=1 addr=127.0.0.1:1 %s", states[_i].fields);
    ck_assert_uint_eq(read_line(line, &is_client).state, states[_i].state);
    ck_assert(is_client);
}
END_TEST

static const struct { const char *addr; const char *address; unsigned port; uint8_t family; } addresses[] = {
    {"127.0.0.1:44336", "127.0.0.1", 44336, ENDPOINT_INET},
    {"[::1]:59268", "::1", 59268, ENDPOINT_INET6},
    {"[::ffff:10.0.0.5]:7", "10.0.0.5", 7, ENDPOINT_INET},
    {"::1:59268", "::1", 59268, ENDPOINT_INET6},
    {"/run/redis/redis.sock:0", NULL, 0, ENDPOINT_UNIX},
    {"", NULL, 0, ENDPOINT_NONE},
    {"127.0.0.1", NULL, 0, ENDPOINT_NONE},
    {"127.0.0.1:", NULL, 0, ENDPOINT_NONE},
    {"127.0.0.1:65536", NULL, 0, ENDPOINT_NONE},
    {"127.0.0.1:-1", NULL, 0, ENDPOINT_NONE},
    {"host:1", NULL, 0, ENDPOINT_NONE},
};

START_TEST(each_address)
{
    char line[256];
    bool is_client;
    struct endpoint wanted = {.family = addresses[_i].family};
    if (addresses[_i].address)
        ck_assert_int_eq(endpoint_parse(&wanted, addresses[_i].address, (uint16_t)addresses[_i].port), 0);
    snprintf(line, sizeof line, "id=1 addr=%s flags=N", addresses[_i].addr);
    struct session session = read_line(line, &is_client);
    ck_assert_uint_eq(session.client.family, wanted.family);
    ck_assert(endpoint_equal(&session.client, &wanted));
}
END_TEST

START_TEST(a_whole_line_of_redis_7)
{
    bool is_client;
    struct session session = read_line(
        "id=6 addr=127.0.0.1:44336 laddr=127.0.0.1:26379 fd=11 name=appx age=70 idle=3 flags=x db=0 sub=0 psub=0 "
        "ssub=0 multi=1 qbuf=0 qbuf-free=20474 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 "
        "tot-mem=22272 events=r cmd=client|list user=default redir=-1 resp=2", &is_client);
    ck_assert(is_client);
    ck_assert_uint_eq(session.id, 6);
    ck_assert_str_eq(session.application_name, "appx");
    ck_assert_str_eq(session.query, "client|list");
    ck_assert_int_eq(session.state_age_us, 3 * US_PER_SECOND);
    ck_assert_int_eq(session.transaction_age_us, -1);
    ck_assert_uint_eq(session.tls, 255);
    ck_assert_int_eq(session.start, 0);
}
END_TEST

START_TEST(what_is_not_said_is_not_known)
{
    bool is_client;
    struct session session = read_line("id=6", &is_client);
    ck_assert(is_client);
    ck_assert_uint_eq(session.state, SESSION_UNKNOWN);
    ck_assert_int_eq(session.state_age_us, -1);
    ck_assert_uint_eq(session.client.family, ENDPOINT_NONE);
    read_line("addr=127.0.0.1:1 flags=N", &is_client);
    ck_assert(!is_client);
    read_line("id=x flags=N", &is_client);
    ck_assert(!is_client);
    read_line("id=-4 flags=N", &is_client);
    ck_assert(!is_client);
    read_line("id=99999999999999999999999 flags=N", &is_client);
    ck_assert(!is_client);
    ck_assert_int_eq(read_line("id=1 idle=99999999999999999", &is_client).state_age_us, -1);
}
END_TEST

START_TEST(no_text_unless_wanted)
{
    const char line[] = "id=1 flags=N cmd=get\nid=2 flags=N cmd=NULL";
    ck_assert_int_eq(redis_read_client_list(&table, line, strlen(line), false), 2);
    ck_assert_str_eq(table.rows[0].query, "");
    session_table_clear(&table);
    ck_assert_int_eq(redis_read_client_list(&table, line, strlen(line), true), 2);
    ck_assert_str_eq(table.rows[0].query, "get");
    ck_assert_str_eq(table.rows[1].query, ""); /* it has executed none */
}
END_TEST

START_TEST(a_list_of_many)
{
    static char list[200 * 40];
    size_t length = 0;
    for (int i = 1; i <= 200; i++)
        length += (size_t)snprintf(list + length, sizeof list - length, "id=%d addr=10.0.0.1:%d flags=N\n", i, i);
    list[length++] = '\n'; /* an empty line is no client */
    ck_assert_int_eq(redis_read_client_list(&table, list, length, true), 200);
    ck_assert_uint_eq(table.count, 200);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_uint_eq(table.rows[i].id, i + 1);
        ck_assert_uint_eq(table.rows[i].client.port, i + 1);
    }
}
END_TEST

START_TEST(a_long_name_is_cut_at_a_character)
{
    char line[300] = "id=1 name=";
    bool is_client;
    memset(line + 10, 'n', 126);
    strcpy(line + 136, "\xc3\xa4nd flags=N");
    struct session session = read_line(line, &is_client);
    ck_assert_uint_eq(strlen(session.application_name), 126);
    ck_assert_uint_eq(session.state, SESSION_IDLE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis_parse");
    TCase *cases = tcase_create("client list");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, each_state, 0, (int)(sizeof states / sizeof *states));
    tcase_add_loop_test(cases, each_address, 0, (int)(sizeof addresses / sizeof *addresses));
    tcase_add_test(cases, a_whole_line_of_redis_7);
    tcase_add_test(cases, what_is_not_said_is_not_known);
    tcase_add_test(cases, no_text_unless_wanted);
    tcase_add_test(cases, a_list_of_many);
    tcase_add_test(cases, a_long_name_is_cut_at_a_character);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
