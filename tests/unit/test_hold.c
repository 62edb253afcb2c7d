/* hold: the rounds. Which marks, steps and stages follow from the facts, and when all is still. */
#include <stdio.h>
#include <time.h>

#include "scene.h"

static struct scene scene;

/* `count` handles of PostgreSQL, idle, known as an event loop's, with hands: in LEARN after one round. */
static void marks(unsigned count)
{
    scene_init(&scene, HOLD_MARKS, count, POSTGRES);
    for (unsigned i = 0; i < count; i++) {
        scene.rows[i].epoll = 1;
        scene.hints[i].waited = WAITED_NOT;
    }
}

static void in_transaction(unsigned i)
{
    scene.rows[i].state = SESSION_IN_TRANSACTION;
    scene.rows[i].state_age_us = MS;
    scene.rows[i].state_change++;
}

/* A round, with the hands doing what it orders. */
static bool go(int64_t after_us)
{
    bool still = scene_round(&scene, after_us);
    scene_hands(&scene);
    return still;
}

static bool braked(unsigned i)
{
    const struct hold_order *order = scene_order(&scene, i);
    ck_assert_msg(order != NULL, "no order for row %u", i);
    return order->brake;
}

static bool stepped(unsigned i)
{
    const struct hold_order *order = scene_order(&scene, i);
    return order && order->step;
}

/* -- looking only -------------------------------------------------------------------------------------------------- */

START_TEST(watching_marks_nothing_and_waits_for_a_quiet_instant)
{
    scene_init(&scene, HOLD_WATCH, 2, POSTGRES);
    ck_assert(!scene_round(&scene, 0)); /* new ones have moved */
    ck_assert(!scene_round(&scene, 9 * MS));
    ck_assert(scene_round(&scene, MS));
    scene_writes(&scene, 0, 10);
    ck_assert(!scene_round(&scene, 20 * MS)); /* without a cork it leaves any moment */
    ck_assert_uint_eq(scene.hold.order_count, 0);
    scene_leaves(&scene, 0, 10);
    scene.rows[0].state = SESSION_ACTIVE;
    ck_assert(!scene_round(&scene, 20 * MS));
    scene_reply_comes(&scene, 0, 10);
    scene_reads(&scene, 0);
    ck_assert(!scene_round(&scene, 20 * MS));
    ck_assert(!scene_round(&scene, 9 * MS));
    ck_assert(scene_round(&scene, MS));
}
END_TEST

START_TEST(nothing_there_is_still)
{
    scene_init(&scene, _i ? HOLD_MARKS : HOLD_WATCH, 0, POSTGRES);
    bool still = false;
    for (int i = 0; i < 5 && !still; i++)
        still = go(10 * MS);
    ck_assert(still);
}
END_TEST

/* What cannot be seen is never still. */
START_TEST(blindness_is_not_stillness)
{
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    scene.facts.sockets_seen = _i == 0 ? 0 : 1;
    scene.facts.owners_seen = _i == 1 ? 0 : 1;
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(go(10 * MS), _i == 2);
}
END_TEST

START_TEST(a_server_that_does_not_answer_is_not_still)
{
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    scene.targets[POSTGRES].answered = 0;
    scene.rows[0].state = SESSION_UNKNOWN;
    for (int i = 0; i < 50; i++)
        ck_assert(!go(10 * MS));
    ck_assert_ptr_nonnull(strstr(scene.hold.why, "unknown"));
}
END_TEST

/* -- learn --------------------------------------------------------------------------------------------------------- */

/* For a moment, who arrives at its boundary stays there: what it takes to learn is known by then, mostly. */
START_TEST(learning_gathers_at_first)
{
    marks(2);
    in_transaction(1);
    scene.rows[1].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    scene.rows[0].epoll = 0;
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 9};
    go(0);
    scene_writes(&scene, 0, 20);
    for (int i = 0; i < 4; i++) {
        go(6 * MS);
        ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
        ck_assert(braked(0) && !stepped(0));
    }
    go(2 * MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    ck_assert(!braked(0) && stepped(0));
}
END_TEST

/* Where an event loop is, nothing is kept back before it is known whose all is. */
START_TEST(learning_leaves_an_event_loop_free)
{
    marks(2);
    in_transaction(1);
    scene.rows[0].epoll = 1;
    scene.rows[1].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    scene_writes(&scene, 0, 20);
    go(0);
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    ck_assert(!braked(0) && stepped(0));
}
END_TEST

START_TEST(learning_corks_all_holds_nothing_and_steps_each_write)
{
    marks(2);
    in_transaction(1);
    scene.rows[1].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    go(0);
    go(25 * MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    for (int i = 0; i < 5; i++) {
        scene_writes(&scene, 0, 20);
        go(MS);
        ck_assert_int_eq(scene.hold.stage, STAGE_LEARN); /* whose the open one is, is not known */
        for (unsigned k = 0; k < 2; k++)
            ck_assert(scene_order(&scene, k)->cork && !braked(k));
        ck_assert(stepped(0) && !stepped(1));
        scene.rows[0].state = SESSION_ACTIVE;
        scene_reply_comes(&scene, 0, 30);
        go(MS);
        scene_reads(&scene, 0);
        go(MS);
    }
    scene.hints[1] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 77};
    go(MS);
    go(MS);
    ck_assert_int_ge(scene.hold.stage, STAGE_GATHER);
    ck_assert_int_eq(scene_handle(&scene, 1)->thread, 77);
}
END_TEST

/* A thread that runs may be between its write and its wait. */
START_TEST(a_running_thread_is_not_taken_for_an_event_loop)
{
    marks(1);
    in_transaction(0);
    scene.rows[0].epoll = 0;
    scene.hints[0] = (struct hold_hint){.waited = WAITED_NOT, .running = 1};
    go(0);
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(!scene_handle(&scene, 0)->by_loop, "write %d", i);
        scene_writes(&scene, 0, 20);
        go(MS);
    }
    ck_assert(scene_handle(&scene, 0)->by_loop); /* three times is no chance */
    scene_finish(&scene);
    marks(1);
    in_transaction(0);
    scene.rows[0].epoll = 0;
    scene_writes(&scene, 0, 20);
    go(0);
    ck_assert(scene_handle(&scene, 0)->by_loop); /* it wrote, and nobody runs or waits */
}
END_TEST

