/* socket: the marks on real TCP connections over loopback, and what both ends see of them. */
#include <netinet/tcp.h>
#include <stdlib.h>

#include "loopback.h"
#include "supervisor/handles/socket.h"

enum { FOR_A_WHILE_MS = 60, FLUSH_MS = 1000 };

static struct socket_counters counters_of(int fd)
{
    struct socket_counters counters;

    ck_assert_int_eq(socket_read_counters(fd, &counters), 0);
    return counters;
}

static struct link corked(void)
{
    struct link link = link_open();

    ck_assert_int_eq(socket_set_cork(link.app, true), 0);
    return link;
}

START_TEST(counters_count)
{
    struct link link = link_open();

    write_text(link.app, "request");
    write_text(link.server, "a reply");
    ck_assert(wakes(link.app, 1000));
    ck_assert(wait_until(counters_of(link.app).unacked == 0));
    struct socket_counters counters = counters_of(link.app);
    ck_assert_uint_eq(counters.sent, 7);
    ck_assert_uint_eq(counters.received, 7);
    ck_assert_uint_eq(counters.unread, 7);
    ck_assert_uint_eq(counters.unsent, 0);
    ck_assert_uint_eq(counters.tcp_state, TCP_ESTABLISHED);
    ck_assert_str_eq(read_text(link.app, 1000), "a reply");
    ck_assert_uint_eq(counters_of(link.app).unread, 0);
}
END_TEST

START_TEST(counters_of_what_is_no_tcp_socket)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    write_text(pair[1], "unread");
    ck_assert_uint_eq(counters_of(pair[0]).tcp_state, 0);
    ck_assert_uint_eq(counters_of(pair[0]).unread, 6);
    struct socket_counters counters;
    ck_assert_int_eq(socket_read_counters(-1, &counters), -1);
}
END_TEST

START_TEST(cork_keeps_a_write)
{
    struct link link = corked();

    ck_assert_int_eq(socket_get_cork(link.app), 1);
    write_text(link.app, "kept");
    ck_assert_str_eq(read_text(link.server, FOR_A_WHILE_MS), "");
    ck_assert_uint_eq(counters_of(link.app).unsent, 4);
    ck_assert_uint_eq(counters_of(link.app).sent, 0);
    ck_assert_int_eq(socket_set_cork(link.app, false), 0);
    ck_assert_str_eq(read_text(link.server, 1000), "kept");
    ck_assert_int_eq(socket_get_cork(link.app), 0);
}
END_TEST

START_TEST(cork_keeps_it_200_ms_and_stays)
{
    struct link link = corked();
    int64_t began_us = clock_now_us();

    write_text(link.app, "late");
    ck_assert_str_eq(read_text(link.server, FLUSH_MS), "late");
    int64_t took_us = clock_now_us() - began_us;
    ck_assert_int_ge(took_us, 150 * US_PER_MS);
    ck_assert_int_eq(socket_get_cork(link.app), 1);
}
END_TEST

/* Both values that the app may have given to TCP_NODELAY. */
START_TEST(step_sends_what_is_queued_and_keeps_the_cork)
{
    struct link link = corked();

    set_option_of(link.app, IPPROTO_TCP, TCP_NODELAY, _i);
    for (int turn = 0; turn < 3; turn++) {
        write_text(link.app, "first ");
        write_text(link.app, "second");
        ck_assert_str_eq(read_text(link.server, 10), "");
        ck_assert_int_eq(socket_step(link.app), 0);
        ck_assert_str_eq(read_text(link.server, 1000), "first second");
        ck_assert_int_eq(nodelay_of(link.app), _i);
        ck_assert_int_eq(cork_of(link.app), 1);
        ck_assert_uint_eq(counters_of(link.app).unsent, 0);
    }
    write_text(link.app, "third");
    ck_assert_str_eq(read_text(link.server, FOR_A_WHILE_MS), "");
    ck_assert_uint_eq(counters_of(link.app).unsent, 5);
}
END_TEST

/* Under Nagle's rule an uncork would send nothing while data is on the way: a step does. */
START_TEST(step_sends_while_data_is_not_acknowledged)
{
    struct link link = corked();

    set_option_of(link.app, IPPROTO_TCP, TCP_NODELAY, _i);
    for (int i = 0; i < 5; i++) {
        write_text(link.app, "x");
        ck_assert_int_eq(socket_step(link.app), 0);
        ck_assert_uint_eq(counters_of(link.app).unsent, 0);
        ck_assert_int_eq(nodelay_of(link.app), _i);
    }
    ck_assert_int_eq(strspn(read_text(link.server, 1000), "x"), 5);
}
END_TEST

