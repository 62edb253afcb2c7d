/* The sampler: rounds, their order, what replaces what, what goes out; with targets that answer when they are told. */
#include <check.h>
#include <stdio.h>
#include <sys/queue.h>
#include <time.h>

#include "agent/sampler.h"
#include "common/clock.h"
#include "common/log.h"
#include "app_child.h"
#include "fake_target.h"
#include "sockets_help.h"

/* What was sent, whole, in its order. */
struct sent {
    STAILQ_ENTRY(sent) next;
    _Alignas(8) unsigned char bytes[];
};
static STAILQ_HEAD(sent_list, sent) sent, taken;
static struct ev_loop *loop;
static struct sampler *sampler;

static void keep(void *context, const void *message)
{
    const struct message_header *header = message;
    struct sent *copy = malloc(sizeof *copy + header->size);
    (void)context;
    ck_assert_msg(message_is_valid(message, header->size), "an invalid %s", message_kind_name(header->kind));
    memcpy(copy->bytes, message, header->size);
    STAILQ_INSERT_TAIL(&sent, copy, next);
}

/* Takes the next message; it must be of this kind. */
static const void *next_sent(unsigned kind)
{
    struct sent *first = STAILQ_FIRST(&sent);
    ck_assert_msg(first != NULL, "no %s was sent", message_kind_name(kind));
    STAILQ_REMOVE_HEAD(&sent, next);
    STAILQ_INSERT_TAIL(&taken, first, next);
    ck_assert_str_eq(message_kind_name(((struct message_header *)first->bytes)->kind), message_kind_name(kind));
    return first->bytes;
}

static void assert_nothing_sent(void)
{
    ck_assert(STAILQ_EMPTY(&sent));
}

/* Runs the loop until something was sent, or for so long. */
static void stop_loop(struct ev_loop *l, ev_timer *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(l, EVBREAK_ONE);
}

static void run_until_sent(double seconds)
{
    ev_timer limit;
    ev_timer_init(&limit, stop_loop, seconds, 0.);
    ev_timer_start(loop, &limit);
    while (STAILQ_EMPTY(&sent) && ev_is_active(&limit))
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &limit);
}

static void start(unsigned targets, uint16_t port, int64_t interval_us)
{
    struct message_settings settings = {.sample_interval_us = interval_us, .supervisor_pid = getpid(), .query_text = 1,
                                        .application_name = "lastcall/web"};
    log_init("test", LOG_LEVEL_ERROR);
    STAILQ_INIT(&sent);
    STAILQ_INIT(&taken);
    loop = ev_loop_new(EVFLAG_AUTO);
    sampler = sampler_create(loop, &settings, keep, NULL);
    for (unsigned i = 0; i < targets; i++) {
        struct message_target target = {.index = (uint16_t)i, .kind = TARGET_POSTGRES, .server = -1};
        snprintf(target.name, sizeof target.name, "pg%u", i);
        snprintf(target.params, sizeof target.params, "port=%u", port);
        ck_assert_int_eq(sampler_add_target(sampler, &target), 0);
    }
    sampler_start(sampler);
}

static void finish(void)
{
    STAILQ_CONCAT(&sent, &taken);
    for (struct sent *first; (first = STAILQ_FIRST(&sent));) {
        STAILQ_REMOVE_HEAD(&sent, next);
        free(first);
    }
    sampler_destroy(sampler);
    ev_loop_destroy(loop);
}

static void look(uint32_t number, uint32_t answer_ms)
{
    struct message_look message = {.look = number, .answer_ms = answer_ms, .want_text = 1};
    sampler_look(sampler, &message);
}

static void assert_state(uint32_t number, unsigned target, int answered, const char *why)
{
    const struct message_target_state *state = next_sent(MESSAGE_TARGET_STATE);
    ck_assert_uint_eq(state->look, number);
    ck_assert_uint_eq(state->target, target);
    ck_assert_int_eq(state->answered, answered);
    ck_assert_msg(strstr(state->why, why) != NULL, "%s", state->why);
    ck_assert_int_eq(state->answer_us, answered ? 22 : -1);
    ck_assert_int_eq(state->server_max, answered ? 100 : -1);
}

static const struct message_rows *assert_rows(uint32_t number, unsigned count, int last)
{
    const struct message_rows *rows = next_sent(MESSAGE_ROWS);
    ck_assert_uint_eq(rows->look, number);
    ck_assert_uint_eq(rows->header.count, count);
    ck_assert_int_eq(rows->last, last);
    ck_assert_int_eq(rows->sockets_seen, 1);
    ck_assert_int_eq(rows->owners_seen, 1);
    return rows;
}

