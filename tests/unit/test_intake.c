/* The intake, rule by rule: rounds of facts in, orders and "dry" out. */
#include <check.h>
#include <netinet/tcp.h>
#include <string.h>

#include "supervisor/intake/http.h"
#include "supervisor/intake/intake.h"

#define MS INT64_C(1000)
#define S INT64_C(1000000)
#define T0 (100 * S)

static struct intake intake;
static union {
    struct message_inbound inbound;
    unsigned char room[sizeof(struct message_inbound) + 8 * sizeof(struct inbound_row)];
} packet;
static struct inbound_row *rows = packet.inbound.rows;
static int64_t now_us;

static void begin_with(enum intake_listener listener)
{
    struct intake_settings settings = {.listener = listener, .idle_us = 12 * MS, .port_count = 2,
                                       .ports = {{9000, INTAKE_OFF}, {8443, 50 * MS}}};
    now_us = T0;
    intake_init(&intake, &settings, now_us);
    packet.inbound = (struct message_inbound){.sockets_seen = 1, .owners_seen = 1};
}

static void set_up(void)
{
    begin_with(LISTENER_LEAVE); /* without orders about listening */
}

static void tear_down(void)
{
    intake_finish(&intake);
}

static struct inbound_row *add_row(struct inbound_row row)
{
    struct inbound_row *at = &rows[packet.inbound.header.count++];
    *at = row;
    at->inode = 100 + packet.inbound.header.count;
    if (at->port == 0)
        at->port = 80;
    return at;
}

static struct inbound_row *add_listening(void)
{
    return add_row((struct inbound_row){.tcp_state = TCP_LISTEN});
}

/* One that has asked and was answered: `in_ms` and `out_ms` ago. */
static struct inbound_row *add_connection(uint32_t in_ms, uint32_t out_ms)
{
    return add_row((struct inbound_row){.tcp_state = TCP_ESTABLISHED, .has_info = 1, .bytes_received = 100,
                                        .bytes_sent = 200, .last_received_ms = in_ms, .last_sent_ms = out_ms,
                                        .last_ack_ms = in_ms});
}

static bool play(int64_t later_us)
{
    now_us += later_us;
    return intake_round(&intake, &packet.inbound, now_us);
}

/* The one order of a row, or INTAKE_DOINGS: none. */
static enum intake_doing ordered(const struct inbound_row *row)
{
    for (size_t i = 0; i < intake.order_count; i++)
        if (intake.orders[i].row == (size_t)(row - rows))
            return intake.orders[i].doing;
    return INTAKE_DOINGS;
}

static void obey(void)
{
    for (size_t i = 0; i < intake.order_count; i++)
        intake_note(&intake, &rows[intake.orders[i].row], intake.orders[i].doing, INTAKE_DONE);
}

static void ask(struct inbound_row *row, bool unread)
{
    row->bytes_received += 100;
    row->unread_bytes = unread ? 100 : 0;
    row->last_received_ms = row->last_ack_ms = 0;
}

static void reply(struct inbound_row *row)
{
    row->bytes_sent += 200;
    row->last_sent_ms = 0;
}

START_TEST(nothing_listens_is_dry_at_once)
{
    ck_assert(play(0));
}
END_TEST

START_TEST(what_cannot_be_seen_is_never_dry)
{
    packet.inbound.sockets_seen = 0;
    ck_assert(!play(0) && !play(MS) && !play(MS));
    packet.inbound.sockets_seen = 1;
    packet.inbound.left_out = 1;
    ck_assert(!play(MS) && !play(MS));
}
END_TEST

START_TEST(listening_is_dropped_once)
{
    begin_with(LISTENER_DROP);
    struct inbound_row *row = add_listening();
    ck_assert(!play(0));
    ck_assert_int_eq(ordered(row), INTAKE_DROP);
    ck_assert(!play(MS)); /* it was not done: ordered again */
    ck_assert_int_eq(ordered(row), INTAKE_DROP);
    obey();
    ck_assert(play(MS));
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    intake_restart(&intake);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_DROP);
}
END_TEST

