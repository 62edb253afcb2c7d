/* The record and its counts: facts are kept as they were put down, and an unknown never counts as a zero. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/report/record.h"
#include "supervisor/report/report.h"
#include "supervisor/report/said.h"
#include "supervisor/report/tally.h"

static struct record record;

static void setup(void)
{
    record_init(&record);
    record.is_stop = true;
    record.target_count = 1;
    text_copy(record.targets[0].name, WIRE_NAME, "primary");
    record.targets[0].kind = TARGET_POSTGRES;
}

static void teardown(void)
{
    record_finish(&record);
}

static struct handle_row row_of(uint64_t inode, uint16_t port)
{
    struct handle_row row = { .inode = inode, .pid = 7, .fd = 14, .known_by = KNOWN_EXACT, .state = SESSION_IDLE,
                              .state_age_us = -1, .transaction_age_us = -1 };
    endpoint_parse(&row.local, "10.0.0.5", port);
    return row;
}

static struct recorded_handle *add_handle(uint64_t inode, enum outcome outcome)
{
    struct handle_row row = row_of(inode, 40000);
    struct recorded_handle *handle = record_handle(&record, &row);
    record_outcome(handle, outcome, 1);
    return handle;
}

START_TEST(a_fresh_record_knows_nothing)
{
    ck_assert_int_eq(record.exit_code, -1);
    ck_assert_int_eq(record.lastcall_exit_code, -1);
    ck_assert_int_eq(record.sample_age_us, -1);
    ck_assert_int_eq(record.targets[WIRE_TARGETS - 1].limit, -1);
    ck_assert_ptr_null(record_find(&record, 1, &(struct endpoint){ 0 }));
}
END_TEST

START_TEST(a_handle_is_recorded_once_with_its_first_and_last_row)
{
    struct handle_row row = row_of(5, 40312);
    ck_assert_ptr_nonnull(record_handle(&record, &row));
    row.fd = 15;
    struct recorded_handle *handle = record_handle(&record, &row);
    ck_assert_uint_eq(record.handle_count, 1);
    ck_assert_int_eq(handle->first.fd, 14);
    ck_assert_int_eq(handle->last.fd, 15);
    ck_assert_ptr_eq(record_find(&record, 5, &row.local), handle);
}
END_TEST

START_TEST(inode_and_local_endpoint_together_name_a_handle)
{
    struct handle_row a = row_of(5, 40312), b = row_of(5, 40313), c = row_of(6, 40312);
    record_handle(&record, &a);
    record_handle(&record, &b);
    ck_assert_uint_eq(record.handle_count, 2);
    ck_assert_ptr_null(record_find(&record, 6, &c.local));
}
END_TEST

START_TEST(ten_thousand_handles_are_all_found_again)
{
    for (unsigned i = 0; i < 10000; i++) {
        struct handle_row row = row_of(i * 1024, (uint16_t)i);
        ck_assert_ptr_nonnull(record_handle(&record, &row));
    }
    ck_assert_uint_eq(record.handle_count, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        struct handle_row row = row_of(i * 1024, (uint16_t)i);
        struct recorded_handle *handle = record_find(&record, row.inode, &row.local);
        ck_assert_ptr_eq(handle, &record.handles[i]);
    }
}
END_TEST

START_TEST(a_timeline_says_nothing_twice_in_a_row)
{
    struct recorded_handle *handle = add_handle(5, OUTCOME_OPEN);
    record_timeline(handle, "idle", 1);
    record_timeline(handle, "idle", 2);
    record_timeline(handle, "in flight", 3);
    record_timeline(handle, "idle", 4);
    ck_assert_uint_eq(handle->timeline_count, 3);
    ck_assert_int_eq(handle->timeline[0].at_us, 1);
    ck_assert_int_eq(handle->timeline[2].at_us, 4);
}
END_TEST

START_TEST(a_timeline_is_bounded_and_keeps_its_end)
{
    struct recorded_handle *handle = add_handle(5, OUTCOME_OPEN);
    for (int i = 0; i < 1000; i++)
        record_timeline(handle, i % 2 == 0 ? "idle" : "in flight", i);
    record_timeline(handle, "closed", 1000);
    ck_assert_uint_eq(handle->timeline_count, 256);
    ck_assert_str_eq(handle->timeline[255].what, "closed");
    ck_assert_int_eq(handle->timeline[0].at_us, 0);
}
END_TEST

START_TEST(the_first_outcome_stays)
{
    struct recorded_handle *handle = add_handle(5, OUTCOME_HANDED_BACK);
    record_outcome(handle, OUTCOME_ORPHAN_ENDED, 9);
    ck_assert_int_eq(handle->outcome, OUTCOME_HANDED_BACK);
    ck_assert_int_eq(handle->ended_at_us, 1);
}
END_TEST

START_TEST(phases_are_kept_in_order_and_bounded)
{
    record_phase(&record, "draining", 1);
    record_phase(&record, "draining", 2);
    ck_assert_uint_eq(record.phase_count, 1);
    for (int i = 0; i < 40; i++)
        record_phase(&record, i % 2 == 0 ? "holding" : "draining", 3 + i);
    record_phase(&record, "done", 99);
    ck_assert_uint_eq(record.phase_count, 16);
    ck_assert_str_eq(record.phases[15].name, "done");
    ck_assert_str_eq(record.phases[14].name, "draining");
}
END_TEST

START_TEST(what_is_not_known_is_kept_once_and_never_forgotten)
{
    record_unknown(&record, "primary", "no answer for %d ms", 500);
    record_unknown(&record, "primary", "no answer for %d ms", 500);
    record_unknown(&record, "primary", "no answer for %d ms", 501);
    ck_assert_uint_eq(record.unknown_count, 2);
    for (int i = 0; i < 50; i++)
        record_unknown(&record, "thing", "%d", i);
    ck_assert_uint_eq(record.unknown_count, 32);
    ck_assert_uint_eq(record.unknown_lost, 20);
    struct record_unknown list[TALLY_UNKNOWN];
    unsigned count = tally_unknown(&record, list, TALLY_UNKNOWN);
    ck_assert_uint_eq(count, 33);
    ck_assert_str_eq(list[32].why, "20 further things are not known");
}
END_TEST

START_TEST(long_texts_are_cut_not_overrun)
{
    char what[500];
    memset(what, 'x', sizeof what - 1);
    what[sizeof what - 1] = '\0';
    record_unknown(&record, what, "%s", what);
    ck_assert_uint_eq(strlen(record.unknown[0].what), sizeof record.unknown[0].what - 1);
    ck_assert_uint_eq(strlen(record.unknown[0].why), sizeof record.unknown[0].why - 1);
}
END_TEST

START_TEST(every_outcome_is_counted_where_it_belongs)
{
    for (int outcome = OUTCOME_OPEN; outcome <= OUTCOME_STILL_THERE; outcome++)
        add_handle(100 + (unsigned)outcome, (enum outcome)outcome);
    add_handle(200, OUTCOME_HANDED_BACK);
    add_handle(201, OUTCOME_ENDED_BY_SERVER)->last.tcp_state = 8;
    struct tally tally = tally_target(&record, 0);
    ck_assert(tally.known);
    ck_assert_uint_eq(tally.handles, 10);
    ck_assert_uint_eq(tally.closed_by_app, 1);
    ck_assert_uint_eq(tally.closed_unseen, 1);
    ck_assert_uint_eq(tally.ended_by_server, 1);
    ck_assert_uint_eq(tally.outcome_unknown, 1);
    ck_assert_uint_eq(tally.leaked, 6);
    ck_assert_uint_eq(tally.already_ended, 1);
    ck_assert_uint_eq(tally.handed_back, 4);
    ck_assert_uint_eq(tally.still_there, 1);
    ck_assert_uint_eq(tally.sessions_killed, 2);
    ck_assert_uint_eq(tally.orphans_ended, 1);
    ck_assert_uint_eq(tally.handles, tally.closed_by_app + tally.closed_unseen + tally.ended_by_server + tally.leaked
                                         + tally.outcome_unknown);
}
END_TEST

START_TEST(a_target_is_known_by_its_weakest_handle)
{
    ck_assert_int_eq(tally_target(&record, 0).known_by, -1);
    add_handle(1, OUTCOME_CLOSED_BY_APP);
    ck_assert_int_eq(tally_target(&record, 0).known_by, KNOWN_EXACT);
    struct handle_row row = row_of(2, 40001);
    row.known_by = KNOWN_BY_NAME;
    record_handle(&record, &row);
    ck_assert_int_eq(tally_target(&record, 0).known_by, KNOWN_BY_NAME);
    row.inode = 3;
    row.known_by = KNOWN_SOCKET_ONLY;
    record_handle(&record, &row);
    ck_assert_int_eq(tally_target(&record, 0).known_by, KNOWN_SOCKET_ONLY);
}
END_TEST

static void add_transaction(uint64_t inode, bool in_flight, enum transaction_end end)
{
    struct recorded_handle *handle = add_handle(inode, OUTCOME_CLOSED_BY_APP);
    handle->in_flight_at_start = in_flight;
    handle->transaction = end;
}

START_TEST(transactions_are_counted_by_their_end)
{
    add_transaction(1, true, TRANSACTION_FINISHED);
    add_transaction(2, true, TRANSACTION_ABORTED);
    add_transaction(3, false, TRANSACTION_ABORTED);
    add_transaction(4, false, TRANSACTION_NONE);
    struct tally_stop stop = tally_stop(&record);
    ck_assert(stop.in_flight_known && stop.ends_known);
    ck_assert_uint_eq(stop.in_flight, 2);
    ck_assert_uint_eq(stop.finished, 1);
    ck_assert_uint_eq(stop.aborted, 1);
    ck_assert_uint_eq(stop.aborted_later, 1);
    ck_assert_uint_eq(tally_target(&record, 0).aborted, 2);
}
END_TEST

/* Of those in flight at the signal all is known; of one begun later it is not: the sum is not either. */
START_TEST(what_began_later_and_was_not_seen_is_no_zero)
{
    add_transaction(1, true, TRANSACTION_FINISHED);
    record.handles[0].unseen_later = true;
    struct tally_stop stop = tally_stop(&record);
    struct record_unknown list[TALLY_UNKNOWN];
    ck_assert(stop.ends_known && !stop.later_known);
    ck_assert_uint_eq(stop.unknown, 0);
    ck_assert_uint_eq(tally_target(&record, 0).transactions_unknown, 1);
    ck_assert_uint_eq(tally_unknown(&record, list, TALLY_UNKNOWN), 1);
    ck_assert_str_eq(list[0].what, "transactions begun after the signal");
}
END_TEST