/* No server is asked, and nothing is said of the targets. */
START_TEST(looks_at_what_comes_in_alone)
{
    struct message_look message = {.look = 7, .answer_ms = 1000, .inbound = INBOUND_ALONE};
    start(1, 1, 0);
    sampler_look(sampler, &message);
    ck_assert_int_eq(fake_targets[0]->asked, 0);
    const struct message_inbound *inbound = next_sent(MESSAGE_INBOUND);
    ck_assert_uint_eq(inbound->look, 7);
    ck_assert_uint_eq(inbound->sockets_seen, 1);
    const struct message_rows *rows = next_sent(MESSAGE_ROWS);
    ck_assert(rows->look == 7 && rows->last && rows->alone && rows->header.count == 0);
    assert_nothing_sent();
    message.look = 8;
    message.inbound = INBOUND_TOO;
    sampler_look(sampler, &message);
    ck_assert_int_eq(fake_targets[0]->asked, 1);
    finish();
}
END_TEST

START_TEST(answers_when_all_have_answered)
{
    start(2, 1, 0);
    ck_assert_str_eq(fake_targets[0]->application_name, "lastcall-agent/web");
    ck_assert_int_eq(fake_targets[0]->asked, 0); /* no interval: nothing unasked */
    assert_nothing_sent();
    look(5, 1000);
    ck_assert(fake_targets[0]->asked == 1 && fake_targets[1]->asked == 1);
    ck_assert(fake_targets[0]->want_text);
    ck_assert_int_le(fake_targets[0]->limit_us, 1000000);
    fake_answer(1, NULL, 0, NULL);
    assert_nothing_sent();
    fake_answer(0, NULL, 3, "password authentication failed");
    assert_state(5, 0, 0, "password authentication failed");
    assert_state(5, 1, 1, "");
    assert_rows(5, 0, 1);
    assert_nothing_sent();
    finish();
}
END_TEST

START_TEST(answers_when_the_time_is_up)
{
    start(2, 1, 0);
    int64_t began = clock_now_us();
    look(5, 100);
    fake_answer(0, NULL, 0, NULL);
    run_until_sent(5);
    ck_assert_int_ge(clock_now_us() - began, 99000);
    ck_assert_int_lt(clock_now_us() - began, 1000000);
    assert_state(5, 0, 1, "");
    assert_state(5, 1, 0, "no answer within 10");
    assert_rows(5, 0, 1);
    fake_answer(1, NULL, 0, NULL); /* too late: for nobody */
    assert_nothing_sent();
    look(6, 1000);
    ck_assert_int_eq(fake_targets[1]->asked, 2);
    finish();
}
END_TEST

START_TEST(a_new_look_replaces_an_unanswered_one)
{
    struct session session = {.id = 9};
    start(2, 1, 0);
    look(5, 1000);
    fake_answer(0, NULL, 0, NULL);
    look(6, 1000);
    ck_assert_int_eq(fake_targets[0]->asked, 2); /* what it answered was before the new look */
    ck_assert_int_eq(fake_targets[1]->asked, 1); /* still under way from the old one */
    fake_answer(0, NULL, 0, NULL);
    assert_nothing_sent();
    fake_answer(1, &session, 1, NULL); /* the old question's: not counted, asked again */
    assert_nothing_sent();
    ck_assert_int_eq(fake_targets[1]->asked, 2);
    fake_answer(1, &session, 1, NULL);
    assert_state(6, 0, 1, "");
    assert_state(6, 1, 1, "");
    assert_rows(6, 0, 1);
    assert_nothing_sent();
    finish();
}
END_TEST

START_TEST(a_probe_stuck_since_the_old_look_is_not_counted)
{
    start(1, 1, 0);
    look(5, 1000);
    look(6, 50);
    run_until_sent(5);
    assert_state(6, 0, 0, "no answer within ");
    assert_rows(6, 0, 1);
    fake_answer(0, NULL, 0, NULL);
    assert_nothing_sent();
    ck_assert_int_eq(fake_targets[0]->asked, 1); /* nobody waits any more: not asked again */
    finish();
}
END_TEST

