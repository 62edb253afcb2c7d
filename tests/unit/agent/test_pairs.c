/* Pairs: sockets and sessions that move together are told apart from those that do not, and never because they are the
 * likeliest. A small world plays the looks: each lane has a socket and a session, and makes requests at random. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger/pairs.h"
#include "wire/message.h"

enum { LANES = 12, LOOKS_MOST = 400 };

static struct socket_fact facts[PAIRS_MOST + 1];
static const struct socket_fact *socket_list[PAIRS_MOST + 1];
static struct pair_session sessions[PAIRS_MOST + 1];
static size_t socket_count, session_count;
static int64_t clock_us;
static bool all_there;
static struct pairs *pairs;

static void setup(void)
{
    pairs = pairs_create();
    socket_count = session_count = 0;
    clock_us = 1000000;
    all_there = true;
    srand(7);
}

static void teardown(void)
{
    pairs_destroy(pairs);
}

static void add_socket(uint64_t inode)
{
    facts[socket_count] = socket_fact_none();
    facts[socket_count].inode = inode;
    facts[socket_count].has_info = 1;
    facts[socket_count].last_sent_ms = 10;
    facts[socket_count].last_received_ms = 8;
    socket_list[socket_count] = &facts[socket_count];
    socket_count++;
}

static void add_session(uint64_t id)
{
    sessions[session_count++] = (struct pair_session){.id = id, .start = 5, .change = clock_us, .state = SESSION_IDLE};
}

/* Lane i: socket 100 + i, session 900 + i; in another order than the sockets. */
static void add_lanes(size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_socket(100 + i);
    for (size_t i = count; i-- > 0;)
        add_session(900 + i);
}

static void request(size_t socket, struct pair_session *session)
{
    facts[socket].bytes_sent += 10;
    facts[socket].bytes_received += 20;
    if (session)
        session->change = ++clock_us;
}

static struct pair_session *session_of(uint64_t id)
{
    for (size_t i = 0; i < session_count; i++)
        if (sessions[i].id == id)
            return &sessions[i];
    return NULL;
}

static void look(void)
{
    pairs_note(pairs, socket_list, socket_count, sessions, session_count, all_there);
}

/* One look, before which each of the lanes has made a request with the given chance, in per cent. */
static void look_after_requests(size_t lanes, int chance)
{
    for (size_t i = 0; i < lanes; i++)
        if (rand() % 100 < chance)
            request(i, session_of(900 + i));
    look();
}

static size_t told(size_t lanes)
{
    size_t count = 0;
    for (size_t i = 0; i < lanes; i++) {
        uint64_t id = pairs_session_of(pairs, 100 + i);
        ck_assert(id == 0 || id == 900 + i);
        count += id != 0;
    }
    return count;
}

START_TEST(all_are_told_apart)
{
    size_t looks = 0;
    add_lanes(LANES);
    while (told(LANES) < LANES && looks++ < LOOKS_MOST)
        look_after_requests(LANES, 40);
    ck_assert_uint_eq(told(LANES), LANES);
    ck_assert_uint_lt(looks, 120);
    ck_assert_uint_eq(pairs_session_of(pairs, 55), 0);
}
END_TEST

/* Who never moves is one of several, however long it takes; the only ones left over are no pair by that. */
START_TEST(who_does_not_move_is_not_told)
{
    add_lanes(LANES);
    for (size_t i = 0; i < LOOKS_MOST; i++)
        look_after_requests(LANES - 1, 40);
    ck_assert_uint_eq(told(LANES), LANES - 1);
    ck_assert_uint_eq(pairs_session_of(pairs, 100 + LANES - 1), 0);
}
END_TEST

/* Its ages are equal, as those of a request that waits for its answer: it stands all the same. */
START_TEST(who_stands_still_is_in_nobodys_way)
{
    add_lanes(4);
    all_there = false;
    facts[3].last_sent_ms = facts[3].last_received_ms = 500;
    for (size_t i = 0; i < LOOKS_MOST; i++)
        look_after_requests(3, 40);
    ck_assert_uint_eq(told(4), 3);
    ck_assert_uint_eq(pairs_session_of(pairs, 103), 0);
}
END_TEST

START_TEST(who_moves_always_together_is_not_told)
{
    add_lanes(2);
    for (size_t i = 0; i < LOOKS_MOST; i++) {
        if (i % 3 == 0)
            for (size_t lane = 0; lane < 2; lane++)
                request(lane, session_of(900 + lane));
        look();
    }
    ck_assert_uint_eq(told(2), 0);
}
END_TEST

/* Another instance of the same name, at work, and a socket whose session is not shown. */
START_TEST(strangers_are_nobodys)
{
    all_there = false;
    add_lanes(4);
    add_socket(300);
    add_session(700);
    for (size_t i = 0; i < LOOKS_MOST; i++) {
        if (rand() % 100 < 40)
            request(4, NULL);
        if (rand() % 100 < 40)
            session_of(700)->change = ++clock_us;
        look_after_requests(4, 40);
        ck_assert_uint_eq(pairs_session_of(pairs, 300), 0);
    }
    ck_assert_uint_eq(told(4), 4);
}
END_TEST

