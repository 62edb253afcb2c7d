/* The look at the sockets: what is read from hostile and from real answers of the kernel, the fallback, slow dumps. */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/netlink.h"
#include "agent/sockets/proc_net.h"
#include "agent/sockets/sockets.h"
#include "common/clock.h"
#include "app_child.h"
#include "sockets_help.h"

enum { ESTABLISHED = 1, LISTEN = 10, TIME_WAIT = 6, CLOSE_WAIT = 8, FIN_WAIT1 = 4, SYN_SENT = 2 };

/* A message as the kernel would make it, with an INET_DIAG_INFO of any length. */
struct made {
    struct nlmsghdr header;
    struct inet_diag_msg diag;
    struct nlattr attribute;
    unsigned char info[512];
};

static struct made make(unsigned state, unsigned info_bytes)
{
    struct made made = {.header = {.nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_seq = 7, .nlmsg_flags = NLM_F_MULTI},
                        .diag = {.idiag_family = AF_INET, .idiag_state = (uint8_t)state, .idiag_inode = 4711,
                                 .idiag_rqueue = 10, .idiag_wqueue = 20, .idiag_timer = 4, .idiag_expires = 180}};
    made.attribute = (struct nlattr){(uint16_t)(sizeof made.attribute + info_bytes), INET_DIAG_INFO};
    made.header.nlmsg_len = (uint32_t)(offsetof(struct made, info) + info_bytes);
    for (unsigned i = 0; i < sizeof made.info; i++)
        made.info[i] = 1;
    return made;
}

START_TEST(reads_info_of_every_length)
{
    struct socket_fact fact;
    for (unsigned bytes = 0; bytes <= 400; bytes += 4) {
        struct made made = make(ESTABLISHED, bytes);
        ck_assert(inet_diag_read(&made.header, &fact));
        /* through tcpi_data_segs_out, offset 156 of struct tcp_info since Linux 4.6 */
        ck_assert_int_eq(fact.has_info, bytes >= 160);
        ck_assert_uint_eq(fact.unsent_bytes, bytes >= 160 ? 0x01010101u : 0);
        ck_assert_uint_eq(fact.unread_bytes, 10);
        ck_assert_uint_eq(fact.timer, 4);
        ck_assert_uint_eq(fact.timer_ms, 180);
    }
}
END_TEST

START_TEST(wants_only_states_of_handles)
{
    struct socket_fact fact;
    static const bool wanted[16] = {[1] = true, [2] = true, [4] = true, [5] = true,
                                    [8] = true, [9] = true, [11] = true};
    for (unsigned state = 0; state < 256; state++) {
        struct made made = make(state, 232);
        ck_assert_int_eq(inet_diag_read(&made.header, &fact), state < 16 && wanted[state]);
    }
    struct made nobodys = make(ESTABLISHED, 232);
    nobodys.diag.idiag_inode = 0;
    ck_assert(!inet_diag_read(&nobodys.header, &fact));
}
END_TEST

START_TEST(counts_no_fin_and_no_syn)
{
    static const struct { uint8_t state; uint32_t unread, unacked; } rows[] = {
        {ESTABLISHED, 10, 20}, {CLOSE_WAIT, 9, 20}, {FIN_WAIT1, 10, 19}, {SYN_SENT, 10, 19},
        {9, 9, 19},            {11, 9, 19},         {5, 10, 20}};
    struct socket_fact fact;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made made = make(rows[i].state, 0);
        ck_assert(inet_diag_read(&made.header, &fact));
        ck_assert_uint_eq(fact.unread_bytes, rows[i].unread);
        ck_assert_uint_eq(fact.unacked_bytes, rows[i].unacked);
    }
}
END_TEST

static void count_message(void *context, const struct nlmsghdr *message)
{
    (void)message;
    ++*(int *)context;
}