START_TEST(samples_by_itself)
{
    start(1, 1, 100000);
    ck_assert_int_eq(fake_targets[0]->asked, 1); /* at once: connects */
    fake_answer(0, NULL, 0, NULL);
    assert_state(0, 0, 1, "");
    assert_rows(0, 0, 1);
    for (int64_t end = clock_now_us() + 3000000; fake_targets[0]->asked < 2 && clock_now_us() < end;)
        ev_run(loop, EVRUN_ONCE);
    ck_assert_int_eq(fake_targets[0]->asked, 2);
    look(7, 1000); /* takes the sample's place */
    fake_answer(0, NULL, 0, NULL);
    fake_answer(0, NULL, 0, NULL);
    assert_state(7, 0, 1, "");
    assert_rows(7, 0, 1);
    look(8, 1000); /* the interval passes while it runs: no sample takes its place */
    int asked = fake_targets[0]->asked;
    run_until_sent(0.3);
    fake_answer(0, NULL, 0, NULL);
    assert_state(8, 0, 1, "");
    ck_assert_int_eq(fake_targets[0]->asked, asked);
    finish();
}
END_TEST

START_TEST(a_target_that_cannot_be_made_is_down)
{
    fake_create_error = EINVAL;
    start(1, 1, 0);
    look(5, 1000); /* nobody to wait for */
    const struct message_target_state *state = next_sent(MESSAGE_TARGET_STATE);
    ck_assert_int_eq(state->up, TARGET_DOWN);
    ck_assert_ptr_nonnull(strstr(state->why, "Invalid argument"));
    ck_assert_int_eq(state->asked_at_us, -1);
    assert_rows(5, 0, 1);
    finish();
}
END_TEST

START_TEST(says_why_a_target_is_not_up)
{
    start(1, 1, 0);
    fake_targets[0]->up = TARGET_DOWN;
    fake_targets[0]->translated = 1;
    look(5, 20);
    run_until_sent(5);
    const struct message_target_state *state = next_sent(MESSAGE_TARGET_STATE);
    ck_assert_int_eq(state->up, TARGET_DOWN);
    ck_assert_int_eq(state->translated, 1);
    ck_assert_ptr_nonnull(strstr(state->why, "no answer within 2"));
    ck_assert_ptr_nonnull(strstr(state->why, " ms: nobody listens"));
    finish();
}
END_TEST

START_TEST(a_dead_target_does_not_hold_up_a_round)
{
    start(2, 1, 0);
    fake_targets[1]->up = TARGET_DOWN;
    int64_t began = clock_now_us();
    look(5, 5000);
    run_until_sent(0.2); /* nobody has answered, and one is alive */
    assert_nothing_sent();
    ck_assert_int_ge(clock_now_us() - began, 190000);
    fake_answer(0, NULL, 0, NULL);
    assert_state(5, 0, 1, "");
    assert_state(5, 1, 0, "nobody listens");
    assert_rows(5, 0, 1);
    began = clock_now_us();
    look(6, 5000);
    fake_answer(0, NULL, 0, NULL);
    assert_nothing_sent(); /* a little patience: it may just be connecting again */
    run_until_sent(5);
    ck_assert_int_ge(clock_now_us() - began, 49000);
    ck_assert_int_lt(clock_now_us() - began, 1000000);
    assert_state(6, 0, 1, "");
    assert_state(6, 1, 0, "nobody listens");
    next_sent(MESSAGE_ROWS);
    fake_targets[1]->up = TARGET_CONNECTING; /* again: it is no less dead */
    began = clock_now_us();
    look(7, 5000);
    fake_answer(0, NULL, 0, NULL);
    run_until_sent(5);
    ck_assert_int_lt(clock_now_us() - began, 1000000);
    next_sent(MESSAGE_TARGET_STATE);
    next_sent(MESSAGE_TARGET_STATE);
    next_sent(MESSAGE_ROWS);
    fake_targets[1]->up = TARGET_UP; /* it is waited for */
    look(8, 300);
    fake_answer(0, NULL, 0, NULL);
    run_until_sent(0.2);
    assert_nothing_sent();
    finish();
}
END_TEST

START_TEST(a_target_that_never_connects_costs_one_round)
{
    start(1, 1, 0);
    fake_targets[0]->up = TARGET_CONNECTING;
    int64_t began = clock_now_us();
    look(5, 200);
    run_until_sent(5);
    ck_assert_int_ge(clock_now_us() - began, 199000);
    assert_state(5, 0, 0, "no answer within 20");
    assert_rows(5, 0, 1);
    look(6, 5000);
    run_until_sent(5);
    ck_assert_int_lt(clock_now_us() - began, 1500000);
    assert_state(6, 0, 0, "no answer within ");
    finish();
}
END_TEST

static void connect_many(int talk, void *context)
{
    const struct listener *listener = context;
    for (int i = 0; i < 150; i++)
        connect_to("127.0.0.1", listener->port);
    app_child_step(talk);
}

