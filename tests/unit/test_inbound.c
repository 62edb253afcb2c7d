/* The hands on what comes in, on real sockets of this process: what each doing leaves, and that letting go leaves
 * nothing. The app's end is `link.server`, the client's is `link.app`. */
#include <stdio.h>
#include <stdlib.h>

#include "loopback.h"
#include "supervisor/handles/inbound.h"
#include "supervisor/handles/listening.h"

static struct inbound_marks marks;
static struct link link_;
static int error;

static void set_up(void)
{
    link_ = link_open();
}

static void tear_down(void)
{
    inbound_finish(&marks);
    close(link_.app);
    close(link_.server);
}

static struct inbound_row row_of(int fd)
{
    struct socket_counters now;
    ck_assert_int_eq(socket_read_counters(fd, &now), 0);
    return (struct inbound_row){.inode = inode_of(fd), .pid = getpid(), .fd = fd, .tcp_state = TCP_ESTABLISHED,
                                .has_info = 1, .unread_bytes = now.unread, .bytes_sent = now.sent,
                                .bytes_received = now.received};
}

static enum intake_outcome apply(struct inbound_row *row, enum intake_doing doing)
{
    return inbound_apply(&marks, row, doing, &error);
}

static int ttl_of(int fd)
{
    return option_of(fd, IPPROTO_IP, IP_MINTTL);
}

static void ask(const char *text)
{
    write_text(link_.app, text);
    ck_assert(wakes(link_.server, 1000));
}

/* A listening socket of the family, and where it is. */
static int listen_on(int family, struct sockaddr_storage *at, socklen_t *length)
{
    int off = 0, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *at = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    *length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (family == AF_INET6)
        ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)at, *length), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)at, length), 0);
    return fd;
}

/* Does a client get through? It is given `ms`. */
static bool may_connect(const struct sockaddr_storage *at, socklen_t length, int ms)
{
    int fd = socket(at->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    connect(fd, (const struct sockaddr *)at, length);
    bool through = poll(&out, 1, ms) > 0;
    ck_assert(!through || option_of(fd, SOL_SOCKET, SO_ERROR) == 0); /* not refused */
    close(fd);
    return through;
}

/* By IPv4, by IPv6, and by IPv4 on a socket of IPv6. */
START_TEST(dropping_and_letting_go)
{
    struct sockaddr_storage at, four;
    socklen_t length, four_length = sizeof(struct sockaddr_in);
    int fd = listen_on(_i ? AF_INET6 : AF_INET, &at, &length);
    struct inbound_row row = {.inode = inode_of(fd), .pid = getpid(), .fd = fd, .tcp_state = TCP_LISTEN};
    ((struct sockaddr_in *)&four)->sin_family = AF_INET;
    ((struct sockaddr_in *)&four)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ((struct sockaddr_in *)&four)->sin_port = ((struct sockaddr_in *)&at)->sin_port; /* at the same place in both */
    ck_assert(may_connect(&at, length, 1000) && may_connect(&four, four_length, 1000));
    ck_assert_int_eq(apply(&row, INTAKE_DROP), INTAKE_DONE);
    ck_assert(!may_connect(&at, length, 50) && !may_connect(&four, four_length, 50));
    inbound_hold_listening(&marks);
    ck_assert_uint_eq(marks.held_count, 1);
    ck_assert_uint_eq(inbound_let_go(&marks, true), 0);
    ck_assert_int_eq(ttl_of(fd), 255);
    ck_assert_uint_eq(inbound_let_go(&marks, false), 0);
    ck_assert(may_connect(&at, length, 1000) && may_connect(&four, four_length, 1000));
    ck_assert_uint_eq(marks.count, 0);
    close(fd);
}
END_TEST

/* The app has closed it; who tries meanwhile is not refused, since it is still open with us. */
START_TEST(held_listening_outlives_the_app)
{
    struct sockaddr_storage at;
    socklen_t length;
    int fd = listen_on(AF_INET, &at, &length);
    struct inbound_row row = {.inode = inode_of(fd), .pid = getpid(), .fd = fd, .tcp_state = TCP_LISTEN};
    apply(&row, INTAKE_DROP);
    inbound_hold_listening(&marks);
    close(fd);
    ck_assert(!may_connect(&at, length, 50));
    inbound_finish(&marks);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&at, length), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    close(client);
}
END_TEST

START_TEST(welcome_undoes_what_was_inherited)
{
    struct inbound_row row = row_of(link_.server);
    ck_assert_int_eq(apply(&row, INTAKE_WELCOME), INTAKE_NOT);
    set_option_of(link_.server, IPPROTO_IP, IP_MINTTL, 255);
    ck_assert_int_eq(apply(&row, INTAKE_WELCOME), INTAKE_DONE);
    ck_assert_int_eq(ttl_of(link_.server), 0);
}
END_TEST

/* The client sees the end, and what it sends after all is never read. */
START_TEST(closing_what_is_idle)
{
    struct inbound_row row = row_of(link_.server);
    ck_assert_int_eq(apply(&row, INTAKE_CLOSE), INTAKE_DONE);
    ck_assert(stream_ended(link_.app));
    write_text(link_.app, "GET /late HTTP/1.1\r\n\r\n");
    ck_assert(stream_ended(link_.server));
}
END_TEST