/* A request is under way over several looks: the session moves long after the bytes have left. */
START_TEST(slow_servers_mislead_nobody)
{
    size_t due[LANES] = {0};
    add_lanes(LANES);
    for (size_t i = 1; i < LOOKS_MOST; i++) {
        for (size_t lane = 0; lane < LANES; lane++) {
            facts[lane].last_sent_ms = due[lane] ? 1 : 10;
            if (due[lane] == i) {
                session_of(900 + lane)->change = ++clock_us;
                facts[lane].bytes_received += 20;
                facts[lane].last_sent_ms = 10;
                due[lane] = 0;
            } else if (!due[lane] && rand() % 100 < 40) {
                facts[lane].bytes_sent += 10;
                facts[lane].last_sent_ms = 1;
                due[lane] = i + 1 + (size_t)rand() % 6;
            }
        }
        look();
        told(LANES);
    }
    ck_assert_uint_eq(told(LANES), LANES);
}
END_TEST

/* Ages within one jiffy tell nothing; what the app has written since does. */
START_TEST(equal_ages)
{
    add_lanes(4);
    for (size_t i = 0; i < 4; i++)
        facts[i].last_sent_ms = facts[i].last_received_ms = 4;
    for (size_t i = 0; i < LOOKS_MOST; i++)
        look_after_requests(4, 40);
    ck_assert_uint_eq(told(4), 0);
    for (size_t i = 0; i < 4; i++)
        facts[i].unsent_bytes = facts[i].unacked_bytes = 7;
    for (size_t i = 0; i < LOOKS_MOST; i++)
        look_after_requests(4, 40);
    ck_assert_uint_eq(told(4), 4);
}
END_TEST

START_TEST(without_times_by_state_alone)
{
    add_lanes(4);
    for (size_t i = 0; i < 4; i++)
        sessions[i].change = 0;
    for (size_t i = 0; i < LOOKS_MOST; i++) {
        for (size_t lane = 0; lane < 4; lane++)
            if (rand() % 100 < 40) {
                struct pair_session *session = session_of(900 + lane);
                request(lane, NULL);
                session->state = session->state == SESSION_IDLE ? SESSION_IN_TRANSACTION : SESSION_IDLE;
            }
        look();
    }
    ck_assert_uint_eq(told(4), 4);
}
END_TEST

/* Closed and opened again; a backend's number given out again; looks without an answer. */
START_TEST(who_is_gone_is_forgotten)
{
    add_lanes(4);
    for (size_t i = 0; i < 100; i++)
        look_after_requests(4, 40);
    ck_assert_uint_eq(told(4), 4);
    session_of(902)->start = 6;
    look();
    ck_assert_uint_eq(pairs_session_of(pairs, 102), 0);
    for (size_t i = 0; i < 100; i++)
        look_after_requests(4, 40);
    ck_assert_uint_eq(told(4), 4);
    facts[1].inode = 999;
    look();
    ck_assert_uint_eq(pairs_session_of(pairs, 101), 0);
    ck_assert_uint_eq(pairs_session_of(pairs, 999), 0);
    pairs_break(pairs);
    ck_assert_uint_eq(pairs_session_of(pairs, 103), 903); /* what was told stays told */
}
END_TEST

/* After a break nothing is compared with what was before it. */
START_TEST(a_break_costs_no_pair)
{
    add_lanes(4);
    for (size_t i = 0; i < LOOKS_MOST; i++) {
        if (i % 5 == 4) {
            pairs_break(pairs);
            for (size_t lane = 0; lane < 4; lane++)
                session_of(900 + lane)->change = ++clock_us;
        } else
            look_after_requests(4, 40);
        told(4);
    }
    ck_assert_uint_eq(told(4), 4);
}
END_TEST

START_TEST(too_many_are_none)
{
    add_lanes(PAIRS_MOST + 1);
    for (size_t i = 0; i < 20; i++)
        look_after_requests(PAIRS_MOST + 1, 40);
    ck_assert_uint_eq(told(PAIRS_MOST), 0);
    socket_count = session_count = 0;
    add_lanes(PAIRS_MOST);
    for (size_t i = 0; i < LOOKS_MOST; i++)
        look_after_requests(PAIRS_MOST, 40);
    ck_assert_uint_eq(told(PAIRS_MOST), PAIRS_MOST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pairs");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, all_are_told_apart);
    tcase_add_test(all, who_does_not_move_is_not_told);
    tcase_add_test(all, who_stands_still_is_in_nobodys_way);
    tcase_add_test(all, who_moves_always_together_is_not_told);
    tcase_add_test(all, strangers_are_nobodys);
    tcase_add_test(all, slow_servers_mislead_nobody);
    tcase_add_test(all, equal_ages);
    tcase_add_test(all, without_times_by_state_alone);
    tcase_add_test(all, who_is_gone_is_forgotten);
    tcase_add_test(all, a_break_costs_no_pair);
    tcase_add_test(all, too_many_are_none);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