START_TEST(sends_many_rows_in_packets)
{
    struct listener listener = listen_anywhere();
    struct app_child child = app_child_start(connect_many, &listener);
    struct session session = {.state = SESSION_IDLE, .id = 5, .query = "commit", .state_age_us = -1,
                              .transaction_age_us = -1};
    start(1, listener.port, 0);
    fake_targets[0]->addresses[0] = endpoint_from_bytes(AF_INET, "\x7f\0\0\1", 0);
    fake_targets[0]->address_count = 1;
    look(5, 1000);
    fake_answer(0, NULL, 0, NULL);
    next_sent(MESSAGE_TARGET_STATE);
    const struct message_rows *rows = assert_rows(5, 64, 0);
    ck_assert_int_eq(rows->rows[0].state, SESSION_ABSENT);
    ck_assert_int_eq(rows->rows[0].pid, child.pid);
    session.client = rows->rows[63].local;
    assert_rows(5, 64, 0);
    ck_assert_int_ge(assert_rows(5, 22, 1)->took_us, 0);
    assert_nothing_sent();
    look(6, 1000);
    fake_answer(0, &session, 1, NULL);
    next_sent(MESSAGE_TARGET_STATE);
    rows = assert_rows(6, 64, 0);
    ck_assert_int_eq(rows->rows[63].state, SESSION_IDLE);
    ck_assert_str_eq(rows->rows[63].query, "commit");
    ck_assert_int_le(rows->rows[63].looked_at_us, clock_now_us());
    finish();
    app_child_end(&child);
}
END_TEST

/* An END for `count` sessions. */
static const struct message_end *end_of(uint16_t target, uint16_t count)
{
    static union {
        struct message_end message;
        unsigned char room[sizeof(struct message_end) + 4 * sizeof(struct end_session)];
    } end;
    memset(&end, 0, sizeof end);
    end.message.header = (struct message_header){(uint32_t)(sizeof end.message + count * sizeof(struct end_session)),
                                                 MESSAGE_END, count};
    end.message.request = 77;
    end.message.target = target;
    return &end.message;
}

static const struct message_ended *assert_ended(unsigned count, const char *why)
{
    const struct message_ended *ended = next_sent(MESSAGE_ENDED);
    ck_assert_uint_eq(ended->request, 77);
    ck_assert_uint_eq(ended->header.count, count);
    ck_assert_msg(strstr(ended->why, why) != NULL, "%s", ended->why);
    return ended;
}

START_TEST(ends_sessions_beside_a_look)
{
    static const uint8_t how[] = {ENDED_BY_COMMAND, ENDED_STILL_THERE};
    start(1, 1, 0);
    look(5, 1000);
    sampler_end(sampler, end_of(0, 2));
    assert_nothing_sent();
    ck_assert_uint_eq(fake_targets[0]->request, 77);
    fake_targets[0]->ended(fake_targets[0]->ended_context, fake_targets[0], 77, how, 2, "backend 12 does not end");
    ck_assert_mem_eq(assert_ended(2, "backend 12 does not end")->how, how, 2);
    fake_answer(0, NULL, 0, NULL);
    assert_state(5, 0, 1, "");
    finish();
}
END_TEST

START_TEST(says_when_sessions_cannot_be_ended)
{
    start(1, 1, 0);
    fake_end_error = ENOMEM;
    sampler_end(sampler, end_of(0, 3));
    const struct message_ended *ended = assert_ended(3, "Cannot allocate memory");
    ck_assert_int_eq(ended->target, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ended->how[i], ENDED_UNKNOWN);
    sampler_end(sampler, end_of(1, 1));
    assert_ended(1, "no such target");
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *all = tcase_create("sampler");
    tcase_set_timeout(all, 20);
    tcase_add_test(all, looks_at_what_comes_in_alone);
    tcase_add_test(all, answers_when_all_have_answered);
    tcase_add_test(all, answers_when_the_time_is_up);
    tcase_add_test(all, a_new_look_replaces_an_unanswered_one);
    tcase_add_test(all, a_probe_stuck_since_the_old_look_is_not_counted);
    tcase_add_test(all, samples_by_itself);
    tcase_add_test(all, a_target_that_cannot_be_made_is_down);
    tcase_add_test(all, says_why_a_target_is_not_up);
    tcase_add_test(all, a_dead_target_does_not_hold_up_a_round);
    tcase_add_test(all, a_target_that_never_connects_costs_one_round);
    tcase_add_test(all, sends_many_rows_in_packets);
    tcase_add_test(all, ends_sessions_beside_a_look);
    tcase_add_test(all, says_when_sessions_cannot_be_ended);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