/* What the congestion window keeps back of a step goes out as soon as it opens, long before a cork's 200 ms. */
START_TEST(step_goes_on_when_the_window_opens)
{
    struct link link = corked();
    int64_t began_us = clock_now_us();

    set_option_of(link.app, IPPROTO_TCP, TCP_NODELAY, _i);
    for (int i = 0; i < 50; i++) {
        write_text(link.app, "x");
        ck_assert_int_eq(socket_step(link.app), 0);
    }
    ck_assert(wait_until(counters_of(link.app).unsent == 0));
    ck_assert_int_lt(clock_now_us() - began_us, 150 * US_PER_MS);
    ck_assert_int_eq(strspn(read_text(link.server, 1000), "x"), 50);
}
END_TEST

START_TEST(step_on_an_empty_queue_changes_nothing)
{
    struct link link = corked();

    ck_assert_int_eq(socket_step(link.app), 0);
    write_text(link.app, "kept all the same");
    ck_assert_str_eq(read_text(link.server, FOR_A_WHILE_MS), "");
    ck_assert_int_eq(socket_step(-1), -1);
}
END_TEST

START_TEST(brake_delays_the_wake_up)
{
    struct link link = link_open();
    struct socket_brake brake;

    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    write_text(link.server, "a reply");
    ck_assert(!wakes(link.app, FOR_A_WHILE_MS));
    ck_assert_uint_eq(counters_of(link.app).unread, 7);
    ck_assert_int_eq(socket_release_brake(link.app, &brake), 0);
    ck_assert(wakes(link.app, 1000));
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert_str_eq(read_text(link.app, 1000), "a reply");
}
END_TEST

/* Whoever waits in poll(2) already is woken by the release alone. */
START_TEST(brakes_release_wakes_who_waits)
{
    struct link link = link_open();
    struct socket_brake brake;

    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    pid_t app = fork();
    if (app == 0)
        _exit(wakes(link.app, 10000) ? 0 : 1);
    int status;
    write_text(link.server, "a reply");
    ck_assert(!wakes(link.app, FOR_A_WHILE_MS));
    ck_assert_int_eq(waitpid(app, &status, WNOHANG), 0);
    ck_assert_int_eq(socket_release_brake(link.app, &brake), 0);
    ck_assert_int_eq(waitpid(app, &status, 0), app);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(brake_lets_large_replies_and_the_end_through)
{
    static char large[40000];
    struct link link = link_open();
    struct socket_brake brake;

    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    memset(large, 'x', sizeof large);
    ck_assert_int_eq(send(link.server, large, sizeof large, 0), sizeof large);
    ck_assert(wakes(link.app, 1000));
    while (*read_text(link.app, 10))
        ;
    ck_assert(!wakes(link.app, 10));
    close(link.server);
    ck_assert(wakes(link.app, 1000));
}
END_TEST

static const int lowats[] = {1, 5, 100, 32749, 65536};

START_TEST(brake_gives_back_what_the_app_had_set)
{
    struct link link = link_open();
    struct socket_brake brake;

    set_option_of(link.app, SOL_SOCKET, SO_RCVLOWAT, lowats[_i]);
    int before = lowat_of(link.app);
    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    ck_assert_int_ge(lowat_of(link.app), 32749);
    ck_assert_int_eq(socket_release_brake(link.app, &brake), 0);
    /* 32749 is ours: one that was left behind. */
    ck_assert_int_eq(lowat_of(link.app), before == 32749 ? 1 : before);
}
END_TEST

START_TEST(brake_leaves_alone_what_the_app_sets_meanwhile)
{
    struct link link = link_open();
    struct socket_brake brake;

    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    set_option_of(link.app, SOL_SOCKET, SO_RCVLOWAT, 77);
    ck_assert_int_eq(socket_release_brake(link.app, &brake), 0);
    ck_assert_int_eq(lowat_of(link.app), 77);
}
END_TEST

START_TEST(brake_on_a_small_receive_buffer)
{
    struct link link = link_open();
    struct socket_brake brake;

    set_option_of(link.app, SOL_SOCKET, SO_RCVBUF, 8192); /* the kernel allows half of the doubled size */
    ck_assert_int_eq(socket_set_brake(link.app, &brake), 0);
    ck_assert_int_lt(lowat_of(link.app), 32749);
    write_text(link.server, "a reply");
    ck_assert(!wakes(link.app, FOR_A_WHILE_MS));
    ck_assert_int_eq(socket_release_brake(link.app, &brake), 0);
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert(wakes(link.app, 1000));
}
END_TEST

START_TEST(marks_of_what_is_no_tcp_socket)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(socket_set_cork(pair[0], true), -1);
    ck_assert_int_eq(socket_get_cork(pair[0]), -1);
    ck_assert_int_eq(socket_step(pair[0]), -1);
}
END_TEST