START_TEST(without_hints_learning_is_over_at_once)
{
    marks(2);
    scene.no_hints = true;
    scene.rows[0].epoll = scene.rows[1].epoll = 255;
    in_transaction(0);
    go(0);
    go(MS);
    go(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
}
END_TEST

/* A connection out of a pool is another thread's with the next transaction. */
START_TEST(a_new_transaction_may_be_another_threads)
{
    marks(1);
    scene.rows[0].epoll = 0;
    go(0);
    scene_writes(&scene, 0, 20);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 5);
    in_transaction(0);
    scene.rows[0].bytes_received += 20;
    scene.hints[0] = (struct hold_hint){.waited = WAITED_NOT, .running = 1};
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 5); /* still its */
    scene_reply_comes(&scene, 0, 20);
    scene_reads(&scene, 0);
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 5);
    scene_writes(&scene, 0, 20);
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 0);
}
END_TEST

/* Between two rounds one transaction ends and the next begins: no row shows the boundary, but its start does. */
START_TEST(a_new_transaction_without_a_boundary_may_be_another_threads)
{
    marks(1);
    scene.rows[0].epoll = 0;
    in_transaction(0);
    scene.rows[0].transaction_start = 100;
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    go(0);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_NOT, .running = 1};
    scene.rows[0].bytes_received += 20;
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 5);
    scene.rows[0].transaction_start = _i ? 200 : 0; /* 0: not known */
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, _i ? 0 : 5);
}
END_TEST

/* The server was asked before it was seen who waits: meanwhile the reply may have come. Found as it was in the next
 * round, it had not. */
START_TEST(active_is_older_than_who_waits)
{
    marks(1);
    scene.rows[0].epoll = 0;
    scene.rows[0].state = SESSION_ACTIVE;
    go(0);
    ck_assert(!scene_handle(&scene, 0)->by_loop);
    scene.rows[0].bytes_received += _i ? 20 : 0;
    go(MS);
    ck_assert_int_eq(scene_handle(&scene, 0)->by_loop, !_i);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    go(MS);
    ck_assert(!scene_handle(&scene, 0)->by_loop); /* a thread waits for it alone: it is no event loop's */
    ck_assert_int_eq(scene_handle(&scene, 0)->thread, 5);
}
END_TEST

/* -- boundaries ---------------------------------------------------------------------------------------------------- */

/* In GATHER: a transaction is in flight on row 1, so that the stage stays. */
static void gathering(void)
{
    marks(2);
    in_transaction(1);
    scene_until(&scene, STAGE_GATHER, MS);
    go(MS);
}

START_TEST(a_write_at_the_boundary_is_held)
{
    gathering();
    scene_writes(&scene, 0, 25);
    go(MS);
    ck_standing(&scene, 0, STANDING_HELD);
    ck_assert(!stepped(0) && braked(0));
    in_transaction(0); /* it left all the same, or the row was an older one */
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(stepped(0));
}
END_TEST

START_TEST(inside_a_transaction_each_write_is_stepped)
{
    gathering();
    scene_writes(&scene, 1, 25);
    go(MS);
    ck_assert(stepped(1) && braked(1)); /* nothing unread: asleep for what will come */
    scene.rows[1].bytes_received += 30, scene.rows[1].unread_bytes = 30;
    go(MS);
    ck_assert(!braked(1)); /* woken up for what has come */
    scene_reads(&scene, 1);
    go(MS);
    ck_assert(braked(1));
}
END_TEST

START_TEST(an_active_session_is_stepped_too)
{
    gathering();
    scene.rows[1].state = SESSION_ACTIVE; /* a pipeline, COPY */
    scene_writes(&scene, 1, 2500);
    go(MS);
    ck_assert(stepped(1));
}
END_TEST

/* Whole by the counters since the step: nothing has left by itself, and the reply came. */
START_TEST(the_boundary_after_a_step)
{
    gathering();
    scene_writes(&scene, 1, 25); /* COMMIT */
    go(MS);                      /* stepped: 25 more have left */
    scene_writes(&scene, 1, 40); /* the next transaction's first write, the reply unread for once: a pipeline */
    scene.rows[1].state = SESSION_IDLE;
    scene.rows[1].last_sent_ms = scene.rows[1].last_received_ms = 0;
    go(MS);
    ck_standing(&scene, 1, STANDING_IN_FLIGHT); /* nothing came in since: COMMIT may be unread */
    ck_assert(stepped(1));
    scene.rows[1].bytes_received += 30;
    scene_writes(&scene, 1, 40);
    go(MS);
    ck_standing(&scene, 1, STANDING_HELD);
}
END_TEST

/* A write of more than a segment: its full segments leave by themselves, the session is idle until it has all of it. */
START_TEST(the_tail_of_a_long_write_is_never_held)
{
    gathering();
    go(MS);
    ck_standing(&scene, 0, STANDING_IDLE);
    scene_writes(&scene, 0, 33000);
    scene_leaves(&scene, 0, 32768);
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = _i ? 0 : 4;
    if (_i >= 2)
        scene.rows[0].bytes_received += 10; /* the reply to a first part that was whole */
    if (_i == 3)
        scene.rows[0].state_change++;
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(stepped(0));
}
END_TEST

/* The step sent more than the round saw: the base knows. */
START_TEST(a_step_sends_what_is_there_by_then)
{
    gathering();
    scene_writes(&scene, 1, 10);
    scene_round(&scene, MS);
    scene_writes(&scene, 1, 30); /* between the look and the hands */
    scene_hands(&scene);
    ck_assert_uint_eq(scene_handle(&scene, 1)->base_sent, scene.rows[1].bytes_sent);
    scene.rows[1].state = SESSION_IDLE;
    scene.rows[1].last_sent_ms = scene.rows[1].last_received_ms = 0;
    scene_writes(&scene, 1, 5);
    scene.rows[1].bytes_received += 30;
    go(MS);
    ck_standing(&scene, 1, STANDING_HELD);
}
END_TEST