START_TEST(walks_within_its_bounds)
{
    int count = 0;
    struct made made = make(ESTABLISHED, 232);
    struct netlink_part part = netlink_walk(&made, made.header.nlmsg_len, 7, count_message, &count);
    ck_assert(!part.done && !part.error && count == 1);
    for (size_t size = 16; size < made.header.nlmsg_len; size++) { /* every truncation */
        unsigned char *copy = malloc(size);
        memcpy(copy, &made, size);
        part = netlink_walk(copy, size, 7, count_message, &count);
        ck_assert(part.done && part.error == EBADMSG);
        free(copy);
    }
    ck_assert_int_eq(count, 1);
    netlink_walk(&made, made.header.nlmsg_len, 8, count_message, &count); /* another question's */
    ck_assert_int_eq(count, 1);
    made.header.nlmsg_flags |= NLM_F_DUMP_INTR;
    ck_assert(netlink_walk(&made, made.header.nlmsg_len, 7, count_message, &count).interrupted);
    made.header.nlmsg_flags = 0; /* a lone answer ends by itself */
    ck_assert(netlink_walk(&made, made.header.nlmsg_len, 7, count_message, &count).done);
}
END_TEST

START_TEST(reads_errors)
{
    struct { struct nlmsghdr header; int32_t code; } error = {{sizeof error, NLMSG_ERROR, 0, 7, 0}, -ENOENT};
    int count = 0;
    struct netlink_part part = netlink_walk(&error, sizeof error, 7, count_message, &count);
    ck_assert(part.done && part.error == ENOENT && count == 0);
    error.code = 0;
    ck_assert_int_eq(netlink_walk(&error, sizeof error, 7, count_message, &count).error, 0);
    error.code = -100000;
    ck_assert_int_eq(netlink_walk(&error, sizeof error, 7, count_message, &count).error, EBADMSG);
    error.header.nlmsg_len = sizeof error.header;
    ck_assert_int_eq(netlink_walk(&error, sizeof error.header, 7, count_message, &count).error, EBADMSG);
    error.header.nlmsg_type = NLMSG_DONE;
    part = netlink_walk(&error, sizeof error.header, 7, count_message, &count);
    ck_assert(part.done && part.error == 0);
}
END_TEST

