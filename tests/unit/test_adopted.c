/* adopted: what becomes of a socket whose duplicate we keep: the app closes it, with a goodbye or without, or ends. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/handles/adopted.h"
#include "supervisor/handles/socket.h"

enum { FOR_A_WHILE = 20, MANY = 8 };

static struct adopted_table table;
static struct link link_of_app;
static pid_t app;
static int tell;

/* The server's part: reads, and closes when it was told to by the protocol. */
static bool hears_goodbye(void)
{
    return strchr(read_text(link_of_app.server, 1000), 'X') != NULL;
}

/* g: a goodbye, then close. c: close only. x: a goodbye, and the end. e: the end. q: a request. d: another number for
 * it, and the first one is closed. */
static void told(void *context, char what)
{
    struct link *link = context;

    if (what == 'g' || what == 'x')
        write_text(link->app, "X");
    if (what == 'q')
        write_text(link->app, "Q");
    if (what == 'g' || what == 'c')
        close(link->app);
    if (what == 'd') {
        int other = dup(link->app);
        close(link->app);
        link->app = other;
    }
    if (what == 's')
        close(link->server); /* the server's end is not the app's */
    if (what == 'x' || what == 'e')
        _exit(0);
}

static struct handle_row start(void)
{
    link_of_app = link_open();
    app = fork_app(&tell, told, &link_of_app);
    tell_app(tell, 's');
    ck_assert_int_eq(close(link_of_app.app), 0);
    return link_row(&link_of_app, app);
}

static struct adopted *adopt(void)
{
    struct handle_row row = start();

    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    ck_assert_int_eq(table.error, 0);
    return &table.list[0];
}

static bool watch(void)
{
    return adopted_watch(&table, clock_now_us());
}

/* Nothing comes of it, however often it is looked at. */
static void stays(const struct adopted *adopted, enum adopted_fate fate)
{
    for (int i = 0; i < FOR_A_WHILE; i++) {
        watch();
        ck_assert_int_eq(adopted->fate, fate);
        poll(NULL, 0, 1);
    }
}

static bool becomes(const struct adopted *adopted, enum adopted_fate fate)
{
    return wait_until((watch(), adopted->fate == fate));
}

START_TEST(open_while_the_app_has_it)
{
    struct adopted *adopted = adopt();

    stays(adopted, FATE_OPEN);
    ck_assert_int_eq(adopted_server_has_closed(adopted), 0);
    ck_assert(!adopted_was_ended_by_server(adopted));
    ck_assert(!adopted_has_sent_since(adopted));
    tell_app(tell, 'q');
    ck_assert(adopted_has_sent_since(adopted));
}
END_TEST

START_TEST(closed_with_a_goodbye)
{
    struct adopted *adopted = adopt();

    tell_app(tell, 'g');
    ck_assert(watch());
    ck_assert_int_eq(adopted->fate, FATE_DROPPED); /* the server has not heard it yet */
    ck_assert(hears_goodbye());
    close(link_of_app.server);
    ck_assert(becomes(adopted, FATE_CLOSED));
    ck_assert_int_eq(adopted_server_has_closed(adopted), 1);
    ck_assert(!adopted_was_ended_by_server(adopted));
    ck_assert(!watch());
}
END_TEST

START_TEST(closed_without_a_goodbye)
{
    struct adopted *adopted = adopt();
    int64_t before_us = clock_now_us();

    tell_app(tell, 'c');
    ck_assert(watch());
    ck_assert_int_ge(adopted->dropped_at_us, before_us);
    stays(adopted, FATE_DROPPED);
    ck_assert(!wakes(link_of_app.server, 0)); /* our duplicate keeps the end of stream back */
    adopted_release(adopted);
    ck_assert(stream_ended(link_of_app.server));
    ck_assert_int_eq(adopted_server_has_closed(adopted), -1);
}
END_TEST

/* Held while it said its goodbye: a close would have sent it, but for our duplicate. */
START_TEST(goodbye_that_was_held)
{
    struct adopted *adopted = adopt();

    ck_assert_int_eq(socket_set_cork(adopted->fd, true), 0);
    tell_app(tell, 'g');
    ck_assert_str_eq(read_text(link_of_app.server, 20), "");
    watch();
    ck_assert_str_eq(read_text(link_of_app.server, 50), "X");
}
END_TEST

/* Its descriptors go when it ends: that is not a close. */
START_TEST(ends_or_is_killed)
{
    struct adopted *adopted = adopt();

    if (_i == 0)
        kill(app, SIGKILL);
    else
        ck_assert_int_eq(write(tell, "e", 1), 1);
    for (bool gone = false; !gone; gone = waitpid(app, NULL, WNOHANG) == app) {
        watch();
        ck_assert_int_eq(adopted->fate, FATE_OPEN);
    }
    stays(adopted, FATE_OPEN);
    ck_assert(!wakes(link_of_app.server, 0));
    ck_assert_int_eq(socket_say_terminate(adopted->fd), 0);
    ck_assert(hears_goodbye());
    app = 0;
}
END_TEST