/* The hands failed: without a cork nothing is held. */
START_TEST(without_hands_nothing_is_held)
{
    marks(1);
    for (int i = 0; i < 5; i++)
        scene_round(&scene, MS);
    scene_writes(&scene, 0, 10);
    scene_round(&scene, MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(stepped(0));
}
END_TEST

START_TEST(a_reply_under_the_brake_is_parked)
{
    gathering();
    scene_writes(&scene, 0, 10);
    go(MS);
    scene_leaves(&scene, 0, 10); /* its 200 ms were over */
    scene.rows[0].state = SESSION_ACTIVE;
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(braked(0));
    scene_reply_comes(&scene, 0, 50);
    scene.rows[1].state = SESSION_ACTIVE; /* its long query; no one waits for row 0 */
    scene.rows[1].waits_for_client = 0;
    for (int i = 0; i < 100; i++) {
        go(100 * MS); /* without limit */
        ck_standing(&scene, 0, STANDING_PARKED);
        ck_assert(braked(0));
    }
}
END_TEST

/* A first part of a reply, more to come: the session is active. */
START_TEST(a_part_of_a_reply_is_not_parked)
{
    gathering();
    scene.rows[0].state = SESSION_ACTIVE;
    scene.rows[0].bytes_received += 8192, scene.rows[0].unread_bytes = 8192;
    scene.rows[0].waits_for_client = _i == 0 ? 255 : 1; /* a pooler does not say; COPY: the app has to act */
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(!braked(0));
    scene.rows[0].waits_for_client = 0; /* it works: a pipeline is kept from sending more */
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(braked(0));
}
END_TEST

START_TEST(a_start_up_is_let_through)
{
    gathering();
    scene.facts.count = 3;
    scene.rows[2] = scene_row(3, POSTGRES);
    scene.rows[2].state = _i ? SESSION_UNKNOWN : SESSION_ABSENT;
    scene_writes(&scene, 2, 30);
    go(MS);
    ck_assert(!braked(2) && stepped(2));
    go(MS);
    ck_assert(!braked(2)); /* for what will come, too */
    scene.rows[2].state = SESSION_IDLE;
    scene.rows[2].bytes_received += 100;
    go(MS);
    ck_assert(!braked(2)); /* its last word may not have arrived */
    go(25 * MS);
    ck_assert(braked(2));
}
END_TEST

/* After the release, too, while nobody can say that it has no session: else it would wait for its cork to run out. */
START_TEST(a_start_up_that_may_be_in_flight_goes_on)
{
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    scene.facts.count = 2;
    scene.rows[1] = scene_row(2, POSTGRES);
    scene.rows[1].state = _i ? SESSION_UNKNOWN : SESSION_ABSENT;
    go(MS);
    scene_writes(&scene, 1, 30);
    go(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    ck_standing(&scene, 1, _i ? STANDING_IN_FLIGHT : STANDING_IDLE);
    ck_assert_int_eq(stepped(1), _i);
    ck_assert(!braked(1));
}
END_TEST

START_TEST(one_round_learns_nothing)
{
    marks(1);
    go(0);
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    go(MS);
    ck_assert_int_ge(scene.hold.stage, STAGE_GATHER);
}
END_TEST

START_TEST(what_is_exempt_from_the_beginning_gets_no_mark)
{
    marks(1);
    scene.rows[0].state = SESSION_REPLICATION;
    for (int i = 0; i < 10; i++) {
        go(MS);
        ck_assert_uint_eq(scene.hold.order_count, 0);
    }
}
END_TEST

START_TEST(unix_sockets_are_never_marked)
{
    marks(1);
    scene.rows[0].tcp_state = scene.rows[0].has_info = 0;
    for (int i = 0; i < 10; i++) {
        go(10 * MS);
        ck_assert_uint_eq(scene.hold.order_count, 0);
    }
}
END_TEST

/* No sock_diag: boundaries cannot be told, so nothing is marked, and a quiet instant is waited for. */
START_TEST(without_sock_diag_it_only_watches)
{
    marks(1);
    scene.facts.sockets_seen = 2;
    scene.rows[0].has_info = 0;
    bool still = false;
    for (int i = 0; i < 30 && !still; i++) {
        still = go(10 * MS);
        ck_assert_uint_eq(scene.hold.order_count, 0);
    }
    ck_assert(still);
}
END_TEST

/* What is exempt loses its brake, and what it writes is not kept. */
START_TEST(an_exempt_handle_keeps_no_brake)
{
    gathering();
    go(MS);
    ck_assert(braked(0));
    scene.rows[0].state = SESSION_REPLICATION;
    scene_writes(&scene, 0, 30);
    go(MS);
    ck_standing(&scene, 0, STANDING_EXEMPT);
    ck_assert(!braked(0) && stepped(0));
    ck_assert(!scene_handle(&scene, 0)->braked);
}
END_TEST

/* -- two connections ----------------------------------------------------------------------------------------------- */

START_TEST(a_thread_with_a_transaction_elsewhere_is_let_through)
{
    gathering();
    scene.rows[0].epoll = scene.rows[1].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    go(MS); /* thread 5 waits for the transaction's reply … */
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    scene_writes(&scene, 0, 30);
    scene.hints[0] = (struct hold_hint){.waited = _i == 2 ? WAITED_WITH_OTHERS : WAITED_ALONE,
                                        .thread = _i == 1 ? 6 : 5};
    go(MS); /* … then writes on another connection, and waits there */
    ck_assert_int_eq(stepped(0), _i == 0);
    ck_assert_int_eq(braked(0), _i > 0);
}
END_TEST

/* A Redis transaction, which is not held, is known too: its thread waits for PostgreSQL. */
START_TEST(a_transaction_on_a_handle_without_marks_counts)
{
    marks(2);
    scene.rows[1] = scene_row(2, REDIS);
    scene.rows[1].state = SESSION_IN_TRANSACTION;
    scene.rows[0].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    scene_until(&scene, STAGE_GATHER, MS);
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    scene_writes(&scene, 0, 30);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    go(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER); /* it waits for EXEC */
    ck_assert(stepped(0) && !braked(0));
}
END_TEST

/* -- release and stillness ----------------------------------------------------------------------------------------- */

START_TEST(all_parked_then_released_then_still)
{
    marks(2);
    scene_until(&scene, STAGE_GATHER, MS);
    in_transaction(0), in_transaction(1);
    go(MS);
    scene_reply_comes(&scene, 0, 10), scene_reply_comes(&scene, 1, 10); /* to COMMITs that left before */
    go(MS);
    ck_standing(&scene, 0, STANDING_PARKED);
    ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    ck_assert(!braked(0) && !braked(1));
    scene_reads(&scene, 0), scene_reads(&scene, 1);
    scene_writes(&scene, 0, 20);
    ck_assert(!go(MS));
    ck_standing(&scene, 0, STANDING_HELD);
    ck_assert(!go(9 * MS));
    ck_assert(go(MS));
    scene.frozen = true;
    ck_assert(go(3 * MS)); /* and again, frozen */
    ck_assert_uint_eq(scene.hold.order_count, 0);
}
END_TEST

/* A socket that appears is found to be blocking only when it is corked: it was not braked then. */
START_TEST(a_new_blocking_socket_is_not_taken_for_braked)
{
    gathering();
    scene.facts.count = 3;
    scene.rows[2] = scene_row(3, POSTGRES);
    scene.blocking[2] = true;
    scene_writes(&scene, 2, 30);
    go(MS);
    ck_assert(scene_order(&scene, 2)->brake);
    scene_reply_comes(&scene, 2, 10);
    go(MS);
    ck_standing(&scene, 2, STANDING_IN_FLIGHT); /* its reader is being woken up */
}
END_TEST

/* A notification came, and behind it a request went out that nobody has read yet. */
START_TEST(what_is_unread_is_not_parked_while_a_request_is_out)
{
    gathering();
    go(MS);
    scene.rows[0].bytes_sent += 40;
    scene.rows[0].data_segments_out++;
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = 0;
    scene.rows[0].unread_bytes = 10; /* had come before */
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(!braked(0));
}
END_TEST

/* Let go of the brake after long, in one round; in the next one the app has not woken up yet. */
START_TEST(what_is_released_has_time_to_be_read)
{
    marks(1);
    in_transaction(0);
    scene_until(&scene, STAGE_GATHER, MS);
    scene_reply_comes(&scene, 0, 10);
    scene.hold.resting = true;
    go(MS);
    scene.rows[0].last_sent_ms = 5000, scene.rows[0].last_received_ms = 4000;
    go(4 * S);
    ck_standing(&scene, 0, STANDING_PARKED);
    scene.hold.resting = false;
    go(MS);
    ck_assert(!braked(0));
    for (int i = 0; i < 9; i++) {
        go(100 * MS);
        ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    }
}
END_TEST

/* PgBouncer calls all of a transaction active. Whose turn it is, its server tells, or the socket. */
START_TEST(whose_turn_it_is)
{
    static const struct { enum session_state state; uint8_t waits; bool came_in, turn; } rows[] = {
        {SESSION_IN_TRANSACTION, 255, false, true}, {SESSION_ACTIVE, 1, false, true},
        {SESSION_ACTIVE, 0, true, false},           {SESSION_ACTIVE, 255, true, true},
        {SESSION_ACTIVE, 255, false, false},        {SESSION_IDLE, 1, true, false},
    };
    marks(1);
    scene.rows[0].state = (uint8_t)rows[_i].state;
    scene.rows[0].waits_for_client = rows[_i].waits;
    scene.rows[0].last_sent_ms = 8, scene.rows[0].last_received_ms = rows[_i].came_in ? 4 : 12;
    scene_round(&scene, 0);
    ck_assert_int_eq(scene_handle(&scene, 0)->app_turn, rows[_i].turn);
    scene_writes(&scene, 0, 10);
    scene_round(&scene, MS);
    ck_assert(!scene_handle(&scene, 0)->app_turn);
}
END_TEST

/* Equal ages tell nothing; what the rounds saw does. */
START_TEST(equal_ages_are_nobodys_turn)
{
    marks(1);
    scene.rows[0].state = SESSION_ACTIVE;
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = 1000;
    scene_round(&scene, 0);
    ck_assert(!scene_handle(&scene, 0)->app_turn);
    scene.rows[0].bytes_received += 90;
    scene_round(&scene, MS);
    ck_assert(scene_handle(&scene, 0)->app_turn);
    scene_round(&scene, MS);
    ck_assert(scene_handle(&scene, 0)->app_turn);
    scene.rows[0].bytes_sent += 90, scene.rows[0].bytes_received += 90;
    scene_round(&scene, MS);
    ck_assert(!scene_handle(&scene, 0)->app_turn);
}
END_TEST

/* A pooler says only "active", and nothing moved on it since the first look: it may wait for the app, which waits for
 * what is parked. Not so when somebody waits for its reply, or its request was seen to leave. */
START_TEST(a_turn_that_cannot_be_told_is_guessed_after_long)
{
    scene_init(&scene, HOLD_MARKS, 2, PGBOUNCER);
    scene.rows[0].epoll = scene.rows[1].epoll = 1;
    scene.rows[0].state = SESSION_ACTIVE;
    scene.rows[0].last_sent_ms = scene.rows[0].last_received_ms = 1000;
    scene.hints[0] = (struct hold_hint){.waited = _i == 1 ? WAITED_ALONE : WAITED_NOT, .thread = _i == 1 ? 5 : 0};
    scene_until(&scene, STAGE_GATHER, MS);
    scene.rows[0].bytes_sent += _i == 2 ? 30 : 0;
    scene_reply_comes(&scene, 1, 10);
    for (int i = 0; i < 24; i++) {
        go(10 * MS);
        ck_standing(&scene, 1, STANDING_PARKED);
        ck_assert(braked(1));
    }
    for (int i = 0; i < 50; i++)
        go(10 * MS);
    ck_assert_int_eq(braked(1), _i != 0);
}
END_TEST

START_TEST(frozen_nothing_is_ordered)
{
    gathering();
    scene.frozen = true;
    scene_writes(&scene, 1, 10);
    ck_assert(!go(MS));
    ck_assert_uint_eq(scene.hold.order_count, 0);
}
END_TEST

/* Held for 200 ms only: 60 ms and two round trips must be left, by now and not by the time of the look. */
START_TEST(a_held_write_has_time_left)
{
    static const struct { uint8_t timer; uint32_t left_ms, rtt_us; int64_t look_age_us; bool still; } rows[] = {
        {4, 61, 100, 0, true},      {4, 59, 100, 0, false},     {4, 100, 25000, 0, false}, {4, 120, 25000, 0, true},
        {4, 90, 100, 40000, false}, {4, 110, 100, 40000, true}, {2, 5, 100, 0, true}, /* keepalive sends nothing */
        {0, 0, 100, 0, true},
    };
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    scene_writes(&scene, 0, 20);
    go(MS);
    go(15 * MS);
    ck_standing(&scene, 0, STANDING_HELD);
    scene.rows[0].timer = rows[_i].timer;
    scene.rows[0].timer_ms = rows[_i].left_ms;
    scene.rows[0].rtt_us = rows[_i].rtt_us;
    scene.now_us += MS;
    scene.rows[0].looked_at_us = scene.now_us - rows[_i].look_age_us;
    bool still = hold_round(&scene.hold, &scene.facts, scene.hints, false, scene.now_us);
    ck_assert_int_eq(still, rows[_i].still);
    if (!still)
        ck_assert(stepped(0)); /* and held again at its next boundary */
}
END_TEST
enum { TIMES_LEFT = 8 };

START_TEST(what_stays_open_after_the_release_is_gathered_again)
{
    marks(2);
    scene_until(&scene, STAGE_RELEASE, MS);
    in_transaction(0);
    for (int i = 0; i < 11; i++) {
        go(10 * MS);
        ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    }
    ck_assert(hold_wants_hints(&scene.hold));
    go(20 * MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
    go(MS);
    ck_assert(braked(1));
}
END_TEST

/* A release that will take long begins when all have their whole time: what has little left is parked first. */
START_TEST(what_is_held_is_parked_before_a_long_release)
{
    marks(2);
    in_transaction(0);
    scene_until(&scene, STAGE_GATHER, MS);
    scene_writes(&scene, 1, 20);
    go(MS);
    ck_standing(&scene, 1, STANDING_HELD);
    if (_i) { /* somebody connects */
        scene.facts.count = 3;
        scene.rows[2] = scene_row(3, POSTGRES);
    }
    go(MS);
    scene.rows[1].timer_ms = 90;
    scene_reply_comes(&scene, 0, 10);
    scene.rows[0].state = SESSION_IDLE;
    scene.rows[0].state_change++;
    for (int i = 0; i < 30 && scene.hold.stage == STAGE_GATHER && !stepped(1); i++)
        go(MS);
    ck_assert_int_eq(scene.hold.stage, _i ? STAGE_GATHER : STAGE_RELEASE);
    ck_assert_int_eq(stepped(1), _i);
}
END_TEST

START_TEST(what_is_short_after_the_release_is_not)
{
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    for (int i = 0; i < 100; i++) {
        scene.rows[0].state = i % 3 ? SESSION_ACTIVE : SESSION_IDLE;
        scene.rows[0].state_change++;
        go(10 * MS);
        ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    }
}
END_TEST

/* A drain without a signal: all stay where they are, parked, without limit. */
START_TEST(resting_releases_nobody)
{
    marks(1);
    scene.hold.resting = true;
    in_transaction(0);
    scene_until(&scene, STAGE_GATHER, MS);
    scene_reply_comes(&scene, 0, 10);
    ck_assert(go(MS));
    for (int i = 0; i < 20; i++) {
        ck_assert(go(50 * MS));
        ck_standing(&scene, 0, STANDING_PARKED);
        ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
        ck_assert(scene_order(&scene, 0) && scene_order(&scene, 0)->brake);
    }
    scene.facts.owners_seen = 0; /* it cannot say that it is still: nobody is released for that */
    ck_assert(!go(MS));
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
    ck_assert(braked(0));
    scene.facts.owners_seen = 1;
    scene.hold.resting = false; /* the signal came */
    ck_assert(!go(MS));
    ck_assert(!braked(0));
}
END_TEST

START_TEST(what_appears_or_goes_moves)
{
    marks(2);
    scene_until(&scene, STAGE_RELEASE, MS);
    go(10 * MS);
    ck_assert(go(10 * MS));
    scene.facts.count = 1;
    ck_assert(!go(MS));
    ck_assert(go(10 * MS));
    scene.facts.count = 2;
    ck_assert(!go(MS));
}
END_TEST

/* -- giving up, starting over -------------------------------------------------------------------------------------- */

START_TEST(what_is_given_up_is_not_waited_for)
{
    gathering();
    hold_give_up(&scene.hold);
    bool still = false;
    for (int i = 0; i < 20 && !still; i++)
        still = go(10 * MS);
    ck_assert(still);
    ck_standing(&scene, 1, STANDING_GIVEN_UP);
    ck_standing(&scene, 0, STANDING_IDLE);
    in_transaction(0); /* only what was in flight then */
    ck_assert(!go(MS));
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    scene.rows[1].state = SESSION_IDLE; /* it ended well after all */
    scene.rows[1].bytes_received += 10;
    go(MS);
    ck_standing(&scene, 1, STANDING_IDLE);
}
END_TEST

START_TEST(after_a_restart_all_is_marked_again)
{
    gathering();
    hold_give_up(&scene.hold);
    hold_restart(&scene.hold);
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    scene_writes(&scene, 0, 20);
    scene_round(&scene, MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT); /* its cork is gone */
    ck_assert(scene_order(&scene, 0)->cork && stepped(0));
    ck_standing(&scene, 1, STANDING_GIVEN_UP);
}
END_TEST

/* -- Redis --------------------------------------------------------------------------------------------------------- */

/* Row 0: PostgreSQL, idle. Row 1: Redis, with a request out in every round. */
static void with_busy_redis(void)
{
    marks(2);
    scene.rows[1] = scene_row(2, REDIS);
}

static bool redis_round(int64_t after_us)
{
    scene.rows[1].bytes_sent += 10;
    scene.rows[1].bytes_received += 10;
    scene.rows[1].last_sent_ms = 0, scene.rows[1].last_received_ms = 4;
    return go(after_us);
}

START_TEST(redis_is_held_only_when_stillness_does_not_come_without)
{
    with_busy_redis();
    for (int i = 0; scene.hold.stage != STAGE_RELEASE; i++) {
        ck_assert_int_lt(i, 20); /* GATHER does not wait for what it does not hold */
        redis_round(MS);
        ck_assert_ptr_null(scene_order(&scene, 1));
    }
    for (int i = 0; i < 5; i++) {
        redis_round(10 * MS);
        ck_assert_ptr_null(scene_order(&scene, 1));
    }
    redis_round(20 * MS);
    ck_assert_ptr_nonnull(scene_order(&scene, 1));
    ck_assert(scene_order(&scene, 1)->cork);
}
END_TEST

/* A flow has committed, and does not get on: what it does at Redis after that is not kept back. */
START_TEST(redis_after_a_commit_has_more_time)
{
    with_busy_redis();
    in_transaction(0);
    scene_until(&scene, STAGE_GATHER, MS);
    scene_reply_comes(&scene, 0, 10);
    scene.rows[0].state = SESSION_IDLE;
    scene.rows[0].state_change++;
    for (int i = 0; scene.hold.stage != STAGE_RELEASE; i++) {
        ck_assert_int_lt(i, 20);
        redis_round(MS);
    }
    redis_round(MS);
    scene_reads(&scene, 0);
    for (int i = 0; i < 39; i++) {
        redis_round(10 * MS);
        ck_assert_ptr_null(scene_order(&scene, 1));
    }
    if (_i) { /* it begins anew: that was all of it */
        scene_writes(&scene, 0, 20);
        redis_round(MS);
        redis_round(61 * MS);
    } else {
        redis_round(21 * MS);
    }
    ck_assert_ptr_nonnull(scene_order(&scene, 1));
}
END_TEST

/* Nothing moves, but a thread runs: it may be about to write. */
START_TEST(a_running_thread_has_more_time)
{
    marks(1);
    scene_until(&scene, STAGE_RELEASE, MS);
    go(MS);
    ck_assert(hold_wants_hints(&scene.hold));
    scene.hints[0].running = 1;
    for (int i = 0; i < 3; i++)
        ck_assert(!go(11 * MS));
    ck_assert(go(11 * MS));
}
END_TEST

START_TEST(redis_between_multi_and_exec_is_gathered)
{
    with_busy_redis();
    scene.rows[1].state = SESSION_IN_TRANSACTION;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 5};
    for (int i = 0; i < 20; i++)
        redis_round(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
}
END_TEST

START_TEST(redis_alone_is_held_from_the_beginning)
{
    static const uint8_t kinds[WIRE_TARGETS] = {0, 0, TARGET_REDIS};
    marks(1);
    scene.rows[0] = scene_row(1, REDIS);
    hold_finish(&scene.hold);
    hold_init(&scene.hold, HOLD_MARKS, kinds, 0, T0);
    go(0);
    ck_assert(scene_order(&scene, 0)->cork);
}
END_TEST

/* -- blocking sockets ---------------------------------------------------------------------------------------------- */

static void blocking_gathering(void)
{
    marks(2);
    in_transaction(1);
    scene.blocking[0] = scene.blocking[1] = true;
    scene.rows[0].epoll = scene.rows[1].epoll = 0;
    scene.hints[1] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 8};
    scene_until(&scene, STAGE_GATHER, MS);
}

START_TEST(blocking_sockets_are_braked_only_when_it_takes_long)
{
    blocking_gathering();
    go(50 * MS);
    ck_assert(!scene_order(&scene, 0)->blocking_too && !scene_handle(&scene, 0)->braked);
    go(51 * MS);
    ck_assert(scene_order(&scene, 0)->blocking_too && scene_handle(&scene, 0)->braked);
}
END_TEST

/* recv(2) has taken the reply and does not return: nothing unread shows, its thread waits on an idle session. */
START_TEST(what_recv_keeps_is_parked_and_nudged_out_at_the_release)
{
    blocking_gathering();
    go(120 * MS);
    scene_writes(&scene, 0, 20);
    scene.rows[0].state = SESSION_ACTIVE;
    go(MS);
    scene_reply_comes(&scene, 0, 30);
    scene_reads(&scene, 0);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 9};
    go(MS);
    ck_standing(&scene, 0, STANDING_PARKED);
    ck_assert(!scene.hold.nudge);
    scene_reply_comes(&scene, 1, 30);
    scene_reads(&scene, 1);
    go(MS);
    ck_standing(&scene, 1, STANDING_PARKED);
    ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    ck_assert(scene.hold.nudge);
}
END_TEST

/* Released, and nudged; but its thread has not got to run yet, or was missed. Then it goes on. */
START_TEST(what_recv_keeps_is_unread_until_it_returns)
{
    blocking_gathering();
    go(120 * MS);
    scene_writes(&scene, 0, 20);
    scene.rows[0].state = SESSION_ACTIVE;
    go(MS);
    for (unsigned i = 0; i < 2; i++) {
        scene_reply_comes(&scene, i, 30);
        scene_reads(&scene, i);
        scene.hints[i] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 8 + (int)i};
    }
    go(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_RELEASE);
    for (int i = 0; i < 4; i++) {
        ck_assert(!go(12 * MS));
        ck_standing(&scene, 0, STANDING_IN_FLIGHT);
        ck_assert(hold_wants_hints(&scene.hold));
        ck_assert(!scene.hold.nudge);
    }
    ck_assert(!go(12 * MS));
    ck_assert(scene.hold.nudge);
    scene.hints[0].waited = scene.hints[1].waited = WAITED_NOT;
    ck_assert(!go(MS));
    ck_standing(&scene, 0, STANDING_IDLE);
    ck_assert(go(12 * MS));
}
END_TEST

