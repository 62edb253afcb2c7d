/* flows: which handle at its boundary is let through because an open transaction elsewhere waits for it, where no thread
 * tells: an event loop whose flows need two connections. */
#include "scene.h"

static struct scene scene;

enum { BEGIN = 12, NESTED = 30 }; /* lengths of what the app writes */

/* `open` handles in a transaction at the app's turn, the rest idle; all of one event loop. */
static void loop(unsigned count, unsigned open)
{
    scene_init(&scene, HOLD_MARKS, count, POSTGRES);
    for (unsigned i = 0; i < count; i++) {
        scene.rows[i].epoll = 1;
        if (i >= open)
            continue;
        scene.rows[i].state = SESSION_IN_TRANSACTION;
        scene.rows[i].state_age_us = MS;
        scene.rows[i].state_change++;
    }
    scene_until(&scene, STAGE_GATHER, MS);
}

static void go(void)
{
    scene_round(&scene, MS);
    scene_hands(&scene);
}

static void only_events(bool yes)
{
    for (unsigned i = 0; i < SCENE_ROWS; i++)
        scene.hints[i].only_events = yes;
}

static bool through(unsigned i)
{
    return scene_handle(&scene, i)->through;
}

/* The app begins a transaction on it: held, then let go, and begun. */
static void begins(unsigned i)
{
    scene_writes(&scene, i, BEGIN);
    scene_round(&scene, MS);
    ck_assert_int_eq(scene_standing(&scene, i), STANDING_HELD);
    scene_leaves(&scene, i, BEGIN);
    scene.rows[i].bytes_received += 20;
    scene.rows[i].state = SESSION_IN_TRANSACTION;
    scene.rows[i].state_change++;
    scene.rows[i].last_sent_ms = 8, scene.rows[i].last_received_ms = 4;
    scene_round(&scene, MS);
}

/* Nothing can wake the app but a reply: what the open transaction waits for is here. */
START_TEST(without_a_timer_it_is_let_through_at_once)
{
    loop(2, 1);
    only_events(_i == 1);
    scene_writes(&scene, 1, NESTED);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    ck_assert_int_eq(through(1), _i == 1);
}
END_TEST

/* A look at the timers that does not show the same twice proves nothing. */
START_TEST(one_look_at_the_timers_is_not_enough)
{
    loop(2, 1);
    scene_writes(&scene, 1, NESTED);
    for (int round = 0; round < 10; round++) {
        only_events(round % 2);
        scene_round(&scene, MS);
    }
    ck_assert(!through(1));
}
END_TEST

START_TEST(one_for_each_that_waits)
{
    loop(6, 2);
    only_events(true);
    for (unsigned i = 2; i < 6; i++)
        scene_writes(&scene, i, NESTED);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    unsigned count = 0;
    for (unsigned i = 0; i < 6; i++)
        count += through(i);
    ck_assert_int_eq(count, 2);
}
END_TEST

/* What begins a transaction is waited for by nobody, mostly: one at a time, and only when nothing moves for long. */
START_TEST(the_likelier_one_first)
{
    loop(4, 2);
    begins(3);
    scene.rows[3].state = SESSION_IDLE;
    go();
    scene_writes(&scene, 2, NESTED);
    scene_writes(&scene, 3, BEGIN);
    only_events(true);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    ck_assert(through(2));
    ck_assert(!through(3));
    for (int round = 0; round < 20; round++)
        scene_round(&scene, MS);
    ck_assert(through(3));
}
END_TEST

/* Who was let through and begins a transaction was not waited for: it is held there. */
START_TEST(it_is_stopped_where_it_begins_another)
{
    loop(3, 1);
    begins(2);
    scene.rows[2].state = SESSION_IDLE;
    go();
    only_events(true);
    scene_writes(&scene, 1, NESTED);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    ck_assert(through(1));
    scene_hands(&scene); /* it goes out, and the next one is there before the next look */
    scene_reply_comes(&scene, 1, 10);
    scene_reads(&scene, 1);
    scene_writes(&scene, 1, BEGIN);
    scene_round(&scene, MS);
    ck_assert_int_eq(scene_standing(&scene, 1), STANDING_HELD);
    ck_assert(!through(1));
    scene_round(&scene, MS);
    ck_assert(!scene_order(&scene, 1)->step);
}
END_TEST

/* It has opened a transaction and waits in it for another one: an open one like the others. */
START_TEST(a_guess_that_opened_a_transaction_is_over)
{
    loop(3, 1);
    only_events(true);
    scene_writes(&scene, 1, NESTED);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    ck_assert(through(1));
    scene_hands(&scene);
    scene.rows[1].state = SESSION_IN_TRANSACTION;
    scene.rows[1].state_change++;
    scene.rows[1].bytes_received += 10;
    scene.rows[1].last_sent_ms = 8, scene.rows[1].last_received_ms = 4;
    for (int round = 0; round < 4; round++)
        scene_round(&scene, MS);
    ck_assert(!through(1));
    scene_writes(&scene, 2, NESTED + 1); /* what one of the two waits for */
    for (int round = 0; round < 10; round++)
        scene_round(&scene, MS);
    ck_assert(through(2));
}
END_TEST

/* An idle session that is only not known to be answered is no open transaction: it keeps no guess back. */
START_TEST(an_unknown_idle_session_keeps_nothing_back)
{
    loop(3, 1);
    only_events(true);
    scene.rows[2].last_sent_ms = scene.rows[2].last_received_ms = 0;
    scene.rows[2].bytes_sent += 10, scene.rows[2].bytes_received += 10;
    scene_writes(&scene, 1, NESTED);
    for (int round = 0; round < 6; round++)
        scene_round(&scene, MS);
    ck_assert_int_eq(scene_standing(&scene, 2), STANDING_IN_FLIGHT);
    ck_assert(through(1));
}
END_TEST

static void finish(void)
{
    scene_finish(&scene);
}

int main(void)
{
    Suite *suite = suite_create("flows");
    TCase *tcase = tcase_create("flows");
    tcase_add_checked_fixture(tcase, NULL, finish);
    tcase_add_loop_test(tcase, without_a_timer_it_is_let_through_at_once, 0, 2);
    tcase_add_test(tcase, one_look_at_the_timers_is_not_enough);
    tcase_add_test(tcase, one_for_each_that_waits);
    tcase_add_test(tcase, the_likelier_one_first);
    tcase_add_test(tcase, it_is_stopped_where_it_begins_another);
    tcase_add_test(tcase, a_guess_that_opened_a_transaction_is_over);
    tcase_add_test(tcase, an_unknown_idle_session_keeps_nothing_back);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
