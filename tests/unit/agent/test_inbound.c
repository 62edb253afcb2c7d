/* The agent's look at what comes in, at a child that plays the app. */
#include <errno.h>
#include <netinet/tcp.h>

#include "agent/sockets/inbound.h"
#include "app_child.h"
#include "sockets_help.h"

static struct inbound *inbound;
static struct listener listener;
static int accepted;

static void set_up(void)
{
    inbound = inbound_create();
    ck_assert_ptr_nonnull(inbound);
}

static void tear_down(void)
{
    inbound_destroy(inbound);
}

static struct inbound_answer look(void)
{
    return inbound_look(inbound, getpid(), 0);
}

/* Listens; then has a connection; then closes what listens. */
static void serve(int talk, void *context)
{
    (void)context;
    app_child_step(talk);
    accepted = accept(listener.fd, NULL, NULL);
    app_child_step(talk);
    close(listener.fd);
    app_child_step(talk);
}

START_TEST(an_app_that_does_not_listen)
{
    struct listener own = listen_anywhere(); /* ours, not the app's */
    struct inbound_answer answer = look();
    ck_assert_uint_eq(answer.sockets_seen, 1);
    ck_assert_uint_eq(answer.owners_seen, 1);
    ck_assert_uint_eq(answer.count, 0);
    close(own.fd);
}
END_TEST

START_TEST(listening_connected_and_what_lives_on)
{
    listener = listen_anywhere();
    struct app_child child = app_child_start(serve, NULL);
    int client = connect_to(_i ? "::1" : "127.0.0.1", listener.port);
    struct inbound_answer answer = look();
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_uint_eq(answer.at[0].tcp_state, TCP_LISTEN);
    ck_assert_uint_eq(answer.at[0].local.port, listener.port);
    ck_assert_uint_eq(answer.at[0].unread_bytes, 1); /* not accepted yet */
    ck_assert_int_eq(answer.at[0].pid, child.pid);
    ck_assert_int_eq(answer.at[0].fd, listener.fd);
    app_child_next(&child);
    ck_assert_int_eq(write(client, "request", 7), 7);
    answer = look();
    ck_assert_uint_eq(answer.count, 2);
    ck_assert_uint_eq(answer.at[0].unread_bytes, 0);
    ck_assert_uint_eq(answer.at[1].tcp_state, TCP_ESTABLISHED);
    ck_assert_uint_eq(answer.at[1].unread_bytes, 7);
    ck_assert_uint_eq(answer.at[1].bytes_received, 7);
    ck_assert_int_eq(answer.at[1].has_info, 1);
    ck_assert_int_eq(answer.at[1].pid, child.pid);
    close(listener.fd);
    app_child_next(&child);
    answer = look(); /* nobody listens there any more: the connection is looked at all the same */
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_uint_eq(answer.at[0].tcp_state, TCP_ESTABLISHED);
    close(client);
    app_child_end(&child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inbound");
    TCase *tcase = tcase_create("look");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, an_app_that_does_not_listen);
    tcase_add_loop_test(tcase, listening_connected_and_what_lives_on, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