static int nudged_alone(unsigned i)
{
    const struct hold_order *order = scene_order(&scene, i);
    ck_assert(order && !scene.hold.nudge); /* never all of them: the others' replies are parked */
    return order->nudge;
}

/* Inside a transaction the app must get it, once for each reply, and again when that did not help: its thread alone is
 * nudged. PgBouncer calls all of a transaction active; PostgreSQL's "active" means that it works on it. */
START_TEST(what_recv_keeps_inside_a_transaction_is_nudged_out)
{
    static const struct { unsigned target; enum session_state state; int nudged; } rows[] = {
        {POSTGRES, SESSION_IN_TRANSACTION, 8}, {POSTGRES, SESSION_ACTIVE, 0}, {PGBOUNCER, SESSION_ACTIVE, 8}};
    blocking_gathering();
    scene.rows[1].target = (uint16_t)rows[_i].target;
    scene.rows[1].state = (uint8_t)rows[_i].state;
    go(120 * MS);
    go(MS);
    ck_assert_int_eq(nudged_alone(1), 0);
    scene.rows[1].bytes_received += 30; /* taken by recv(2) */
    go(MS);
    ck_assert_int_eq(nudged_alone(1), rows[_i].nudged);
    ck_assert_int_eq(nudged_alone(0), 0);
    go(MS);
    ck_assert_int_eq(nudged_alone(1), 0);
    go(50 * MS);
    ck_assert_int_eq(nudged_alone(1), rows[_i].nudged);
    scene.rows[1].bytes_received += 30;
    go(MS);
    ck_assert_int_eq(nudged_alone(1), rows[_i].nudged);
}
END_TEST