START_TEST(attributes_end_at_the_first_bad_one)
{
    struct made made = make(ESTABLISHED, 232);
    unsigned type;
    size_t size;
    made.attribute.nla_len = 3; /* shorter than its own head */
    struct netlink_attribute walk = netlink_attributes(&made.header, sizeof made.diag);
    ck_assert_ptr_null(netlink_attribute_next(&walk, &type, &size));
    made.attribute.nla_len = 2000;
    walk = netlink_attributes(&made.header, sizeof made.diag);
    ck_assert_ptr_null(netlink_attribute_next(&walk, &type, &size));
    made.attribute.nla_len = sizeof made.attribute;
    made.header.nlmsg_len = offsetof(struct made, info);
    walk = netlink_attributes(&made.header, sizeof made.diag);
    ck_assert_ptr_nonnull(netlink_attribute_next(&walk, &type, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_ptr_null(netlink_attribute_next(&walk, &type, &size));
}
END_TEST

START_TEST(reads_lines_of_proc)
{
    struct socket_fact fact;
    const char *v4 = "   3: 0100007F:9C40 0500000A:1538 01 0000000A:00000014 04:00000012 00000000  1000        0 "
                     "4711 2 0000000000000000 20 4 30 10 -1\n";
    const char *mapped = "   0: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:1538 08 "
                         "00000000:0000000B 00:00000000 00000000     0        0 12 1 0\n";
    struct endpoint at;
    ck_assert(proc_net_read_line(v4, AF_INET, &fact));
    endpoint_parse(&at, "10.0.0.5", 5432);
    ck_assert(endpoint_equal(&fact.remote, &at));
    endpoint_parse(&at, "127.0.0.1", 40000);
    ck_assert(endpoint_equal(&fact.local, &at));
    ck_assert_uint_eq(fact.unacked_bytes, 10);
    ck_assert_uint_eq(fact.unread_bytes, 20);
    ck_assert_uint_eq(fact.inode, 4711);
    ck_assert_uint_eq(fact.timer, 4);
    ck_assert_uint_eq(fact.timer_ms, 180);
    ck_assert_int_eq(fact.has_info, 0);
    ck_assert(proc_net_read_line(mapped, AF_INET6, &fact));
    ck_assert(endpoint_equal(&fact.local, &at));
    ck_assert_uint_eq(fact.unread_bytes, 10); /* CLOSE_WAIT: one of the 11 is the FIN */
    ck_assert(!proc_net_read_line("  sl  local_address rem_address   st tx_queue", AF_INET, &fact));
    ck_assert(!proc_net_read_line("", AF_INET, &fact));
    ck_assert(!proc_net_read_line("   3: 0100007F:9C40 0500000A:1538 0A 00000000:00000000", AF_INET, &fact));
}
END_TEST

/* The rest asks the kernel. */

struct scene {
    struct listener wanted[3], other;
    int clients[8];
    int count;
};

static void connect_all(int talk, void *context)
{
    struct scene *scene = context;
    static const char *const addresses[] = {"127.0.0.1", "::1", "::ffff:127.0.0.1"};
    for (int i = 0; i < 3; i++)
        connect_to(addresses[i], scene->wanted[i].port);
    connect_to("127.0.0.1", scene->other.port);
    app_child_step(talk);
    connect_to("127.0.0.1", scene->wanted[0].port);
    app_child_step(talk);
}

static struct scene scene_open(void)
{
    struct scene scene = {.other = listen_anywhere()};
    for (int i = 0; i < 3; i++)
        scene.wanted[i] = listen_anywhere();
    return scene;
}

static struct sockets_question question_for(const struct scene *scene)
{
    struct sockets_question question = {.port_count = 3, .root = getpid(), .except = -1};
    for (int i = 0; i < 3; i++)
        question.ports[i] = scene->wanted[i].port;
    return question;
}

static void assert_scene_is_seen(const struct sockets_answer *answer, const struct scene *scene, pid_t pid,
                                 size_t count)
{
    struct endpoint local;
    int seen[3] = {0};
    endpoint_parse(&local, "127.0.0.1", 0);
    ck_assert_uint_eq(answer->count, count);
    for (size_t i = 0; i < answer->count; i++) {
        ck_assert_int_eq(answer->at[i].pid, pid);
        ck_assert_int_eq(answer->at[i].tcp_state, ESTABLISHED);
        for (int w = 0; w < 3; w++)
            seen[w] += answer->at[i].remote.port == scene->wanted[w].port;
        if (answer->at[i].remote.port == scene->wanted[2].port) /* v4-mapped */
            ck_assert(endpoint_same_address(&answer->at[i].remote, &local));
    }
    ck_assert(seen[0] && seen[1] == 1 && seen[2] == 1);
}

START_TEST(sees_the_apps_sockets)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(connect_all, &scene);
    struct sockets *sockets = sockets_create();
    struct sockets_question question = question_for(&scene);
    ck_assert_int_ge(connect_to("127.0.0.1", scene.wanted[0].port), 0); /* foreign: this process is not in the tree */
    int64_t start = clock_now_us();
    struct sockets_answer answer = sockets_look(sockets, &question);
    ck_assert_int_lt(clock_now_us() - start, 100000);
    ck_assert_int_eq(answer.sockets_seen, 1);
    ck_assert_int_eq(answer.owners_seen, 1);
    assert_scene_is_seen(&answer, &scene, child.pid, 3);
    ck_assert_int_eq(answer.at[0].has_info, 1);
    question.port_count = 1;
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 1);
    question.port_count = 0;
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 0);
    sockets_destroy(sockets);
    app_child_end(&child);
}
END_TEST

START_TEST(falls_back_to_proc)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(connect_all, &scene);
    struct sockets *sockets = sockets_create();
    struct sockets_question question = question_for(&scene);
    sockets_pretend_refused(sockets);
    int peer = accept(scene.wanted[0].fd, NULL, NULL);
    ck_assert_int_eq(write(peer, "12345", 5), 5);
    struct sockets_answer answer = sockets_look(sockets, &question);
    ck_assert_int_eq(answer.sockets_seen, 2);
    assert_scene_is_seen(&answer, &scene, child.pid, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(answer.at[i].has_info, 0);
        if (answer.at[i].remote.port == scene.wanted[0].port)
            ck_assert_uint_eq(answer.at[i].unread_bytes, 5);
    }
    sockets_destroy(sockets);
    app_child_end(&child);
}
END_TEST

/* Looks until the socket to the first port shows this, at most 2 s. */
static const struct socket_fact *await(struct sockets *sockets, const struct scene *scene, uint8_t state,
                                       uint32_t unread)
{
    struct sockets_question question = question_for(scene);
    for (int64_t end = clock_now_us() + 2000000; clock_now_us() < end;) {
        struct sockets_answer answer = sockets_look(sockets, &question);
        for (size_t i = 0; i < answer.count; i++)
            if (answer.at[i].remote.port == scene->wanted[0].port && answer.at[i].tcp_state == state &&
                answer.at[i].unread_bytes == unread)
                return &answer.at[i];
    }
    return NULL;
}