START_TEST(listening_as_configured)
{
    begin_with(LISTENER_REFUSE);
    struct inbound_row *row = add_listening(), *off = add_listening();
    off->port = 9000;
    play(0);
    ck_assert_int_eq(ordered(row), INTAKE_REFUSE);
    ck_assert_int_eq(ordered(off), INTAKE_DOINGS);
    tear_down();
    begin_with(LISTENER_LEAVE);
    row = add_listening();
    ck_assert(!play(0));
    ck_assert(play(MS));
    ck_assert_uint_eq(intake.order_count, 0);
}
END_TEST

START_TEST(who_waits_to_be_accepted_is_waited_for)
{
    add_listening()->unread_bytes = 1;
    ck_assert(!play(0) && !play(MS));
    rows[0].unread_bytes = 0;
    ck_assert(play(MS));
}
END_TEST

START_TEST(idle_is_closed_and_then_not_waited_for)
{
    struct inbound_row *row = add_connection(40, 20);
    ck_assert(!play(0));
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
    obey();
    ck_assert(play(MS));
    ck_assert_uint_eq(intake.counted.busy + intake.counted.idle, 0);
}
END_TEST

/* The age is what counts, the port's own where it has one. */
START_TEST(idle_is_quiet_for_long_enough)
{
    struct inbound_row *young = add_connection(40, 8), *old = add_connection(40, 12), *slow = add_connection(60, 40);
    slow->port = 8443;
    play(0);
    ck_assert_int_eq(ordered(young), INTAKE_DOINGS);
    ck_assert_int_eq(ordered(old), INTAKE_CLOSE);
    ck_assert_int_eq(ordered(slow), INTAKE_DOINGS);
    slow->last_sent_ms = 50;
    slow->last_received_ms = 70;
    play(MS);
    ck_assert_int_eq(ordered(slow), INTAKE_CLOSE);
}
END_TEST