/* A thread that has a transaction open elsewhere gets what it waits for here, and it alone. */
START_TEST(what_recv_keeps_is_nudged_out_when_it_is_let_through)
{
    blocking_gathering();
    go(120 * MS);
    scene_writes(&scene, 0, 20);
    scene.rows[0].state = SESSION_ACTIVE;
    go(MS);
    scene_reply_comes(&scene, 0, 30);
    scene_reads(&scene, 0);
    scene.hints[0] = (struct hold_hint){.waited = WAITED_ALONE, .thread = 9};
    go(MS);
    ck_assert(braked(0));
    ck_assert_int_eq(nudged_alone(0), 0);
    scene.hints[1] = (struct hold_hint){.waited = WAITED_NOT};
    scene.hints[0].thread = 8; /* that of the open transaction */
    go(MS);
    ck_assert_int_eq(scene.hold.stage, STAGE_GATHER);
    ck_assert(!braked(0));
    ck_assert_int_eq(nudged_alone(0), 8);
}
END_TEST

/* -- by name only -------------------------------------------------------------------------------------------------- */

START_TEST(by_name_only_nothing_is_held_on_anothers_session)
{
    gathering();
    scene.rows[0].known_by = scene.rows[1].known_by = KNOWN_BY_NAME;
    go(MS);
    scene_writes(&scene, 0, 20); /* a COMMIT, perhaps: the busy session may be its */
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(stepped(0));
    scene_reply_comes(&scene, 0, 20);
    go(MS);
    ck_standing(&scene, 0, STANDING_IN_FLIGHT);
    ck_assert(!braked(0));
}
END_TEST