START_TEST(a_transaction_whose_end_nobody_set_is_unknown)
{
    add_transaction(1, true, TRANSACTION_NONE);
    struct tally_stop stop = tally_stop(&record);
    struct record_unknown list[TALLY_UNKNOWN];
    ck_assert(stop.in_flight_known && !stop.ends_known);
    ck_assert_uint_eq(stop.unknown, 1);
    ck_assert_uint_eq(tally_unknown(&record, list, TALLY_UNKNOWN), 1);
    ck_assert_str_eq(list[0].what, "transactions");
}
END_TEST

START_TEST(what_was_not_seen_is_not_known)
{
    ck_assert(tally_stop(&record).in_flight_known);
    record.targets[0].unseen = true;
    ck_assert(!tally_stop(&record).in_flight_known);
    ck_assert(!tally_target(&record, 0).known);
    record.targets[0].unseen = false;
    record.lost = 1;
    ck_assert(!tally_stop(&record).in_flight_known);
    ck_assert(!tally_target(&record, 0).known);
    record.lost = 0;
    record.is_stop = false;
    ck_assert(!tally_stop(&record).in_flight_known);
    ck_assert(!tally_target(&record, 0).known);
    record.sample_age_us = 5;
    ck_assert(tally_target(&record, 0).known);
    record.is_stop = true;
    record.target_count = 0;
    ck_assert(!tally_stop(&record).in_flight_known);
}
END_TEST

