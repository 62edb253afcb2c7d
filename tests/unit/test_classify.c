/* classify: where one handle stands, rule by rule of src/supervisor/hold/README.md. */
#include "scene.h"

static struct scene scene;

/* One round of a single handle in HOLD_WATCH, and where it stands. */
static enum standing stands_after(int64_t after_us)
{
    scene_round(&scene, after_us);
    return scene_standing(&scene, 0);
}

static void one(unsigned target)
{
    scene_init(&scene, HOLD_WATCH, 1, target);
}

static void equal_ages(void)
{
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = 4000; /* however old */
}

/* Learns nothing from the system calls. */
static void hints_unknown(void)
{
    scene.hints[0] = (struct hold_hint){.waited = WAITED_UNKNOWN};
}

/* -- the states ---------------------------------------------------------------------------------------------------- */

static const struct {
    enum session_state state;
    unsigned target;
    enum standing standing;
} states[] = {
    {SESSION_UNKNOWN, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_ABSENT, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_STARTING, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_IDLE, POSTGRES, STANDING_IDLE},
    {SESSION_ACTIVE, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_IN_TRANSACTION, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_IN_FAILED_TRANSACTION, POSTGRES, STANDING_IN_FLIGHT},
    {SESSION_REPLICATION, POSTGRES, STANDING_EXEMPT},
    {SESSION_IDLE, PGBOUNCER, STANDING_IDLE},
    {SESSION_ACTIVE, PGBOUNCER, STANDING_IN_FLIGHT},
    {SESSION_WAITING, PGBOUNCER, STANDING_IN_FLIGHT}, /* though it has no link */
    {SESSION_IDLE, REDIS, STANDING_IDLE},
    {SESSION_IN_TRANSACTION, REDIS, STANDING_IN_FLIGHT}, /* MULTI */
    {SESSION_BLOCKED, REDIS, STANDING_EXEMPT},
    {SESSION_SUBSCRIBED, REDIS, STANDING_EXEMPT},
    {SESSION_MONITORING, REDIS, STANDING_EXEMPT},
};

START_TEST(each_state)
{
    one(states[_i].target);
    scene.rows[0].state = (uint8_t)states[_i].state;
    ck_assert_msg(stands_after(0) == states[_i].standing, "%s", session_state_name(states[_i].state));
}
END_TEST

START_TEST(a_state_that_is_new_to_us_is_not_known)
{
    one(POSTGRES);
    scene.rows[0].state = 200;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    ck_assert_uint_eq(scene.hold.counted.unknown, 1);
}
END_TEST

/* -- answered? ----------------------------------------------------------------------------------------------------- */

START_TEST(ages_that_differ_tell)
{
    one(POSTGRES);
    hints_unknown();
    scene.rows[0].last_sent_ms = 8, scene.rows[0].last_received_ms = 4;
    ck_assert_int_eq(stands_after(0), STANDING_IDLE);
    scene.rows[0].bytes_sent += 50; /* a request, and no reply */
    scene.rows[0].last_sent_ms = 0, scene.rows[0].last_received_ms = 4;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(10 * S), STANDING_IN_FLIGHT); /* a stopped backend */
}
END_TEST

START_TEST(equal_ages_tell_nothing_however_old)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    ck_assert_uint_eq(scene.hold.counted.unknown, 1);
    ck_assert(hold_wants_hints(&scene.hold));
}
END_TEST

START_TEST(three_answers_over_150_ms_tell)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    stands_after(0);
    ck_assert_int_eq(stands_after(10 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(10 * MS), STANDING_IN_FLIGHT); /* three, not 150 ms */
    ck_assert_int_eq(stands_after(129 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(2 * MS), STANDING_IDLE);
}
END_TEST

START_TEST(two_answers_are_too_few)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    stands_after(0);
    ck_assert_int_eq(stands_after(200 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
}
END_TEST

START_TEST(a_slow_answer_proves_nothing)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    for (int i = 0; i < 3; i++)
        stands_after(40 * MS);
    scene.targets[POSTGRES].answer_us = 21 * MS;
    ck_assert_int_eq(stands_after(40 * MS), STANDING_IN_FLIGHT);
    scene.targets[POSTGRES].answer_us = 500;
    ck_assert_int_eq(stands_after(40 * MS), STANDING_IN_FLIGHT); /* it begins anew */
    for (int i = 0; i < 3; i++)
        stands_after(40 * MS);
    ck_assert_int_eq(stands_after(40 * MS), STANDING_IDLE);
}
END_TEST

START_TEST(a_long_way_is_not_a_slow_answer)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    scene.rows[0].rtt_us = 30000;
    scene.targets[POSTGRES].answer_us = 45 * MS;
    for (int i = 0; i < 4; i++)
        stands_after(60 * MS);
    ck_assert_int_eq(stands_after(60 * MS), STANDING_IDLE);
}
END_TEST