START_TEST(not_closing_what_has_moved)
{
    struct inbound_row row = row_of(link_.server);
    ask("GET / HTTP/1.1\r\n\r\n");
    ck_assert_int_eq(apply(&row, INTAKE_CLOSE), INTAKE_FAILED); /* unread */
    ck_assert_int_eq(error, 0);
    ck_assert_str_eq(read_text(link_.server, 0), "GET / HTTP/1.1\r\n\r\n");
    ck_assert_int_eq(apply(&row, INTAKE_CLOSE), INTAKE_FAILED); /* taken by the app: nothing lies there any more */
    ck_assert_int_eq(ttl_of(link_.server), 0);
    write_text(link_.server, "answer");
    ck_assert_str_eq(read_text(link_.app, 1000), "answer");
    ask("more");
}
END_TEST

START_TEST(keeping_and_putting_back)
{
    struct inbound_row row = row_of(link_.server);
    ck_assert_int_eq(apply(&row, INTAKE_KEEP), INTAKE_DONE);
    write_text(link_.app, "GET / HTTP/1.1\r\n\r\n");
    ck_assert(!wakes(link_.server, 30));
    ck_assert_int_eq(apply(&row, INTAKE_PUT_BACK), INTAKE_DONE);
    ck_assert(wakes(link_.server, 1000));
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* The app has answered and been asked since the look: the row says so. */
START_TEST(keeping_looks_again)
{
    struct inbound_row row = row_of(link_.server);
    uint64_t sent = row.bytes_sent, received = row.bytes_received;
    write_text(link_.server, "answer");
    ask("request");
    ck_assert_int_eq(apply(&row, INTAKE_KEEP), INTAKE_DONE);
    ck_assert_uint_eq(row.bytes_sent, sent + 6);
    ck_assert_uint_eq(row.bytes_received, received + 7);
    ck_assert_uint_eq(row.unread_bytes, 7);
}
END_TEST

START_TEST(keeping_is_let_go)
{
    struct inbound_row row = row_of(link_.server);
    ck_assert_int_eq(apply(&row, INTAKE_KEEP), INTAKE_DONE);
    ck_assert_uint_eq(inbound_let_go(&marks, true), 0);
    ck_assert_int_eq(lowat_of(link_.server), 1);
}
END_TEST

START_TEST(a_blocking_socket_is_not_kept)
{
    struct inbound_row row = row_of(link_.server);
    ck_assert_int_eq(fcntl(link_.server, F_SETFL, 0), 0);
    ck_assert_int_eq(apply(&row, INTAKE_KEEP), INTAKE_NOT);
    ck_assert_int_eq(lowat_of(link_.server), 1);
}
END_TEST

START_TEST(answering)
{
    struct inbound_row row = row_of(link_.server);
    apply(&row, INTAKE_KEEP);
    write_text(link_.app, "GET / HTTP/1.1\r\n\r\n");
    ck_assert(wait_until(row_of(link_.server).unread_bytes == 18));
    row = row_of(link_.server);
    ck_assert_int_eq(apply(&row, INTAKE_ANSWER), INTAKE_DONE);
    const char *answer = read_text(link_.app, 1000);
    ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 503 "));
    ck_assert_ptr_nonnull(strstr(answer, "Connection: close\r\n"));
    ck_assert(stream_ended(link_.app));
    ck_assert(stream_ended(link_.server)); /* the app never sees the request */
}
END_TEST

START_TEST(not_answering_what_is_not_http)
{
    static const char *const others[] = {"\x16\x03\x01\x02 hello", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "name=value"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ask(others[i]);
        struct inbound_row row = row_of(link_.server);
        ck_assert_int_eq(apply(&row, INTAKE_ANSWER), INTAKE_NOT);
        ck_assert_int_eq(ttl_of(link_.server), 0);
        ck_assert_str_eq(read_text(link_.server, 0), others[i]);
    }
}
END_TEST

START_TEST(not_answering_what_the_app_has_taken)
{
    ask("GET / HTTP/1.1\r\n\r\n");
    struct inbound_row row = row_of(link_.server);
    read_text(link_.server, 0);
    ck_assert_int_eq(apply(&row, INTAKE_ANSWER), INTAKE_FAILED);
    write_text(link_.server, "answer");
    ck_assert_str_eq(read_text(link_.app, 1000), "answer");
}
END_TEST

START_TEST(closed_meanwhile)
{
    struct inbound_row row = row_of(link_.server);
    row.inode++;
    ck_assert_int_eq(apply(&row, INTAKE_KEEP), INTAKE_FAILED);
    ck_assert_int_eq(error, ESTALE);
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* Only what descends from us counts. */
START_TEST(who_listens)
{
    struct sockaddr_storage at;
    socklen_t length;
    int tell;
    ck_assert(!listening_any());
    int fd = listen_on(AF_INET6, &at, &length);
    ck_assert(!listening_any());
    pid_t pid = fork_app(&tell, NULL, NULL);
    ck_assert(listening_any());
    end_app(pid);
    ck_assert(!listening_any());
    close(tell);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inbound");
    TCase *tcase = tcase_create("hands");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, dropping_and_letting_go, 0, 2);
    tcase_add_test(tcase, held_listening_outlives_the_app);
    tcase_add_test(tcase, welcome_undoes_what_was_inherited);
    tcase_add_test(tcase, closing_what_is_idle);
    tcase_add_test(tcase, not_closing_what_has_moved);
    tcase_add_test(tcase, keeping_and_putting_back);
    tcase_add_test(tcase, keeping_looks_again);
    tcase_add_test(tcase, keeping_is_let_go);
    tcase_add_test(tcase, a_blocking_socket_is_not_kept);
    tcase_add_test(tcase, answering);
    tcase_add_test(tcase, not_answering_what_is_not_http);
    tcase_add_test(tcase, not_answering_what_the_app_has_taken);
    tcase_add_test(tcase, closed_meanwhile);
    tcase_add_test(tcase, who_listens);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