START_TEST(a_leak_has_the_kind_of_its_last_row)
{
    static const struct { uint8_t state, tcp_state; int64_t age_us; enum leak_kind kind; } table[] = {
        { SESSION_IN_TRANSACTION, 8, 99000000, LEAK_TRANSACTION_OPEN },
        { SESSION_IN_FAILED_TRANSACTION, 1, 0, LEAK_TRANSACTION_OPEN },
        { SESSION_ACTIVE, 1, 0, LEAK_TRANSACTION_OPEN },
        { SESSION_IDLE, 8, 99000000, LEAK_HALF_CLOSED },
        { SESSION_IDLE, 1, 61000000, LEAK_STALE },
        { SESSION_IDLE, 1, 59000000, LEAK_LEFT_OPEN },
        { SESSION_UNKNOWN, 1, -1, LEAK_LEFT_OPEN },
    };
    record.leak_stale_us = 60000000;
    unsigned count = sizeof table / sizeof table[0];
    for (unsigned i = 0; i < count; i++) {
        struct recorded_handle *handle = add_handle(i, OUTCOME_HANDED_BACK);
        handle->last.state = table[i].state;
        handle->last.tcp_state = table[i].tcp_state;
        handle->last.state_age_us = table[i].age_us;
    }
    add_handle(98, OUTCOME_CLOSED_BY_APP);
    add_handle(99, OUTCOME_ENDED_BY_SERVER);
    struct recorded_handle *unnoticed = add_handle(100, OUTCOME_ENDED_BY_SERVER);
    unnoticed->last.tcp_state = 8;
    unnoticed->last.state = SESSION_IN_TRANSACTION;
    report_classify(&record);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(record.handles[i].leak, table[i].kind);
    ck_assert_int_eq(record.handles[count].leak, LEAK_NONE);
    ck_assert_int_eq(record.handles[count + 1].leak, LEAK_NONE);
    ck_assert_int_eq(record.handles[count + 2].leak, LEAK_HALF_CLOSED);
}
END_TEST