START_TEST(says_goodbye_with_its_last_breath)
{
    struct adopted *adopted = adopt();

    watch();
    ck_assert_int_eq(write(tell, "x", 1), 1);
    ck_assert_int_eq(waitpid(app, NULL, 0), app);
    app = 0;
    ck_assert(adopted_has_sent_since(adopted));
    ck_assert(hears_goodbye());
    close(link_of_app.server);
    ck_assert(wait_until(adopted_server_has_closed(adopted) == 1));
}
END_TEST

static void *end_in_a_moment(void *unused)
{
    poll(NULL, 0, 20);
    _exit(0);
    return unused;
}

/* The thread that began the process ends first: the others still have the socket, procfs does not show it any more. */
START_TEST(its_first_thread_ends)
{
    int adopted_now[2];
    char byte;

    link_of_app = link_open();
    ck_assert_int_eq(pipe(adopted_now), 0);
    app = fork();
    if (app == 0) {
        pthread_t thread;
        if (read(adopted_now[0], &byte, 1) != 1 || pthread_create(&thread, NULL, end_in_a_moment, NULL) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    close(link_of_app.app);
    struct handle_row row = link_row(&link_of_app, app);
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    ck_assert_int_eq(write(adopted_now[1], "", 1), 1);
    while (waitpid(app, NULL, WNOHANG) != app) {
        watch();
        ck_assert_int_eq(table.list[0].fate, FATE_OPEN);
    }
    app = 0;
}
END_TEST

START_TEST(ended_by_the_server)
{
    static const char fatal[] = "E.... FATAL: terminating connection due to administrator command, and so on, "
                                "and so on";
    struct adopted *adopted = adopt();

    write_text(link_of_app.server, _i ? fatal : "close_notify");
    close(link_of_app.server);
    ck_assert(wait_until(adopted_server_has_closed(adopted) == 1));
    ck_assert_int_eq(adopted_was_ended_by_server(adopted), _i);
    stays(adopted, FATE_OPEN);
}
END_TEST

/* -- several holders ----------------------------------------------------------------------------------------------- */

START_TEST(one_of_two_holders_closes)
{
    struct handle_row row = start();
    int second_tell;
    /* the second holder gets it from a duplicate of ours, which is then closed */
    row.holders = 2;
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    struct link second = link_of_app;
    second.app = table.list[0].fd;
    pid_t other = fork_app(&second_tell, told, &second);

    tell_app(tell, 'c');
    stays(&table.list[0], FATE_OPEN);
    ck_assert_int_eq(table.list[0].row.pid, other);
    tell_app(second_tell, 'c');
    ck_assert(watch());
    ck_assert_int_eq(table.list[0].fate, FATE_DROPPED);
    end_app(other);
}
END_TEST

/* The row does not know of the second one: it is found all the same, before anything is said on it. */
START_TEST(one_process_has_it_twice)
{
    struct adopted *adopted = adopt();
    int fd = adopted->row.fd;

    tell_app(tell, 'd');
    stays(adopted, FATE_OPEN);
    ck_assert_int_eq(adopted->row.pid, app);
    ck_assert_int_ne(adopted->row.fd, fd);
    tell_app(tell, 'c');
    ck_assert(watch());
    ck_assert_int_eq(adopted->fate, FATE_DROPPED);
    ck_assert(!adopted_is_found_again(adopted));
    ck_assert_int_eq(adopted->fate, FATE_DROPPED);
}
END_TEST

/* It was in a message between two processes when it was looked for. */
START_TEST(dropped_and_found_again)
{
    struct adopted *adopted = adopt();
    struct link second = link_of_app;
    int second_tell;

    tell_app(tell, 'c');
    ck_assert(watch());
    ck_assert_int_eq(adopted->fate, FATE_DROPPED);
    second.app = adopted->fd;
    pid_t other = fork_app(&second_tell, told, &second);
    ck_assert(adopted_is_found_again(adopted));
    ck_assert_int_eq(adopted->row.pid, other);
    stays(adopted, FATE_OPEN);
    end_app(other);
}
END_TEST

/* Who had it when it was looked at has ended: it is taken from another one that has it. */
START_TEST(taken_from_any_holder)
{
    struct handle_row row = start();
    struct link second = link_of_app;
    int second_tell, fd;

    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    second.app = fd = table.list[0].fd;
    pid_t other = fork_app(&second_tell, told, &second);
    adopted_finish(&table);
    end_app(app);
    row.holders = row.descriptors = 2;
    if (_i == 0)
        row.others[0] = (struct socket_holder){other, fd};
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    ck_assert_uint_eq(inode_of(table.list[0].fd), row.inode);
    stays(&table.list[0], FATE_OPEN);
    ck_assert_int_eq(table.list[0].row.pid, other);
    end_app(other);
    app = 0;
}
END_TEST

START_TEST(a_number_that_is_reused)
{
    struct adopted *adopted = adopt();

    tell_app(tell, 'c');
    watch();
    ck_assert_int_eq(adopted->fate, FATE_DROPPED);
    struct handle_row row = adopted->row; /* the same number, another socket */
    struct link other = link_open();
    row.inode = other.inode;
    row.local = other.local;
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 0); /* it is not there: ESTALE is no error */
    ck_assert_int_eq(table.error, 0);
    ck_assert_uint_eq(table.count, 1);
}
END_TEST

/* -- the table ----------------------------------------------------------------------------------------------------- */

START_TEST(rows_are_renewed_and_found)
{
    struct link links[MANY];
    struct handle_row rows[MANY];

    for (int i = 0; i < MANY; i++) {
        links[i] = link_open();
        rows[i] = link_row(&links[i], getpid());
    }
    ck_assert_uint_eq(adopted_take(&table, rows, MANY - 1), MANY - 1);
    rows[3].state = SESSION_ACTIVE;
    struct handle_row last = rows[0]; /* in another order, and one more */
    rows[0] = rows[MANY - 1];
    rows[MANY - 1] = last;
    ck_assert_uint_eq(adopted_take(&table, rows, MANY), 1);
    ck_assert_uint_eq(table.count, MANY);
    for (int i = 0; i < MANY; i++) {
        struct adopted *found = adopted_find(&table, rows[i].inode, &rows[i].local);
        ck_assert_ptr_nonnull(found);
        ck_assert_uint_eq(inode_of(found->fd), rows[i].inode);
        ck_assert_int_eq(found->row.state, rows[i].state);
    }
    ck_assert_ptr_null(adopted_find(&table, rows[0].inode, &rows[1].local));
    for (int i = 0; i < MANY; i++)
        close(links[i].app);
    adopted_finish(&table);
    for (int i = 0; i < MANY; i++)
        ck_assert(stream_ended(links[i].server));
}
END_TEST

START_TEST(refused)
{
    struct handle_row row = start();

    refuse_hands(-1, EPERM);
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 0);
    ck_assert_int_eq(table.error, EPERM);
    ck_assert_uint_eq(table.count, 0);
}
END_TEST

