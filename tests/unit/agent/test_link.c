/* The agent's end of the channel: the order of messages, bad ones, the end of the stream, a supervisor that is slow. */
#include <check.h>
#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/link.h"
#include "wire/channel.h"

static struct ev_loop *loop;
static struct link *agent_link;
static int supervisor;
static int heard[MESSAGE_KINDS];
static int lost = -1;
static char lost_why[128];

static void hear(void *context, const void *message)
{
    (void)context;
    heard[((const struct message_header *)message)->kind]++;
}

static void lose(void *context, int failed, const char *why)
{
    (void)context;
    ck_assert_int_eq(lost, -1); /* once */
    lost = failed;
    snprintf(lost_why, sizeof lost_why, "%s", why);
}

static int agent_end;

static void open_link(double stuck_seconds)
{
    int ends[2];
    struct link_handlers handlers = {.lost = lose};
    for (int kind = 1; kind < MESSAGE_KINDS; kind++)
        handlers.of[kind] = hear;
    ck_assert_int_eq(channel_open_pair(ends), 0);
    supervisor = ends[0];
    agent_end = ends[1];
    loop = ev_loop_new(EVFLAG_AUTO);
    agent_link = link_create(loop, ends[1], stuck_seconds, &handlers);
    ck_assert_ptr_nonnull(agent_link);
}

static void close_link(void)
{
    link_destroy(agent_link);
    ev_loop_destroy(loop);
    close(agent_end);
    if (supervisor >= 0)
        close(supervisor);
}