START_TEST(a_stale_socket_without_a_session_is_known_by_its_traffic)
{
    record.leak_stale_us = 60000000;
    struct recorded_handle *handle = add_handle(1, OUTCOME_HANDED_BACK);
    handle->last.has_info = 1;
    handle->last.last_sent_ms = 70000;
    handle->last.last_received_ms = 61000;
    report_classify(&record);
    ck_assert_int_eq(handle->leak, LEAK_STALE);
    handle->last.last_received_ms = 5;
    report_classify(&record);
    ck_assert_int_eq(handle->leak, LEAK_LEFT_OPEN);
}
END_TEST

START_TEST(those_over_the_limit_were_recorded_last)
{
    record.targets[0].limit = 2;
    add_handle(1, OUTCOME_HANDED_BACK);
    add_handle(2, OUTCOME_CLOSED_BY_APP);
    add_handle(3, OUTCOME_HANDED_BACK);
    add_handle(4, OUTCOME_HANDED_BACK);
    report_classify(&record);
    ck_assert_int_eq(record.handles[2].leak, LEAK_LEFT_OPEN);
    ck_assert_int_eq(record.handles[3].leak, LEAK_OVER_LIMIT);
}
END_TEST

START_TEST(a_redis_command_is_no_transaction)
{
    record.targets[0].kind = TARGET_REDIS;
    struct recorded_handle *handle = add_handle(1, OUTCOME_HANDED_BACK);
    handle->last.state = SESSION_ACTIVE;
    report_classify(&record);
    ck_assert_int_eq(handle->leak, LEAK_LEFT_OPEN);
}
END_TEST

START_TEST(names_never_fail)
{
    ck_assert_str_eq(outcome_name((enum outcome)99), "unknown");
    ck_assert_str_eq(leak_kind_name((enum leak_kind)99), "none");
    ck_assert_str_eq(outcome_name(OUTCOME_HANDED_BACK), "handed back");
    ck_assert_str_eq(leak_kind_name(LEAK_TRANSACTION_OPEN), "transaction open");
}
END_TEST

/* Texts from outside */

static const char *said(const char *query)
{
    static char at[SAID_ROOM];
    char bytes[WIRE_QUERY] = "";
    struct text text = text_in(at, sizeof at);
    memcpy(bytes, query, strlen(query) < WIRE_QUERY ? strlen(query) : WIRE_QUERY);
    said_query(&text, bytes);
    return at;
}

START_TEST(a_query_is_one_line)
{
    ck_assert_str_eq(said("SELECT *\n\t FROM\r\n  t "), "SELECT * FROM t");
    ck_assert_str_eq(said("SELECT '\x1b[2J\xff'"), "SELECT '\\x1b[2J\\xff'");
    ck_assert_str_eq(said(""), "");
}
END_TEST

START_TEST(a_cut_query_says_so_and_ends_with_a_whole_character)
{
    char query[WIRE_QUERY + 10];
    memset(query, 'x', sizeof query);
    query[WIRE_QUERY - 1] = '\0';
    memcpy(query + WIRE_QUERY - 3, "\xe2\x82", 2);
    const char *text = said(query);
    ck_assert_uint_eq(strlen(text), WIRE_QUERY - 3 + strlen("…"));
    ck_assert_str_eq(text + WIRE_QUERY - 3, "…");
    memset(query, '\xbf', sizeof query);
    query[sizeof query - 1] = '\0';
    ck_assert_ptr_nonnull(strstr(said(query), "\\xbf…"));
}
END_TEST

START_TEST(a_query_gives_no_password_away)
{
    ck_assert_str_eq(said("ALTER ROLE x PASSWORD 'hunter2'"), "ALTER ROLE x PASSWORD ****");
    ck_assert_str_eq(said("SELECT dblink('postgres://u:hunter2@h/d')"), "SELECT dblink('postgres://u:****@h/d')");
    char query[WIRE_QUERY];
    snprintf(query, sizeof query, "SELECT dblink('%*spostgres://u:hunter2", 90, "");
    memset(query + 15, '.', 90);
    memset(query + strlen(query), '9', sizeof query - strlen(query));
    query[sizeof query - 1] = '\0';
    ck_assert_ptr_nonnull(strstr(query, "hunter2"));
    ck_assert_ptr_null(strstr(said(query), "hunter2"));
}
END_TEST