START_TEST(no_answer_proves_nothing)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    scene.targets[POSTGRES].answered = 0;
    scene.targets[POSTGRES].answer_us = -1;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(stands_after(40 * MS), STANDING_IN_FLIGHT);
}
END_TEST

/* Each of these between two looks begins the 150 ms anew. */
START_TEST(what_moves_begins_anew)
{
    one(POSTGRES);
    hints_unknown();
    equal_ages();
    for (int i = 0; i < 4; i++)
        stands_after(49 * MS);
    switch (_i) {
    case 0: scene.rows[0].state_change++; break;
    case 1: scene.rows[0].bytes_sent++; break;
    case 2: scene.rows[0].data_segments_in++, scene.rows[0].bytes_sent += 10, scene.rows[0].bytes_received += 10; break;
    default: break;
    }
    ck_assert_int_eq(stands_after(10 * MS), _i == 3 ? STANDING_IDLE : STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(160 * MS), _i == 3 ? STANDING_IDLE : STANDING_IN_FLIGHT); /* three answers again */
}
END_TEST

START_TEST(who_waits_alone_has_a_request_out)
{
    one(POSTGRES);
    equal_ages();
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 7};
    for (int i = 0; i < 19; i++)
        ck_assert_int_eq(stands_after(100 * MS), STANDING_IN_FLIGHT);
    stands_after(100 * MS);
    ck_assert_int_eq(stands_after(100 * MS), STANDING_IDLE); /* for so long: it waits for a notification */
}
END_TEST

START_TEST(nobody_waits)
{
    one(POSTGRES);
    equal_ages();
    scene.hints[0] = (struct hold_hint){.waited = WAITED_NOT, .running = 1};
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT); /* about to wait, perhaps */
    scene.hints[0].running = 0;
    scene.rows[0].epoll = 1;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT); /* an event loop does */
    scene.rows[0].epoll = 255;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene.rows[0].epoll = 0;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
}
END_TEST

/* All was answered, nothing has left since: equal ages do not matter any more. */
START_TEST(nothing_has_left_since_all_was_answered)
{
    one(POSTGRES);
    hints_unknown();
    ck_assert_int_eq(stands_after(0), STANDING_IDLE);
    equal_ages();
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
    scene.rows[0].bytes_sent += 40; /* a request in the same jiffy as the reply before it */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene.rows[0].bytes_received += 40;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE); /* nothing has left between these two looks, something came */
}
END_TEST

/* A request and its reply between two looks. */
static void one_exchange(int segments)
{
    scene.rows[0].bytes_sent += 40;
    scene.rows[0].data_segments_out += (uint32_t)segments;
    scene.rows[0].bytes_received += 40;
    scene.rows[0].state_change += 5;
    equal_ages();
}

START_TEST(one_segment_and_busy_since)
{
    one(POSTGRES);
    hints_unknown();
    stands_after(0);
    one_exchange(1);
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
    one_exchange(2); /* the second may be a request that nobody has read */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
}
END_TEST

START_TEST(one_segment_without_a_reply_or_without_work)
{
    one(POSTGRES);
    hints_unknown();
    stands_after(0);
    one_exchange(1);
    scene.rows[0].bytes_received -= 40; /* read, its reply is on the way */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene_finish(&scene);
    one(POSTGRES);
    hints_unknown();
    stands_after(0);
    one_exchange(1);
    scene.rows[0].state_change -= 5; /* a notification came in, and the request was not read yet */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
}
END_TEST

START_TEST(bytes_on_the_way_are_in_flight)
{
    one(POSTGRES);
    scene.rows[0].unacked_bytes = 30; /* sent: a retransmission may be needed */
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(S), STANDING_IN_FLIGHT);
}
END_TEST

/* One thread each: after two answers what was acknowledged is read. Not so behind a session-mode link, by name, or when
 * the reply has not arrived. */