START_TEST(what_came_last_is_a_request)
{
    struct inbound_row *row = add_connection(20, 40), *unread = add_connection(40, 20);
    unread->unread_bytes = 10;
    ck_assert(!play(0));
    ck_assert_uint_eq(intake.order_count, 0);
    ck_assert_uint_eq(intake.counted.busy, 2);
    ck_assert_uint_eq(intake.in_progress, 2);
    reply(row);
    row->last_sent_ms = 16;
    play(20 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
    ck_assert_uint_eq(intake.finished, 1);
}
END_TEST

START_TEST(the_send_queue_does_not_count)
{
    struct inbound_row *row = add_connection(40, 20);
    row->unacked_segments = 1;
    play(0);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
}
END_TEST

/* In one tick of the kernel's clock: which was first? */
START_TEST(equal_ages_are_no_answer)
{
    struct inbound_row *row = add_connection(20, 20);
    ck_assert(!play(0));
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    ck_assert_uint_eq(intake.counted.busy, 1);
    row->last_ack_ms = 16; /* the client has acknowledged something since: our answer */
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
}
END_TEST

START_TEST(equal_ages_with_an_answer_on_its_way)
{
    struct inbound_row *row = add_connection(20, 20);
    row->unacked_segments = 1;
    play(0);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
}
END_TEST

/* What moved from one round to the next tells more than ages do. */
START_TEST(movement_tells_the_direction)
{
    struct inbound_row *row = add_connection(20, 20);
    play(0);
    ask(row, false);
    row->last_sent_ms = 0;
    play(MS);
    ck_assert_uint_eq(intake.counted.busy, 1);
    reply(row);
    play(MS);
    ck_assert_uint_eq(intake.counted.idle, 1);
    row->last_sent_ms = row->last_received_ms = row->last_ack_ms = 16;
    play(16 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
}
END_TEST

START_TEST(nobody_knows_for_a_second_then_it_is_left)
{
    add_connection(980, 980);
    ck_assert(!play(0) && !play(MS));
    rows[0].last_received_ms = rows[0].last_sent_ms = rows[0].last_ack_ms = 1000;
    ck_assert(play(20 * MS));
    ck_assert_uint_eq(intake.counted.left, 1);
    ck_assert_uint_eq(intake.order_count, 0);
    ck_assert_uint_eq(intake_unsure(&intake), 1);
}
END_TEST

START_TEST(never_spoken_on_is_idle)
{
    struct inbound_row *row = add_connection(20, 20);
    row->bytes_received = row->bytes_sent = 0;
    play(0);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
    ck_assert_uint_eq(intake.in_progress, 0);
}
END_TEST

START_TEST(the_client_has_closed)
{
    struct inbound_row *row = add_connection(40, 20);
    row->tcp_state = TCP_CLOSE_WAIT;
    play(0);
    ck_assert(play(MS));
    ck_assert_uint_eq(intake.order_count, 0);
}
END_TEST

/* A client without think time, as far as the order to keep its next request. */
static struct inbound_row *restless(void)
{
    struct inbound_row *row = add_connection(40, 36);
    for (int i = 0; i < 30; i++) {
        if (i % 2)
            reply(row);
        else
            ask(row, false);
        play(5 * MS);
        if (ordered(row) == INTAKE_KEEP)
            return row;
        ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    }
    ck_abort_msg("its next request was never kept");
    return NULL;
}

START_TEST(the_next_request_is_kept_and_answered)
{
    struct inbound_row *row = restless();
    ck_assert(now_us - T0 >= 100 * MS);
    obey();
    bool open = intake.connections[0].last == MOVED_IN;
    if (open)
        reply(row);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    ask(row, true);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS); /* an answer in two parts may have a second one */
    play(5 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_ANSWER);
    obey();
    ck_assert(play(MS));
    ck_assert_uint_eq(intake.refused, 1);
}
END_TEST

/* The hands came after an answer and the next request, as they did before the round that follows. */
START_TEST(what_is_found_when_it_is_kept_counts)
{
    struct inbound_row *row = restless();
    obey();
    reply(row);
    ask(row, false);
    intake_see(&intake, row, now_us);
    reply(row);
    ask(row, true);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    play(5 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_ANSWER);
}
END_TEST

/* The rest of a request, or a second one behind it: the app has not answered the first. */
START_TEST(more_of_a_request_is_put_back)
{
    struct inbound_row *row = restless();
    obey();
    ask(row, false);
    play(MS);
    ask(row, true);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_PUT_BACK);
    obey();
    row->unread_bytes = 0;
    play(MS);
    reply(row);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_KEEP); /* and the next one is kept again */
}
END_TEST

START_TEST(what_is_not_http_is_put_back_for_good)
{
    struct inbound_row *row = restless();
    obey();
    reply(row);
    play(MS);
    ask(row, true);
    play(MS);
    play(5 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_ANSWER);
    intake_note(&intake, row, INTAKE_ANSWER, INTAKE_NOT);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_PUT_BACK);
    obey();
    row->unread_bytes = 0;
    play(MS);
    reply(row);
    play(MS);
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    ck_assert_uint_eq(intake.refused, 0);
}
END_TEST

START_TEST(a_blocking_socket_is_never_kept)
{
    struct inbound_row *row = restless();
    intake_note(&intake, row, INTAKE_KEEP, INTAKE_NOT);
    play(5 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    ck_assert_uint_eq(intake.counted.busy + intake.counted.idle, 1);
}
END_TEST

START_TEST(what_moved_meanwhile_is_judged_anew)
{
    struct inbound_row *row = add_connection(40, 20);
    play(0);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
    intake_note(&intake, row, INTAKE_CLOSE, INTAKE_FAILED);
    ask(row, false);
    ck_assert(!play(MS));
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS);
    ck_assert_uint_eq(intake.counted.busy, 1);
}
END_TEST