static const char *argument(const char *value, const char *previous)
{
    static char at[SAID_ROOM];
    struct text text = text_in(at, sizeof at);
    said_argument(&text, value, previous);
    return at;
}

START_TEST(an_argument_gives_no_password_away)
{
    ck_assert_str_eq(argument("--port=80", NULL), "--port=80");
    ck_assert_str_eq(argument("--db-password=hunter2", NULL), "--db-password=****");
    ck_assert_str_eq(argument("hunter2", "--password"), "****");
    ck_assert_str_eq(argument("hunter2", "--passwords-file=x"), "hunter2");
    ck_assert_str_eq(argument("host=h password=hunter2 dbname=d", NULL), "host=h password=****");
    ck_assert_str_eq(argument("redis://:hunter2@h", NULL), "redis://:****@h");
    ck_assert_str_eq(argument("http://a/ pg://u:p@s@h/d x://u:q@h", NULL), "http://a/ pg://u:****@h/d x://u:****@h");
    ck_assert_str_eq(argument("http://host:80/path", NULL), "http://host:80/path");
    ck_assert_str_eq(argument("tokenize", NULL), "tokenize");
}
END_TEST

START_TEST(an_endless_argument_is_cut)
{
    static char value[20000];
    memset(value, '\x1b', sizeof value - 1);
    const char *text = argument(value, NULL);
    ck_assert_uint_eq(strlen(text), 4 * 512 + strlen("…"));
    memset(value, 'y', sizeof value - 1);
    memcpy(value, "pg://u:", 7);
    value[sizeof value - 10] = '@';
    ck_assert_str_eq(argument(value, NULL), "pg://u:****…");
}
END_TEST

static Suite *record_suite(void)
{
    Suite *suite = suite_create("record");
    TCase *facts = tcase_create("facts");
    tcase_add_checked_fixture(facts, setup, teardown);
    tcase_add_test(facts, a_fresh_record_knows_nothing);
    tcase_add_test(facts, a_handle_is_recorded_once_with_its_first_and_last_row);
    tcase_add_test(facts, inode_and_local_endpoint_together_name_a_handle);
    tcase_add_test(facts, ten_thousand_handles_are_all_found_again);
    tcase_add_test(facts, a_timeline_says_nothing_twice_in_a_row);
    tcase_add_test(facts, a_timeline_is_bounded_and_keeps_its_end);
    tcase_add_test(facts, the_first_outcome_stays);
    tcase_add_test(facts, phases_are_kept_in_order_and_bounded);
    tcase_add_test(facts, what_is_not_known_is_kept_once_and_never_forgotten);
    tcase_add_test(facts, long_texts_are_cut_not_overrun);
    suite_add_tcase(suite, facts);
    TCase *counts = tcase_create("counts");
    tcase_add_checked_fixture(counts, setup, teardown);
    tcase_add_test(counts, every_outcome_is_counted_where_it_belongs);
    tcase_add_test(counts, a_target_is_known_by_its_weakest_handle);
    tcase_add_test(counts, transactions_are_counted_by_their_end);
    tcase_add_test(counts, what_began_later_and_was_not_seen_is_no_zero);
    tcase_add_test(counts, a_transaction_whose_end_nobody_set_is_unknown);
    tcase_add_test(counts, what_was_not_seen_is_not_known);
    tcase_add_test(counts, a_leak_has_the_kind_of_its_last_row);
    tcase_add_test(counts, a_stale_socket_without_a_session_is_known_by_its_traffic);
    tcase_add_test(counts, those_over_the_limit_were_recorded_last);
    tcase_add_test(counts, a_redis_command_is_no_transaction);
    tcase_add_test(counts, names_never_fail);
    suite_add_tcase(suite, counts);
    TCase *texts = tcase_create("texts");
    tcase_add_test(texts, a_query_is_one_line);
    tcase_add_test(texts, a_cut_query_says_so_and_ends_with_a_whole_character);
    tcase_add_test(texts, a_query_gives_no_password_away);
    tcase_add_test(texts, an_argument_gives_no_password_away);
    tcase_add_test(texts, an_endless_argument_is_cut);
    suite_add_tcase(suite, texts);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(record_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