static void turn(void)
{
    for (int i = 0; i < 8; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void say(unsigned kind, unsigned index)
{
    union {
        struct message_header header;
        struct message_settings settings;
        struct message_target target;
        struct message_ready ready;
        struct message_look look;
        struct message_end end;
        struct message_ended ended;
        struct message_predecessor predecessor;
    } message;
    static const uint32_t sizes[MESSAGE_KINDS] = {
        [MESSAGE_SETTINGS] = sizeof message.settings, [MESSAGE_TARGET] = sizeof message.target,
        [MESSAGE_READY] = sizeof message.ready, [MESSAGE_LOOK] = sizeof message.look,
        [MESSAGE_END] = sizeof message.end, [MESSAGE_ENDED] = sizeof message.ended,
        [MESSAGE_PREDECESSOR] = sizeof message.predecessor};
    memset(&message, 0, sizeof message);
    message.header = (struct message_header){sizes[kind], (uint16_t)kind, 0};
    if (kind == MESSAGE_SETTINGS)
        message.settings.supervisor_pid = 1;
    if (kind == MESSAGE_TARGET) {
        message.target.kind = TARGET_REDIS;
        message.target.index = (uint16_t)index;
    }
    ck_assert_int_eq(channel_send(supervisor, &message), 0);
}

static void say_all_up_to_ready(void)
{
    say(MESSAGE_SETTINGS, 0);
    say(MESSAGE_TARGET, 0);
    say(MESSAGE_TARGET, 1);
    say(MESSAGE_READY, 0);
}

START_TEST(hands_messages_on_in_their_order)
{
    open_link(5);
    say_all_up_to_ready();
    say(MESSAGE_LOOK, 0);
    say(MESSAGE_END, 0);
    say(MESSAGE_PREDECESSOR, 0);
    turn();
    ck_assert_int_eq(lost, -1);
    ck_assert_int_eq(heard[MESSAGE_PREDECESSOR], 1);
    ck_assert(heard[MESSAGE_SETTINGS] == 1 && heard[MESSAGE_TARGET] == 2 && heard[MESSAGE_READY] == 1);
    ck_assert(heard[MESSAGE_LOOK] == 1 && heard[MESSAGE_END] == 1);
    close_link();
}
END_TEST

static const struct { unsigned kinds[4], indices[4]; int count; } disorders[] = {
    {{MESSAGE_READY}, {0}, 1},
    {{MESSAGE_TARGET}, {0}, 1},
    {{MESSAGE_LOOK}, {0}, 1},
    {{MESSAGE_END}, {0}, 1},
    {{MESSAGE_PREDECESSOR}, {0}, 1},
    {{MESSAGE_ENDED}, {0}, 1},
    {{MESSAGE_SETTINGS, MESSAGE_SETTINGS}, {0}, 2},
    {{MESSAGE_SETTINGS, MESSAGE_LOOK}, {0}, 2},
    {{MESSAGE_SETTINGS, MESSAGE_TARGET}, {0, 1}, 2},
    {{MESSAGE_SETTINGS, MESSAGE_TARGET, MESSAGE_TARGET}, {0, 0, 0}, 3},
    {{MESSAGE_SETTINGS, MESSAGE_READY, MESSAGE_TARGET}, {0}, 3},
    {{MESSAGE_SETTINGS, MESSAGE_READY, MESSAGE_READY}, {0}, 3},
    {{MESSAGE_SETTINGS, MESSAGE_READY, MESSAGE_ENDED}, {0}, 3},
};

START_TEST(refuses_disorder)
{
    char why[64];
    open_link(5);
    for (int i = 0; i < disorders[_i].count; i++)
        say(disorders[_i].kinds[i], disorders[_i].indices[i]);
    turn();
    ck_assert_int_eq(lost, 1);
    snprintf(why, sizeof why, "%s came out of order", message_kind_name(disorders[_i].kinds[disorders[_i].count - 1]));
    ck_assert_str_eq(lost_why, why);
    close_link();
}
END_TEST

START_TEST(refuses_what_is_no_message)
{
    open_link(5);
    say_all_up_to_ready();
    ck_assert_int_eq(send(supervisor, "garbage", 7, 0), 7);
    say(MESSAGE_LOOK, 0);
    turn();
    ck_assert_int_eq(lost, 1);
    ck_assert_int_eq(heard[MESSAGE_READY], 1);
    ck_assert_int_eq(heard[MESSAGE_LOOK], 0);
    close_link();
}
END_TEST

START_TEST(ends_with_the_stream)
{
    open_link(5);
    say_all_up_to_ready();
    close(supervisor);
    supervisor = -1;
    turn();
    ck_assert_int_eq(heard[MESSAGE_READY], 1); /* what came before is heard */
    ck_assert_int_eq(lost, 0);
    close_link();
}
END_TEST

/* ROWS without rows, numbered. */
static void answer(uint32_t number)
{
    struct message_rows rows = {.header = {sizeof rows, MESSAGE_ROWS, 0}, .look = number, .last = 1};
    link_send(agent_link, &rows);
}

static uint32_t read_answer(void)
{
    static union channel_packet packet;
    const struct message_rows *rows = (const void *)packet.bytes;
    return channel_receive(supervisor, &packet) > 0 ? rows->look : 0;
}

START_TEST(queues_what_a_slow_supervisor_does_not_read)
{
    enum { MANY = 20000 };
    open_link(5);
    for (uint32_t i = 1; i <= MANY; i++)
        answer(i);
    uint32_t next = 1, last = MANY;
    for (int turns = 0; next <= MANY && turns < 2 * MANY; turns++) {
        for (uint32_t number; (number = read_answer());)
            ck_assert_uint_eq(number, next++);
        if (last < MANY + 100)
            answer(++last); /* there is room for it now, but it is not its turn */
        turn();
    }
    ck_assert_uint_ge(next, MANY + 1);
    ck_assert_int_eq(lost, -1);
    close_link();
}
END_TEST

static void run_until_lost(void)
{
    for (ev_tstamp end = ev_time() + 5; lost < 0 && ev_time() < end;)
        ev_run(loop, EVRUN_ONCE);
}

START_TEST(gives_up_a_supervisor_that_never_reads)
{
    open_link(0.1);
    for (uint32_t i = 1; i <= 5000; i++)
        answer(i);
    run_until_lost();
    ck_assert_int_eq(lost, 1);
    ck_assert_str_eq(lost_why, "the supervisor does not read");
    close_link();
}
END_TEST

static void break_loop(struct ev_loop *l, ev_timer *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(l, EVBREAK_ONE);
}

static void run_for(double seconds)
{
    ev_timer timer;
    ev_timer_init(&timer, break_loop, seconds, 0.);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    ev_timer_stop(loop, &timer);
}

START_TEST(a_slow_supervisor_is_not_given_up)
{
    open_link(0.8);
    for (uint32_t i = 1; i <= 40000; i++)
        answer(i);
    for (int i = 0; i < 10; i++) { /* 2 s in all, and never done */
        while (read_answer())
            ;
        run_for(0.2);
    }
    ck_assert_int_eq(lost, -1);
    ck_assert_uint_ne(read_answer(), 0);
    close_link();
}
END_TEST

START_TEST(keeps_the_queue_bounded)
{
    open_link(60);
    for (uint32_t i = 1; i <= LINK_QUEUE_BYTES / sizeof(struct message_rows) + 20000; i++)
        answer(i);
    ck_assert_int_eq(lost, -1); /* never from within link_send() */
    run_until_lost();
    ck_assert_int_eq(lost, 1);
    close_link();
}
END_TEST

START_TEST(notices_the_end_while_sending)
{
    open_link(5);
    close(supervisor);
    supervisor = -1;
    answer(1);
    answer(2);
    run_until_lost();
    ck_assert_int_eq(lost, 0);
    close_link();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link");
    TCase *all = tcase_create("link");
    tcase_set_timeout(all, 30);
    tcase_add_test(all, hands_messages_on_in_their_order);
    tcase_add_loop_test(all, refuses_disorder, 0, sizeof disorders / sizeof *disorders);
    tcase_add_test(all, refuses_what_is_no_message);
    tcase_add_test(all, ends_with_the_stream);
    tcase_add_test(all, queues_what_a_slow_supervisor_does_not_read);
    tcase_add_test(all, gives_up_a_supervisor_that_never_reads);
    tcase_add_test(all, a_slow_supervisor_is_not_given_up);
    tcase_add_test(all, keeps_the_queue_bounded);
    tcase_add_test(all, notices_the_end_while_sending);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