START_TEST(order_proves_for_pgbouncer_and_redis)
{
    unsigned target = _i ? REDIS : PGBOUNCER;
    one(target);
    hints_unknown();
    equal_ages();
    ck_assert_int_eq(stands_after(0), STANDING_IDLE);
    scene_finish(&scene);

    one(target);
    hints_unknown();
    equal_ages();
    scene.rows[0].known_by = KNOWN_BY_NAME;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    scene_finish(&scene);

    one(target);
    hints_unknown();
    equal_ages();
    scene.rows[0].state_change = 99; /* PostgreSQL's own word about the linked backend */
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    scene_finish(&scene);

    one(target);
    hints_unknown();
    scene.rows[0].last_sent_ms = 4, scene.rows[0].last_received_ms = 8;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT); /* read, but its reply is on the way */
}
END_TEST

START_TEST(session_mode_goes_by_the_backends_word)
{
    one(PGBOUNCER);
    hints_unknown();
    scene.rows[0].state_change = 99;
    ck_assert_int_eq(stands_after(0), STANDING_IDLE);
    scene.rows[0].state = SESSION_IN_TRANSACTION;
    scene.rows[0].state_change = 100;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
}
END_TEST

/* AF_UNIX, or /proc/net without sock_diag: no counters, no ages. */
START_TEST(without_counters)
{
    one(POSTGRES);
    hints_unknown();
    scene.rows[0].has_info = 0;
    scene.rows[0].tcp_state = _i ? TCP_ESTABLISHED : 0;
    scene.rows[0].bytes_sent = scene.rows[0].bytes_received = 0;
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = 0;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(60 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(60 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(60 * MS), STANDING_IDLE);
    scene.rows[0].state_change++;
    ck_assert_int_eq(stands_after(60 * MS), STANDING_IN_FLIGHT);
}
END_TEST

START_TEST(a_unix_redis_is_not_proven_by_order)
{
    one(REDIS);
    hints_unknown();
    scene.rows[0].has_info = scene.rows[0].tcp_state = 0;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
}
END_TEST

/* -- unread -------------------------------------------------------------------------------------------------------- */

START_TEST(a_reply_that_is_not_read_is_in_flight)
{
    one(POSTGRES);
    stands_after(0);
    scene.rows[0].bytes_sent += 40;
    scene.rows[0].last_sent_ms = 0;
    scene.rows[0].state = SESSION_ACTIVE;
    stands_after(MS);
    scene_reply_comes(&scene, 0, 60);
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert(!scene_handle(&scene, 0)->open);
    ck_assert_int_eq(stands_after(150 * MS), STANDING_IN_FLIGHT); /* the app collects its garbage */
    ck_assert_int_eq(stands_after(840 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(20 * MS), STANDING_EXEMPT);     /* nobody reads it */
    scene.rows[0].unread_bytes = 0;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
}
END_TEST

START_TEST(what_nobody_asked_for_is_exempt_after_100_ms)
{
    one(POSTGRES);
    stands_after(0);
    stands_after(MS);
    scene_notifies(&scene, 0, 30);
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(99 * MS), STANDING_IN_FLIGHT);
    scene_notifies(&scene, 0, 30); /* one more: nobody has read the first in 100 ms */
    ck_assert_int_eq(stands_after(MS), STANDING_EXEMPT);
}
END_TEST

/* A round's state is newer than its sockets: the reply comes when the session is idle already, and the app pauses. */
START_TEST(a_late_reply_is_no_notification)
{
    one(POSTGRES);
    stands_after(0);
    stands_after(MS);
    scene.rows[0].bytes_sent += 40;
    scene.rows[0].data_segments_out++;
    scene.rows[0].bytes_received += _i ? 30 : 0; /* a notification in between, read at once */
    equal_ages();
    scene.rows[0].state_change++;
    stands_after(MS);
    scene_notifies(&scene, 0, 60); /* the reply */
    stands_after(MS);
    scene_notifies(&scene, 0, 30); /* and a notification on top */
    stands_after(MS);
    ck_assert_int_eq(stands_after(300 * MS), STANDING_IN_FLIGHT);
}
END_TEST

/* Notifications keep coming on top of what nobody reads: its time is over all the same. One that
 * is read begins it anew. */
START_TEST(what_grows_is_not_read)
{
    one(POSTGRES);
    scene.rows[0].unread_bytes = 30;
    scene.rows[0].last_sent_ms = 8, scene.rows[0].last_received_ms = 4;
    stands_after(0);
    for (int i = 0; i < 9; i++) {
        scene_notifies(&scene, 0, 30);
        if (i == 4 && _i)
            scene.rows[0].unread_bytes -= 60; /* read, and more has come since */
        ck_assert_int_eq(stands_after(100 * MS), STANDING_IN_FLIGHT);
    }
    ck_assert_int_eq(stands_after(101 * MS), _i ? STANDING_IN_FLIGHT : STANDING_EXEMPT);
}
END_TEST

/* Kept asleep by the brake for long, then woken up: its time begins then. */
START_TEST(the_brakes_time_does_not_count)
{
    one(POSTGRES);
    stands_after(0);
    scene_reply_comes(&scene, 0, 60);
    scene.rows[0].last_received_ms = 5000, scene.rows[0].last_sent_ms = 6000;
    stands_after(5 * S);
    scene_handle(&scene, 0)->unbraked_at_us = scene.now_us;
    ck_assert_int_eq(stands_after(900 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(101 * MS), STANDING_EXEMPT);
}
END_TEST

START_TEST(what_has_lain_there_for_long_is_exempt_at_once)
{
    one(POSTGRES);
    scene.rows[0].unread_bytes = 12;
    scene.rows[0].last_sent_ms = 90000, scene.rows[0].last_received_ms = 80000;
    ck_assert_int_eq(stands_after(0), STANDING_EXEMPT);
}
END_TEST

/* Unread since before the first look, and more comes with each round: nothing was asked, so
 * nothing of it is a reply. */
START_TEST(what_comes_on_top_is_no_reply_either)
{
    one(POSTGRES);
    scene.rows[0].unread_bytes = 30;
    scene.rows[0].last_sent_ms = 5000, scene.rows[0].last_received_ms = 4;
    scene.rows[0].state_age_us = 5 * S;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    for (int i = 0; i < 4; i++) {
        scene_notifies(&scene, 0, 30);
        ck_assert_int_eq(stands_after(20 * MS), STANDING_IN_FLIGHT);
    }
    scene_notifies(&scene, 0, 30);
    ck_assert_int_eq(stands_after(30 * MS), STANDING_EXEMPT);
}
END_TEST

/* A request behind a notification that nobody read. */
START_TEST(an_unread_notification_hides_no_request)
{
    one(POSTGRES);
    stands_after(0);
    stands_after(MS);
    scene_notifies(&scene, 0, 30);
    stands_after(MS);
    ck_assert_int_eq(stands_after(150 * MS), STANDING_EXEMPT);
    scene.rows[0].bytes_sent += 40;
    scene.rows[0].last_sent_ms = 0, scene.rows[0].last_received_ms = 150;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(5 * S), STANDING_IN_FLIGHT);
}
END_TEST

START_TEST(a_closed_session_is_exempt_when_its_last_word_is_read)
{
    static const uint8_t as[] = {SESSION_IDLE, SESSION_ABSENT, SESSION_UNKNOWN};
    one(POSTGRES);
    stands_after(0);
    scene.rows[0].state = as[_i];
    scene.rows[0].tcp_state = TCP_CLOSE_WAIT;
    scene.rows[0].unread_bytes = 90;
    scene.rows[0].last_received_ms = 0;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(101 * MS), STANDING_EXEMPT);
    scene.rows[0].unread_bytes = 0;
    ck_assert_int_eq(stands_after(MS), STANDING_EXEMPT);
}
END_TEST