START_TEST(a_late_one_is_welcomed_and_waited_for)
{
    begin_with(LISTENER_DROP);
    add_listening();
    play(0);
    obey();
    struct inbound_row *row = add_connection(20, 20);
    row->bytes_received = row->bytes_sent = 0;
    ck_assert(!play(MS));
    ck_assert_int_eq(ordered(row), INTAKE_WELCOME);
    obey();
    ck_assert(!play(100 * MS));
    ck_assert_int_eq(ordered(row), INTAKE_DOINGS); /* its request comes again, in a moment */
    row->last_received_ms = row->last_sent_ms = 600;
    play(500 * MS);
    ck_assert_int_eq(ordered(row), INTAKE_CLOSE);
}
END_TEST

START_TEST(gone_with_its_answer)
{
    add_connection(20, 40);
    play(0);
    packet.inbound.header.count = 0;
    ck_assert(play(MS));
    ck_assert_uint_eq(intake.in_progress, 1);
    ck_assert_uint_eq(intake.finished, 1);
}
END_TEST

START_TEST(the_start_is_told_by_what_moves_first)
{
    struct inbound_row *busy = add_connection(20, 20), *idle = add_connection(20, 20), *both = add_connection(20, 20);
    play(0);
    ck_assert_uint_eq(intake_unsure(&intake), 3);
    reply(busy);
    ask(idle, true);
    reply(both);
    ask(both, true);
    play(MS);
    ck_assert_uint_eq(intake_unsure(&intake), 0);
    ck_assert_uint_eq(intake.in_progress, 2);
}
END_TEST

START_TEST(what_http_looks_like)
{
    static const struct {
        const char *bytes;
        bool is;
    } tries[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true}, {"POST /x?y=1 HTTP/1.0\r\n", true}, {"GET / HTTP/1.1\r\n", true},
        {"GET / HTTP/1.1", false}, {"GET / HTTP/1.1\n", false}, {"GET  HTTP/1.1\r\n", false},
        {"GET HTTP/1.1\r\n", false},
        {"GET / HTTP/2.0\r\n", false}, {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false}, {"get / HTTP/1.1\r\n", false},
        {"GET / x HTTP/1.1\r\n", false}, {"", false}, {"\r\n", false}, {"\x16\x03\x01", false},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n", false}, {"name=value\r\n", false},
        {"GET /", false},
        {"GET /\x01 HTTP/1.1\r\n", false}, {" HTTP/1.1\r\n", false},
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        ck_assert_msg(http_is_request(tries[i].bytes, strlen(tries[i].bytes)) == tries[i].is, "%s", tries[i].bytes);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_listens_is_dry_at_once, what_cannot_be_seen_is_never_dry, listening_is_dropped_once,
        listening_as_configured, who_waits_to_be_accepted_is_waited_for, idle_is_closed_and_then_not_waited_for,
        idle_is_quiet_for_long_enough, what_came_last_is_a_request, the_send_queue_does_not_count,
        equal_ages_are_no_answer, equal_ages_with_an_answer_on_its_way, movement_tells_the_direction,
        nobody_knows_for_a_second_then_it_is_left, never_spoken_on_is_idle, the_client_has_closed,
        the_next_request_is_kept_and_answered, what_is_found_when_it_is_kept_counts, more_of_a_request_is_put_back,
        what_is_not_http_is_put_back_for_good,
        a_blocking_socket_is_never_kept, what_moved_meanwhile_is_judged_anew, a_late_one_is_welcomed_and_waited_for,
        gone_with_its_answer, the_start_is_told_by_what_moves_first, what_http_looks_like,
    };
    Suite *suite = suite_create("intake");
    TCase *tcase = tcase_create("rules");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