START_TEST(blocking_or_not)
{
    struct link link = link_open();

    ck_assert(!socket_blocks(link.app));
    fcntl(link.app, F_SETFL, 0);
    ck_assert(socket_blocks(link.app));
    ck_assert(!socket_blocks(-1));
}
END_TEST

/* An app that says its goodbye and closes while it is corked: nothing of it is lost. */
START_TEST(close_flushes_what_was_held)
{
    struct link link = corked();

    write_text(link.app, "goodbye");
    close(link.app);
    ck_assert_str_eq(read_text(link.server, 100), "goodbye");
    ck_assert(stream_ended(link.server));
}
END_TEST

START_TEST(peer_has_closed)
{
    struct link link = link_open();
    int pair[2];

    ck_assert(!socket_peer_has_closed(link.app));
    write_text(link.server, "the last word");
    ck_assert(!socket_peer_has_closed(link.app));
    close(link.server);
    ck_assert(wait_until(socket_peer_has_closed(link.app)));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert(!socket_peer_has_closed(pair[0]));
    close(pair[1]);
    ck_assert(socket_peer_has_closed(pair[0]));
}
END_TEST

START_TEST(terminate_is_the_last_that_is_said)
{
    struct link link = link_open();
    char got[16];

    ck_assert_int_eq(socket_say_terminate(link.app), 0);
    ck_assert(wakes(link.server, 1000));
    ck_assert_int_eq(recv(link.server, got, sizeof got, MSG_DONTWAIT), 5);
    ck_assert_mem_eq(got, "X\0\0\0\4", 5);
    ck_assert(stream_ended(link.server));
    ck_assert_int_eq(socket_say_terminate(link.app), -1);
    ck_assert_int_eq(errno, EPIPE);
}
END_TEST

START_TEST(terminate_does_not_wait_for_a_full_queue)
{
    static char much[1 << 20];
    struct link link = link_open();

    while (send(link.app, much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    ck_assert_int_eq(socket_say_terminate(link.app), -1);
    ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(end_of_stream)
{
    struct link link = link_open();

    ck_assert_int_eq(socket_end_stream(link.app), 0);
    ck_assert(stream_ended(link.server));
}
END_TEST

START_TEST(discard_sends_no_byte)
{
    for (int i = 0; i < 50; i++) {
        struct link link = corked();

        write_text(link.app, "INSERT that nobody waits for");
        ck_assert_int_eq(socket_discard(link.app), 0);
        close(link.app);
        ck_assert(stream_reset(link.server));
        ck_assert_str_eq(read_text(link.server, 0), "");
        close(link.server);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("socket");
    TCase *tc = tcase_create("socket");

    tcase_add_test(tc, counters_count);
    tcase_add_test(tc, counters_of_what_is_no_tcp_socket);
    tcase_add_test(tc, cork_keeps_a_write);
    tcase_add_test(tc, cork_keeps_it_200_ms_and_stays);
    tcase_add_loop_test(tc, step_sends_what_is_queued_and_keeps_the_cork, 0, 2);
    tcase_add_loop_test(tc, step_sends_while_data_is_not_acknowledged, 0, 2);
    tcase_add_loop_test(tc, step_goes_on_when_the_window_opens, 0, 2);
    tcase_add_test(tc, step_on_an_empty_queue_changes_nothing);
    tcase_add_test(tc, brake_delays_the_wake_up);
    tcase_add_test(tc, brakes_release_wakes_who_waits);
    tcase_add_test(tc, brake_lets_large_replies_and_the_end_through);
    tcase_add_loop_test(tc, brake_gives_back_what_the_app_had_set, 0, sizeof lowats / sizeof *lowats);
    tcase_add_test(tc, brake_leaves_alone_what_the_app_sets_meanwhile);
    tcase_add_test(tc, brake_on_a_small_receive_buffer);
    tcase_add_test(tc, marks_of_what_is_no_tcp_socket);
    tcase_add_test(tc, blocking_or_not);
    tcase_add_test(tc, close_flushes_what_was_held);
    tcase_add_test(tc, peer_has_closed);
    tcase_add_test(tc, terminate_is_the_last_that_is_said);
    tcase_add_test(tc, terminate_does_not_wait_for_a_full_queue);
    tcase_add_test(tc, end_of_stream);
    tcase_add_test(tc, discard_sends_no_byte);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