START_TEST(follows_queues_and_the_end_of_the_stream)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(connect_all, &scene);
    struct sockets *sockets = sockets_create();
    int peer = accept(scene.wanted[0].fd, NULL, NULL);
    ck_assert_ptr_nonnull(await(sockets, &scene, ESTABLISHED, 0));
    ck_assert_int_eq(write(peer, "12345", 5), 5);
    const struct socket_fact *fact = await(sockets, &scene, ESTABLISHED, 5);
    ck_assert_ptr_nonnull(fact);
    ck_assert_uint_eq(fact->bytes_received, 5);
    close(peer);
    ck_assert_ptr_nonnull(await(sockets, &scene, CLOSE_WAIT, 5));
    sockets_destroy(sockets);
    app_child_end(&child);
}
END_TEST

START_TEST(asks_known_ones_while_dumps_are_slow)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(connect_all, &scene);
    struct sockets *sockets = sockets_create();
    struct sockets_question question = question_for(&scene);
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 3);
    sockets_pretend_slow(sockets, 60000000);
    int peer = accept(scene.wanted[0].fd, NULL, NULL);
    app_child_next(&child); /* a fourth one */
    ck_assert_int_eq(write(peer, "12345", 5), 5);
    struct sockets_answer answer = sockets_look(sockets, &question);
    assert_scene_is_seen(&answer, &scene, child.pid, 3); /* not the new one, but the known ones as they are now */
    bool unread = false;
    for (size_t i = 0; i < 3; i++)
        unread |= answer.at[i].unread_bytes == 5;
    ck_assert(unread);
    ck_assert_int_eq(answer.sockets_seen, 1);
    uint16_t ports[] = {question.ports[2], question.ports[1], question.ports[0]};
    memcpy(question.ports, ports, sizeof ports); /* another question: a dump at once */
    answer = sockets_look(sockets, &question);
    assert_scene_is_seen(&answer, &scene, child.pid, 4);
    sockets_destroy(sockets);
    app_child_end(&child);
}
END_TEST

START_TEST(dumps_again_though_slow_after_a_second)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(connect_all, &scene);
    struct sockets *sockets = sockets_create();
    struct sockets_question question = question_for(&scene);
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 3);
    sockets_pretend_slow(sockets, 60000000);
    app_child_next(&child);
    size_t count = 0;
    for (int64_t end = clock_now_us() + 3000000; count != 4 && clock_now_us() < end;)
        count = sockets_look(sockets, &question).count;
    ck_assert_uint_eq(count, 4);
    sockets_destroy(sockets);
    app_child_end(&child);
}
END_TEST

START_TEST(asks_for_one_exactly)
{
    struct netlink netlink = {.fd = -1};
    struct listener listener = listen_anywhere();
    struct socket_table table = {0};
    struct socket_fact fact;
    int client = connect_to("::ffff:127.0.0.1", listener.port);
    ck_assert_int_eq(inet_diag_dump(&netlink, &listener.port, 1, &table), 0);
    ck_assert_uint_eq(table.count, 1);
    ck_assert_uint_eq(table.at[0].inode, inode_of(client));
    ck_assert_int_eq(inet_diag_ask(&netlink, &table.at[0].key, &fact), 0);
    ck_assert_uint_eq(fact.inode, inode_of(client));
    struct socket_key wrong = table.at[0].key;
    wrong.id[sizeof wrong.id - 1] ^= 1; /* the cookie's */
    ck_assert_int_eq(inet_diag_ask(&netlink, &wrong, &fact), -1);
    ck_assert(errno == ENOENT || errno == ESTALE);
    int descriptor = netlink.fd;
    close(client);
    ck_assert_int_eq(inet_diag_ask(&netlink, &table.at[0].key, &fact), -1);
    ck_assert_int_eq(netlink.fd, descriptor); /* an answer, not a broken socket */
    close(netlink.fd); /* broken: it is opened again */
    netlink.fd = open("/dev/null", O_RDWR);
    ck_assert_int_eq(inet_diag_dump(&netlink, &listener.port, 1, &table), -1);
    ck_assert_int_eq(inet_diag_dump(&netlink, &listener.port, 1, &table), 0);
    socket_table_finish(&table);
    netlink_finish(&netlink);
}
END_TEST