/* -- the rest ------------------------------------------------------------------------------------------------------ */

START_TEST(absent_is_a_start_up_first)
{
    one(POSTGRES);
    scene.rows[0].state = SESSION_ABSENT;
    scene.rows[0].bytes_sent = 0;
    ck_assert_int_eq(stands_after(0), STANDING_IDLE); /* connected, and nothing said */
    ck_assert(scene_handle(&scene, 0)->starting);
    scene.rows[0].bytes_sent = 90;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT); /* the server may make a session of it */
    scene.rows[0].unread_bytes = 1;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE); /* it waits for the app's next word, and for no request */
    scene.rows[0].unread_bytes = 0;
    scene.rows[0].unacked_bytes = scene.rows[0].unsent_bytes = 90;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
    scene.rows[0].unacked_bytes = scene.rows[0].unsent_bytes = 0;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(1010 * MS), STANDING_EXEMPT); /* the server has ended it */
    scene.rows[0].unacked_bytes = 1;
    ck_assert_int_eq(stands_after(5 * S), STANDING_IN_FLIGHT);
}
END_TEST

/* It had a session, and what lies unread may be its last reply; or nobody knows whether it had one. */
START_TEST(absent_may_be_the_end_of_a_session)
{
    one(POSTGRES);
    if (_i == 0)
        stands_after(0);
    scene.rows[0].state = SESSION_ABSENT;
    scene.rows[0].unread_bytes = 40;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
}
END_TEST