/* There is a session too few: who has none may have lent its own to the one that is still in its start-up. The word of
 * that one is no request, and is let on, until there is a session for each. */
START_TEST(by_name_only_a_session_too_few_holds_nobody)
{
    marks(2);
    for (unsigned i = 0; i < 2; i++) {
        scene.rows[i].known_by = i ? KNOWN_SOCKET_ONLY : KNOWN_BY_NAME;
        scene.rows[i].told_apart = 255;
    }
    scene.rows[1].state = SESSION_UNKNOWN;
    scene_until(&scene, STAGE_GATHER, MS);
    scene_writes(&scene, 0, 20);
    bool let_on = false;
    for (int i = 0; i < 32 && !let_on; i++) {
        go(MS);
        ck_standing(&scene, 0, STANDING_IN_FLIGHT);
        ck_assert(!braked(0));
        let_on = stepped(0);
    }
    ck_assert(let_on);
    scene_reply_comes(&scene, 0, 20);
    scene_reads(&scene, 0);
    go(MS);
    scene.rows[1].known_by = KNOWN_BY_NAME;
    scene.rows[1].state = SESSION_IDLE;
    go(MS);
    scene_writes(&scene, 0, 20);
    go(MS);
    ck_standing(&scene, 0, STANDING_HELD);
}
END_TEST