/* AF_UNIX: there are no counters, but the server's end shows. */
START_TEST(over_a_unix_socket)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    link_of_app = (struct link){.app = pair[0], .server = pair[1], .inode = inode_of(pair[0])};
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    app = fork_app(&tell, told, &link_of_app);
    tell_app(tell, 's');
    close(pair[0]);
    struct handle_row row = link_row(&link_of_app, app);
    ck_assert_uint_eq(adopted_take(&table, &row, 1), 1);
    stays(&table.list[0], FATE_OPEN);
    tell_app(tell, 'g');
    watch();
    ck_assert_int_eq(table.list[0].fate, FATE_DROPPED);
    ck_assert(hears_goodbye());
    close(link_of_app.server);
    ck_assert(becomes(&table.list[0], FATE_CLOSED));
}
END_TEST

static void tear_down(void)
{
    adopted_finish(&table);
    if (app > 0)
        end_app(app);
}

int main(void)
{
    Suite *suite = suite_create("adopted");
    TCase *tc = tcase_create("adopted");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_add_test(tc, open_while_the_app_has_it);
    tcase_add_test(tc, closed_with_a_goodbye);
    tcase_add_test(tc, closed_without_a_goodbye);
    tcase_add_test(tc, goodbye_that_was_held);
    tcase_add_loop_test(tc, ends_or_is_killed, 0, 20);
    tcase_add_test(tc, says_goodbye_with_its_last_breath);
    tcase_add_test(tc, its_first_thread_ends);
    tcase_add_loop_test(tc, ended_by_the_server, 0, 2);
    tcase_add_test(tc, one_of_two_holders_closes);
    tcase_add_test(tc, one_process_has_it_twice);
    tcase_add_test(tc, dropped_and_found_again);
    tcase_add_loop_test(tc, taken_from_any_holder, 0, 2);
    tcase_add_test(tc, a_number_that_is_reused);
    tcase_add_test(tc, rows_are_renewed_and_found);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, over_a_unix_socket);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