/* Redis takes requests before it shows a client. */
START_TEST(absent_at_redis_may_have_asked)
{
    one(REDIS);
    scene.rows[0].state = SESSION_ABSENT;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(990 * MS), STANDING_IN_FLIGHT);
    ck_assert_int_eq(stands_after(20 * MS), STANDING_EXEMPT);
    scene.rows[0].unacked_bytes = 1;
    ck_assert_int_eq(stands_after(5 * S), STANDING_IN_FLIGHT);
}
END_TEST

/* The session is there, the last word of its start-up is unread: it was corked while there was no session, and nothing
 * has left since. */
START_TEST(a_fresh_session_was_asked_nothing)
{
    scene_init(&scene, HOLD_MARKS, 1, POSTGRES);
    stands_after(0);
    scene.facts.count = 2;
    scene.rows[1] = scene_row(2, POSTGRES);
    scene.rows[1].state = SESSION_ABSENT;
    scene.rows[1].last_sent_ms = scene.rows[1].last_received_ms = 0;
    stands_after(MS);
    scene_hands(&scene); /* it is corked */
    stands_after(MS);
    scene.rows[1].state = SESSION_IDLE;
    scene.rows[1].bytes_received += 400, scene.rows[1].unread_bytes = 400, scene.rows[1].last_received_ms = 0;
    if (_i == 1)
        scene.rows[1].bytes_sent += 50, scene.rows[1].last_sent_ms = 0; /* a request has left all the same */
    stands_after(MS);
    ck_standing(&scene, 1, _i == 1 ? STANDING_IN_FLIGHT : STANDING_IDLE);
}
END_TEST

START_TEST(a_transaction_left_idle_for_long_is_given_up)
{
    one(POSTGRES);
    scene.rows[0].state = SESSION_IN_TRANSACTION;
    scene.rows[0].state_age_us = 59 * S;
    ck_assert_int_eq(stands_after(0), STANDING_IN_FLIGHT);
    scene.rows[0].state_age_us = 60 * S;
    ck_assert_int_eq(stands_after(MS), STANDING_GIVEN_UP);
    scene.rows[0].unread_bytes = 1;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene.rows[0].unread_bytes = 0;
    scene_writes(&scene, 0, 20); /* it goes on after all */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene.rows[0].unsent_bytes = scene.rows[0].unacked_bytes = 0;
    scene.rows[0].state_age_us = -1; /* Redis' MULTI, or not known */
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
}
END_TEST

/* Two handles that are joined by name only may be each other's: neither is taken for at rest while one is busy. */
START_TEST(by_name_only_nothing_unread_or_unsent_is_at_rest_while_one_is_busy)
{
    scene_init(&scene, HOLD_WATCH, 2, POSTGRES);
    scene.rows[0].known_by = scene.rows[1].known_by = KNOWN_BY_NAME;
    scene.rows[1].state = SESSION_IN_TRANSACTION;
    ck_assert_int_eq(stands_after(0), STANDING_IDLE);
    scene.rows[0].unread_bytes = 10;
    scene.rows[0].last_sent_ms = 30000, scene.rows[0].last_received_ms = 20000;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    scene.rows[1].state = SESSION_IDLE;
    ck_assert_int_eq(stands_after(MS), STANDING_EXEMPT);
}
END_TEST

/* The same inode, given out again; the same port, of a new socket: what was known of the old one does not count. */
START_TEST(a_new_socket_begins_anew)
{
    one(POSTGRES);
    hints_unknown();
    stands_after(0);
    equal_ages();
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE); /* known from before */
    if (_i)
        scene.rows[0].local.port++;
    else
        scene.rows[0].inode++;
    ck_assert_int_eq(stands_after(MS), STANDING_IN_FLIGHT);
    ck_assert_uint_eq(scene.hold.count, 1);
}
END_TEST

/* Another process holds it now (prefork): it is the same socket. */
START_TEST(another_holder_is_the_same_handle)
{
    one(POSTGRES);
    hints_unknown();
    stands_after(0);
    equal_ages();
    scene.rows[0].pid = 101, scene.rows[0].fd = 9;
    ck_assert_int_eq(stands_after(MS), STANDING_IDLE);
}
END_TEST