/* A pooler's clients that are linked to nothing are known to be: one of which nothing is known changes that for
 * none. */
START_TEST(by_name_only_one_that_is_never_told_mixes_nobody)
{
    marks(2);
    scene.rows[0].known_by = KNOWN_BY_NAME;
    scene.rows[1].known_by = KNOWN_SOCKET_ONLY;
    scene.rows[1].state = SESSION_UNKNOWN;
    scene_until(&scene, STAGE_GATHER, MS);
    go(MS);
    scene_writes(&scene, 0, 20);
    go(MS);
    ck_standing(&scene, 0, STANDING_HELD);
}
END_TEST

/* Told apart by what moved together, it is as good as by its address. */
START_TEST(by_name_but_told_apart)
{
    gathering();
    scene.rows[0].known_by = scene.rows[1].known_by = KNOWN_BY_NAME;
    scene.rows[0].told_apart = scene.rows[1].told_apart = 1;
    go(MS);
    scene_writes(&scene, 0, 20);
    go(MS);
    ck_standing(&scene, 0, STANDING_HELD);
    ck_assert(!stepped(0));
}
END_TEST

enum { TOLD = 8 };

static void telling(void)
{
    marks(TOLD);
    for (unsigned i = 0; i < TOLD; i++) {
        scene.rows[i].known_by = KNOWN_BY_NAME;
        scene.rows[i].told_apart = 255;
    }
    go(0);
}

/* All write whenever they have sent what they wrote before; the bits of those that were let on. */
static unsigned round_of_writers(void)
{
    unsigned let_on = 0;
    for (unsigned i = 0; i < TOLD; i++)
        if (scene.rows[i].unsent_bytes == 0)
            scene_writes(&scene, i, 20);
    go(2 * MS);
    for (unsigned i = 0; i < TOLD; i++)
        let_on |= (unsigned)stepped(i) << i;
    return let_on;
}

START_TEST(while_sessions_are_told_apart_some_wait)
{
    unsigned all = (1U << TOLD) - 1, ever_on = 0, ever_off = 0, turns = 0;
    telling();
    round_of_writers();
    for (int i = 0; i < 60; i++) {
        unsigned let_on = round_of_writers();
        ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
        ever_on |= let_on;
        ever_off |= ~let_on & all;
        turns += let_on != all && let_on != 0;
        for (unsigned k = 0; k < TOLD; k++)
            ck_assert(!braked(k));
    }
    ck_assert_uint_eq(ever_on, all);
    ck_assert_uint_eq(ever_off, all);
    ck_assert_uint_gt(turns, 40);
    for (unsigned i = 0; i < TOLD; i++)
        scene.rows[i].told_apart = 1;
    round_of_writers();
    ck_assert_int_ne(scene.hold.stage, STAGE_LEARN);
}
END_TEST

/* It has its limit; and what does not move is not waited for. */
START_TEST(telling_apart_ends)
{
    telling();
    for (int i = 0; i < 5; i++)
        go(2 * MS);
    ck_assert_int_ne(scene.hold.stage, STAGE_LEARN);
    scene_finish(&scene);
    telling();
    for (int i = 0; i < 499; i++)
        round_of_writers();
    ck_assert_int_eq(scene.hold.stage, STAGE_LEARN);
    for (int i = 0; i < 3; i++)
        round_of_writers();
    ck_assert_int_ne(scene.hold.stage, STAGE_LEARN);
}
END_TEST

/* -- cost ---------------------------------------------------------------------------------------------------------- */

enum { MANY = 2000 };

static int64_t thread_time_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * S + now.tv_nsec / 1000;
}

/* The middle one of 21 rounds of `MANY` handles, by the processor's time. */
static int64_t round_cost(struct facts *facts, struct handle_row *rows, struct hold_hint *hints)
{
    static int64_t costs[21];
    static const uint8_t kinds[WIRE_TARGETS] = {TARGET_POSTGRES};
    struct hold hold;
    hold_init(&hold, HOLD_MARKS, kinds, 0, T0);
    for (int i = 0; i < 21; i++) {
        for (size_t k = 0; k < MANY; k++)
            rows[k].unsent_bytes = rows[k].unacked_bytes = (uint32_t)(k + (size_t)i) % 3 ? 0 : 10;
        facts->rows = rows + i % 5; /* some go at the front, some come at the back */
        facts->count = MANY - 5;
        int64_t began = thread_time_us();
        hold_round(&hold, facts, hints, false, T0 + i * MS);
        for (size_t k = 0; k < hold.order_count; k++) {
            struct hold_base base = {.sent = 1000};
            hold_note_base(&hold, &facts->rows[hold.orders[k].row], &base, true);
        }
        costs[i] = thread_time_us() - began;
        for (int k = i; k > 0 && costs[k] < costs[k - 1]; k--) {
            int64_t swap = costs[k];
            costs[k] = costs[k - 1], costs[k - 1] = swap;
        }
    }
    hold_finish(&hold);
    return costs[10];
}