/* AF_UNIX. */

static int connect_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    return fd;
}

static void connect_to_both(int talk, void *context)
{
    char (*paths)[128] = context;
    connect_unix(paths[0]);
    connect_unix(paths[1]);
    app_child_step(talk);
    app_child_step(talk);
}

START_TEST(sees_unix_sockets_by_path)
{
    char directory[] = "/tmp/lastcall-test-XXXXXX", paths[2][128];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    for (int i = 0; i < 2; i++)
        snprintf(paths[i], sizeof paths[i], "%s/.s.PGSQL.%d", directory, 5432 + i);
    int listener = listen_unix("./.s.PGSQL.5432"); /* bound by another name than it is asked for */
    int other = listen_unix(paths[1]);
    struct app_child child = app_child_start(connect_to_both, paths);
    int peer = accept(listener, NULL, NULL);
    ck_assert_int_eq(write(peer, "12345", 5), 5);
    struct sockets *sockets = sockets_create();
    struct sockets_question question = {.paths = {paths[0]}, .path_count = 1, .root = getpid(), .except = -1};
    struct sockets_answer answer = sockets_look(sockets, &question);
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_int_eq(answer.at[0].pid, child.pid);
    ck_assert_int_eq(answer.at[0].path, 0);
    ck_assert_int_eq(answer.at[0].tcp_state, 0);
    ck_assert_int_eq(answer.at[0].local.family, ENDPOINT_UNIX);
    ck_assert_uint_eq(answer.at[0].unread_bytes, 5);
    sockets_pretend_slow(sockets, 60000000); /* one by one */
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 1);
    struct sockets_question both = question;
    both.paths[both.path_count++] = paths[1];
    answer = sockets_look(sockets, &both);
    ck_assert_uint_eq(answer.count, 2);
    ck_assert_int_eq(answer.at[0].path, 0); /* connected first, by the lower inode */
    ck_assert_int_eq(answer.at[1].path, 1);
    sockets_pretend_slow(sockets, 0);
    /* what the other path's index was means nothing here */
    ck_assert_uint_eq(sockets_look(sockets, &question).count, 1);
    close(peer); /* the server's end is gone: it is still a handle */
    answer = sockets_look(sockets, &question);
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_int_eq(answer.at[0].path, 0);
    sockets_pretend_refused(sockets); /* /proc/net/unix cannot join: nothing */
    answer = sockets_look(sockets, &question);
    ck_assert_uint_eq(answer.count, 0);
    ck_assert_int_eq(answer.sockets_seen, 2);
    sockets_destroy(sockets);
    app_child_end(&child);
    close(other);
    for (int i = 0; i < 2; i++)
        unlink(paths[i]);
    rmdir(directory);
}
END_TEST

static TCase *kernel_case(void)
{
    TCase *kernel = tcase_create("kernel");
    tcase_set_timeout(kernel, 20);
    tcase_add_test(kernel, sees_the_apps_sockets);
    tcase_add_test(kernel, falls_back_to_proc);
    tcase_add_test(kernel, follows_queues_and_the_end_of_the_stream);
    tcase_add_test(kernel, asks_known_ones_while_dumps_are_slow);
    tcase_add_test(kernel, dumps_again_though_slow_after_a_second);
    tcase_add_test(kernel, asks_for_one_exactly);
    tcase_add_test(kernel, sees_unix_sockets_by_path);
    return kernel;
}

int main(void)
{
    Suite *suite = suite_create("sockets");
    TCase *parse = tcase_create("parse");
    tcase_add_test(parse, reads_info_of_every_length);
    tcase_add_test(parse, wants_only_states_of_handles);
    tcase_add_test(parse, counts_no_fin_and_no_syn);
    tcase_add_test(parse, walks_within_its_bounds);
    tcase_add_test(parse, reads_errors);
    tcase_add_test(parse, attributes_end_at_the_first_bad_one);
    tcase_add_test(parse, reads_lines_of_proc);
    suite_add_tcase(suite, parse);
    suite_add_tcase(suite, kernel_case());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