/* Rows come and go at the front, at the back and in between: each keeps its own memory. */
START_TEST(histories_are_not_mixed_up)
{
    static const unsigned shown[] = {0xff, 0xfe, 0xee, 0x0e, 0x8e, 0x8f, 0xff, 0x55, 0xaa, 0xff};
    scene_init(&scene, HOLD_WATCH, SCENE_ROWS, POSTGRES);
    struct handle_row all[SCENE_ROWS];
    unsigned before = 0;
    for (unsigned i = 0; i < SCENE_ROWS; i++) {
        all[i] = scene.rows[i];
        all[i].bytes_sent = 1000 * (i + 1);
    }
    for (size_t n = 0; n < sizeof shown / sizeof *shown; n++) {
        scene.facts.count = 0;
        for (unsigned i = 0; i < SCENE_ROWS; i++)
            if (shown[n] & 1u << i)
                scene.rows[scene.facts.count++] = all[i];
        scene_round(&scene, MS);
        ck_assert_uint_eq(scene.hold.count, scene.facts.count);
        for (unsigned k = 0; k < scene.facts.count; k++) {
            unsigned i = (unsigned)scene.rows[k].inode - 1;
            struct hold_handle *handle = scene_handle(&scene, k);
            ck_assert_ptr_nonnull(handle);
            ck_assert_uint_eq(handle->sent, all[i].bytes_sent);
            bool is_old = before & 1u << i;
            ck_assert_msg((handle->first_seen_us < scene.now_us) == is_old, "round %zu, row %u", n, i);
        }
        before = shown[n];
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("classify");
    TCase *tcase = tcase_create("classify");
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, each_state, 0, sizeof states / sizeof *states);
    tcase_add_test(tcase, a_state_that_is_new_to_us_is_not_known);
    tcase_add_test(tcase, ages_that_differ_tell);
    tcase_add_test(tcase, equal_ages_tell_nothing_however_old);
    tcase_add_test(tcase, three_answers_over_150_ms_tell);
    tcase_add_test(tcase, two_answers_are_too_few);
    tcase_add_test(tcase, a_slow_answer_proves_nothing);
    tcase_add_test(tcase, a_long_way_is_not_a_slow_answer);
    tcase_add_test(tcase, no_answer_proves_nothing);
    tcase_add_loop_test(tcase, what_moves_begins_anew, 0, 4);
    tcase_add_test(tcase, who_waits_alone_has_a_request_out);
    tcase_add_test(tcase, nobody_waits);
    tcase_add_test(tcase, nothing_has_left_since_all_was_answered);
    tcase_add_test(tcase, one_segment_and_busy_since);
    tcase_add_test(tcase, one_segment_without_a_reply_or_without_work);
    tcase_add_test(tcase, bytes_on_the_way_are_in_flight);
    tcase_add_loop_test(tcase, order_proves_for_pgbouncer_and_redis, 0, 2);
    tcase_add_test(tcase, session_mode_goes_by_the_backends_word);
    tcase_add_loop_test(tcase, without_counters, 0, 2);
    tcase_add_test(tcase, a_unix_redis_is_not_proven_by_order);
    tcase_add_test(tcase, a_reply_that_is_not_read_is_in_flight);
    tcase_add_test(tcase, what_nobody_asked_for_is_exempt_after_100_ms);
    tcase_add_loop_test(tcase, a_late_reply_is_no_notification, 0, 2);
    tcase_add_loop_test(tcase, what_grows_is_not_read, 0, 2);
    tcase_add_test(tcase, the_brakes_time_does_not_count);
    tcase_add_test(tcase, what_has_lain_there_for_long_is_exempt_at_once);
    tcase_add_test(tcase, what_comes_on_top_is_no_reply_either);
    tcase_add_test(tcase, an_unread_notification_hides_no_request);
    tcase_add_loop_test(tcase, a_closed_session_is_exempt_when_its_last_word_is_read, 0, 3);
    tcase_add_test(tcase, absent_is_a_start_up_first);
    tcase_add_loop_test(tcase, absent_may_be_the_end_of_a_session, 0, 2);
    tcase_add_test(tcase, absent_at_redis_may_have_asked);
    tcase_add_loop_test(tcase, a_fresh_session_was_asked_nothing, 0, 2);
    tcase_add_test(tcase, a_transaction_left_idle_for_long_is_given_up);
    tcase_add_test(tcase, by_name_only_nothing_unread_or_unsent_is_at_rest_while_one_is_busy);
    tcase_add_loop_test(tcase, a_new_socket_begins_anew, 0, 2);
    tcase_add_test(tcase, another_holder_is_the_same_handle);
    tcase_add_test(tcase, histories_are_not_mixed_up);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