/* Threads, each waiting alone: the worst for who waits for whom. Under sanitizers it takes some times longer. */
START_TEST(two_thousand_handles_cost_little)
{
    static struct handle_row rows[MANY];
    static struct hold_hint hints[MANY];
    struct message_target_state target = {.up = TARGET_UP, .answered = 1, .answer_us = 500};
    struct facts facts = {.targets = &target, .target_count = 1, .sockets_seen = 1, .owners_seen = 1};
    int64_t limit = 2 * MS;
    for (size_t k = 0; k < MANY; k++) {
        rows[k] = scene_row(k + 1, POSTGRES);
        rows[k].state = k % 2 ? SESSION_IDLE : SESSION_IN_TRANSACTION;
        hints[k] = (struct hold_hint){.waited = WAITED_ALONE, .thread = (int32_t)k + 1};
    }
#ifdef __SANITIZE_ADDRESS__
    limit *= 20;
#endif
    int64_t cost = round_cost(&facts, rows, hints);
    printf("a round of %d handles: %lld us\n", MANY, (long long)cost);
    ck_assert_int_lt(cost, limit);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("hold");
    TCase *tcase = tcase_create("hold");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, watching_marks_nothing_and_waits_for_a_quiet_instant);
    tcase_add_loop_test(tcase, nothing_there_is_still, 0, 2);
    tcase_add_loop_test(tcase, blindness_is_not_stillness, 0, 3);
    tcase_add_test(tcase, a_server_that_does_not_answer_is_not_still);
    tcase_add_test(tcase, learning_gathers_at_first);
    tcase_add_test(tcase, learning_leaves_an_event_loop_free);
    tcase_add_test(tcase, learning_corks_all_holds_nothing_and_steps_each_write);
    tcase_add_test(tcase, a_running_thread_is_not_taken_for_an_event_loop);
    tcase_add_test(tcase, without_hints_learning_is_over_at_once);
    tcase_add_test(tcase, a_new_transaction_may_be_another_threads);
    tcase_add_loop_test(tcase, a_new_transaction_without_a_boundary_may_be_another_threads, 0, 2);
    tcase_add_loop_test(tcase, active_is_older_than_who_waits, 0, 2);
    tcase_add_test(tcase, a_write_at_the_boundary_is_held);
    tcase_add_test(tcase, inside_a_transaction_each_write_is_stepped);
    tcase_add_test(tcase, an_active_session_is_stepped_too);
    tcase_add_test(tcase, the_boundary_after_a_step);
    tcase_add_loop_test(tcase, the_tail_of_a_long_write_is_never_held, 0, 4);
    tcase_add_test(tcase, a_step_sends_what_is_there_by_then);
    tcase_add_test(tcase, without_hands_nothing_is_held);
    tcase_add_test(tcase, a_reply_under_the_brake_is_parked);
    tcase_add_loop_test(tcase, a_part_of_a_reply_is_not_parked, 0, 2);
    tcase_add_loop_test(tcase, a_start_up_is_let_through, 0, 2);
    tcase_add_loop_test(tcase, a_start_up_that_may_be_in_flight_goes_on, 0, 2);
    tcase_add_test(tcase, one_round_learns_nothing);
    tcase_add_test(tcase, what_is_exempt_from_the_beginning_gets_no_mark);
    tcase_add_test(tcase, a_new_blocking_socket_is_not_taken_for_braked);
    tcase_add_test(tcase, what_is_unread_is_not_parked_while_a_request_is_out);
    tcase_add_test(tcase, unix_sockets_are_never_marked);
    tcase_add_test(tcase, what_is_released_has_time_to_be_read);
    tcase_add_loop_test(tcase, whose_turn_it_is, 0, 6);
    tcase_add_test(tcase, equal_ages_are_nobodys_turn);
    tcase_add_loop_test(tcase, a_turn_that_cannot_be_told_is_guessed_after_long, 0, 3);
    tcase_add_test(tcase, without_sock_diag_it_only_watches);
    tcase_add_test(tcase, an_exempt_handle_keeps_no_brake);
    tcase_add_loop_test(tcase, a_thread_with_a_transaction_elsewhere_is_let_through, 0, 3);
    tcase_add_test(tcase, a_transaction_on_a_handle_without_marks_counts);
    tcase_add_test(tcase, all_parked_then_released_then_still);
    tcase_add_test(tcase, frozen_nothing_is_ordered);
    tcase_add_loop_test(tcase, a_held_write_has_time_left, 0, TIMES_LEFT);
    tcase_add_test(tcase, what_stays_open_after_the_release_is_gathered_again);
    tcase_add_loop_test(tcase, what_is_held_is_parked_before_a_long_release, 0, 2);
    tcase_add_test(tcase, what_is_short_after_the_release_is_not);
    tcase_add_test(tcase, resting_releases_nobody);
    tcase_add_test(tcase, what_appears_or_goes_moves);
    tcase_add_test(tcase, what_is_given_up_is_not_waited_for);
    tcase_add_test(tcase, after_a_restart_all_is_marked_again);
    tcase_add_test(tcase, redis_is_held_only_when_stillness_does_not_come_without);
    tcase_add_loop_test(tcase, redis_after_a_commit_has_more_time, 0, 2);
    tcase_add_test(tcase, a_running_thread_has_more_time);
    tcase_add_test(tcase, redis_between_multi_and_exec_is_gathered);
    tcase_add_test(tcase, redis_alone_is_held_from_the_beginning);
    tcase_add_test(tcase, blocking_sockets_are_braked_only_when_it_takes_long);
    tcase_add_test(tcase, what_recv_keeps_is_parked_and_nudged_out_at_the_release);
    tcase_add_test(tcase, what_recv_keeps_is_unread_until_it_returns);
    tcase_add_loop_test(tcase, what_recv_keeps_inside_a_transaction_is_nudged_out, 0, 3);
    tcase_add_test(tcase, what_recv_keeps_is_nudged_out_when_it_is_let_through);
    tcase_add_test(tcase, by_name_only_nothing_is_held_on_anothers_session);
    tcase_add_test(tcase, by_name_only_a_session_too_few_holds_nobody);
    tcase_add_test(tcase, by_name_only_one_that_is_never_told_mixes_nobody);
    tcase_add_test(tcase, by_name_but_told_apart);
    tcase_add_test(tcase, while_sessions_are_told_apart_some_wait);
    tcase_add_test(tcase, telling_apart_ends);
    tcase_add_test(tcase, two_thousand_handles_cost_little);
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
