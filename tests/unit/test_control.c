/* The control socket: where it is put, and how it serves good and bad clients. Runs as an ordinary user of its own when
 * it is root, so that nobody else's sockets are in the way. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/platform/control_dead.h"
#include "supervisor/platform/control_place.h"
#include "supervisor/platform/control_server.h"

static char directory[] = "/tmp/test_control.XXXXXX", path[128];
static struct error error;
static struct control_place place = {.fd = -1};

/* What happens just before listen(2), and just after a connect(2) that was refused. */
static void (*before_listen)(void), (*after_refusal)(void);

/* Both stand before the C library's. */
int listen(int fd, int backlog)
{
    if (before_listen)
        before_listen();
    return (int)syscall(SYS_listen, fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int result = (int)syscall(SYS_connect, fd, address, size), why = errno;
    void (*then)(void) = after_refusal;
    after_refusal = NULL;
    if (result == -1 && why == ECONNREFUSED && then)
        then();
    errno = why;
    return result;
}

static void enter(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(40000 + (uid_t)getpid() % 20000, 40000 + (uid_t)getpid() % 20000, 0), 0);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/unit.sock", directory);
}

static void leave(void)
{
    char command[64];
    control_place_close(&place);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

/* ---- the place ---- */

static int count_files(void)
{
    DIR *entries = opendir(directory);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(entries));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(entries);
    return count;
}

static int connect_to(const char *at)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strcpy(address.sun_path, at);
    if (connect(fd, (void *)&address, sizeof address) == -1) {
        close(fd);
        return -1;
    }
    return fd;
}

static void expect_failure(int result, int number, const char *in_story)
{
    int was = errno;
    ck_assert_int_eq(result, -1);
    ck_assert_msg(was == number, "%s, expected %s", strerror(was), strerror(number));
    ck_assert_msg(strstr(error.text, in_story) != NULL, "\"%s\" lacks \"%s\"", error.text, in_story);
}

START_TEST(a_socket_is_private_and_goes_away)
{
    struct stat st;
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0600);
    int fd = connect_to(path);
    ck_assert_int_ne(fd, -1);
    close(fd);
    control_place_close(&place);
    ck_assert_int_eq(lstat(path, &st), -1);
}
END_TEST

START_TEST(a_dead_socket_is_replaced)
{
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    close(place.fd); /* as a killed supervisor leaves it */
    ck_assert_int_eq(connect_to(path), -1);
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    ck_assert_int_ne(connect_to(path), -1);
}
END_TEST

static void nothing_is_there(void)
{
    ck_assert_int_eq(access(path, F_OK), -1);
}

/* Whoever looks for dead sockets must not find one that does not listen yet. */
START_TEST(a_socket_gets_its_name_when_it_listens)
{
    before_listen = nothing_is_there;
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    ck_assert_int_ne(connect_to(path), -1);
}
END_TEST

static int living = -1;

/* Another lastcall of the same name. */
static void start_another(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    unlink(path);
    living = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(living, (void *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(living, 1), 0);
}

START_TEST(one_that_takes_a_dead_one_s_place_is_not_removed)
{
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    close(place.fd);
    after_refusal = start_another;
    expect_failure(control_place_bind(&place, path, &error), EADDRINUSE, "somebody else answers there");
    ck_assert_int_ne(living, -1);
    ck_assert_int_ne(connect_to(path), -1);
    ck_assert_int_eq(count_files(), 1);
    close(living);
}
END_TEST

/* A socket as one that was killed leaves it. */
static void leave_dead(const char *name, int seconds_ago)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - seconds_ago}};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (void *)&address, sizeof address), 0);
    close(fd);
    ck_assert_int_eq(utimensat(AT_FDCWD, address.sun_path, times, 0), 0);
}

static bool is_there(const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", directory, name);
    return access(file, F_OK) == 0;
}

START_TEST(dead_sockets_are_swept_and_nothing_else)
{
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    for (const char *const *name = (const char *const[]){"a.sock", "b.sock", "other", NULL}; *name; name++)
        leave_dead(*name, 0);
    leave_dead(".starts", 1);
    leave_dead(".was-killed", 3600);
    snprintf(path, sizeof path, "%s/file.sock", directory);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ck_assert_uint_eq(control_dead_sweep(directory), 3);
    ck_assert(!is_there("a.sock") && !is_there("b.sock") && !is_there(".was-killed"));
    ck_assert(is_there("unit.sock") && is_there("other") && is_there("file.sock") && is_there(".starts"));
    ck_assert_int_eq(count_files(), 4);
    ck_assert_int_ne(connect_to(place.path), -1);
    ck_assert_uint_eq(control_dead_sweep(directory), 0);
    ck_assert_uint_eq(control_dead_sweep("/nowhere"), 0);
}
END_TEST

START_TEST(a_living_socket_is_not_replaced)
{
    struct control_place second;
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    expect_failure(control_place_bind(&second, path, &error), EADDRINUSE, "somebody else answers there");
    ck_assert_int_eq(second.fd, -1);
    ck_assert_int_eq(count_files(), 1);
    control_place_close(&second);
    ck_assert_int_ne(connect_to(path), -1);
}
END_TEST

START_TEST(a_file_is_not_replaced)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    expect_failure(control_place_bind(&place, path, &error), EADDRINUSE, "it is no socket");
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(another_one_s_socket_is_not_removed)
{
    ck_assert_int_eq(control_place_bind(&place, path, &error), 0);
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    control_place_close(&place);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_said)
{
    char longer[140];
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "/tmp/", 5);
    longer[108] = 0;
    expect_failure(control_place_bind(&place, longer, &error), ENAMETOOLONG, "may have 107 bytes, this one has 108");
}
END_TEST

START_TEST(a_directory_is_made_for_us_alone)
{
    struct stat st;
    snprintf(path, sizeof path, "%s/own", directory);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(control_place_prepare_directory(path, &error), 0);
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0700);
}
END_TEST

START_TEST(a_directory_that_others_may_enter_is_refused)
{
    chmod(directory, 0710);
    expect_failure(control_place_prepare_directory(directory, &error), EPERM, "mode 0710");
}
END_TEST

START_TEST(a_link_to_a_directory_is_refused)
{
    snprintf(path, sizeof path, "%s/link", directory);
    ck_assert_int_eq(symlink(directory, path), 0);
    expect_failure(control_place_prepare_directory(path, &error), ENOTDIR, "a link is not followed");
}
END_TEST

START_TEST(another_user_s_directory_is_refused)
{
    expect_failure(control_place_prepare_directory("/proc/1", &error), EPERM, "belongs to uid 0");
}
END_TEST

/* An ordinary user may not write in /run: then it is /dev/shm. */
START_TEST(the_next_choice_is_taken)
{
    char expected[256];
    ck_assert_int_eq(control_socket_directory(1, geteuid(), expected, sizeof expected), 0);
    ck_assert_int_eq(strncmp(expected, "/dev/shm/lastcall-", 18), 0);
    ck_assert_int_eq(control_place_choose(&place, "unit", &error), 0);
    ck_assert_int_eq(strncmp(place.path, expected, strlen(expected)), 0);
    ck_assert_str_eq(strrchr(place.path, '/'), "/unit.sock");
    int fd = place.fd;
    place.fd = -1;
    close(fd);
    ck_assert_int_eq(control_place_choose(&place, "another", &error), 0);
    control_place_close(&place);
    ck_assert_int_eq(rmdir(expected), 0); /* what the first one left was removed */
}
END_TEST

START_TEST(a_name_that_is_no_file_name_is_refused)
{
    static const char *const names[] = {"", ".", "..", "../x", "a/b", ".hidden"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        expect_failure(control_place_choose(&place, names[i], &error), EINVAL, "cannot be a file's name");
}
END_TEST

START_TEST(there_are_two_choices)
{
    char at[256];
    ck_assert_int_eq(control_socket_directory(2, 0, at, sizeof at), -1);
    ck_assert_int_eq(control_socket_directory(0, 7, at, sizeof at), 0);
    ck_assert_int_eq(strncmp(at, "/run/lastcall-7-", 16), 0);
    ck_assert_int_eq(control_socket_directory(0, 7, at, 12), -1);
}
END_TEST

/* ---- the server ---- */

static struct ev_loop *loop;
static struct control_server *server;
static struct config *config;
static ev_timer limit;
static bool limit_passed;

static unsigned requests;
static enum control_verb last_verb;
static bool last_now;
static struct control_answer next_answer;
static bool answer_within;
static const struct control_state a_state = {.phase = "draining", .instance = "unit", .app_pid = 7, .handles = 8,
                                             .in_flight = 3, .since_stop_us = 5, .left_us = -1};

static void on_request(void *context, enum control_verb verb, bool now, struct control_answer *answer)
{
    ck_assert_ptr_eq(context, &loop);
    requests++;
    last_verb = verb;
    last_now = now;
    *answer = next_answer;
    if (answer_within)
        control_server_done(server, 3, &a_state, "within");
}

static void on_limit(struct ev_loop *of, ev_timer *timer, int events)
{
    (void)of;
    (void)timer;
    (void)events;
    limit_passed = true;
}

#define run_until(condition)                                                                                          \
    do {                                                                                                              \
        limit_passed = false;                                                                                         \
        ev_timer_again(loop, &limit);                                                                                 \
        while (!(condition) && !limit_passed)                                                                         \
            ev_run(loop, EVRUN_ONCE);                                                                                 \
        ev_timer_stop(loop, &limit);                                                                                  \
        ck_assert_msg((condition), "not within 10 s: %s", #condition);                                                \
    } while (0)

static void serve(void)
{
    enter();
    struct control_server_user user = {&loop, on_request};
    loop = ev_loop_new(0);
    ev_init(&limit, on_limit);
    limit.repeat = 10.;
    config = calloc(1, sizeof *config);
    strcpy(config->instance, "unit");
    strcpy(config->socket, path);
    server = control_server_create(loop, config, &user);
    ck_assert_str_eq(control_server_path(server), path);
    next_answer = (struct control_answer){.state = a_state, .text = "as asked"};
}

static void stop_serving(void)
{
    control_server_destroy(server);
    ck_assert_int_eq(access(path, F_OK), -1);
    ev_loop_destroy(loop);
    free(config);
    leave();
}

static int ask_raw(const void *request, size_t size)
{
    int fd = connect_to(path);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(send(fd, request, size, MSG_NOSIGNAL), (ssize_t)size);
    return fd;
}

static int ask(enum control_verb verb, unsigned flags)
{
    struct control_request request = {CONTROL_MAGIC, CONTROL_VERSION, (uint16_t)verb, (uint16_t)flags};
    return ask_raw(&request, sizeof request);
}

static struct control_reply reply;

/* Is there something to receive, or the end? */
static bool is_readable(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK) != -1 || errno != EAGAIN;
}

static void hear(int fd, enum control_reply_kind kind)
{
    run_until(is_readable(fd));
    ck_assert_int_eq(recv(fd, &reply, sizeof reply, 0), sizeof reply);
    ck_assert_uint_eq(reply.magic, CONTROL_MAGIC);
    ck_assert_int_eq(reply.kind, kind);
}

static void hear_end(int fd)
{
    char byte;
    run_until(is_readable(fd));
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

START_TEST(a_question_is_answered)
{
    int fd = ask(CONTROL_STATUS, 0);
    next_answer.exit_code = 9;
    strcpy(next_answer.text, "two\nlines");
    hear(fd, CONTROL_DONE);
    ck_assert(last_verb == CONTROL_STATUS && !last_now);
    ck_assert_int_eq(reply.exit_code, 9);
    ck_assert_str_eq(reply.text, "two\\x0alines");
    ck_assert_mem_eq(&reply.state, &a_state, sizeof a_state);
    hear_end(fd);
}
END_TEST

START_TEST(a_refusal_is_told)
{
    int fd = ask(CONTROL_RESUME, 0);
    next_answer.refused = true;
    next_answer.exit_code = 1;
    hear(fd, CONTROL_REFUSED);
    ck_assert(last_verb == CONTROL_RESUME && reply.exit_code == 1);
    hear_end(fd);
}
END_TEST

START_TEST(drains_wait_for_their_end)
{
    next_answer.waits = true;
    int first = ask(CONTROL_DRAIN, 0), second = ask(CONTROL_DRAIN, CONTROL_NOW);
    hear(first, CONTROL_PROGRESS);
    hear(second, CONTROL_PROGRESS);
    ck_assert(requests == 2 && last_now && control_server_waiting(server) == 2);
    control_server_progress(server, &a_state, "3 of 8");
    hear(first, CONTROL_PROGRESS);
    hear(second, CONTROL_PROGRESS);
    ck_assert_str_eq(reply.text, "3 of 8");
    ck_assert_int_eq(reply.state.in_flight, 3);
    control_server_done(server, 0, &a_state, "still");
    ck_assert_uint_eq(control_server_waiting(server), 0);
    hear(first, CONTROL_DONE);
    hear(second, CONTROL_DONE);
    ck_assert_str_eq(reply.text, "still");
    hear_end(first);
    hear_end(second);
}
END_TEST

START_TEST(a_drain_may_end_within_its_request)
{
    next_answer.waits = answer_within = true;
    int fd = ask(CONTROL_DRAIN, 0);
    hear(fd, CONTROL_DONE);
    ck_assert(reply.exit_code == 3 && control_server_waiting(server) == 0);
    ck_assert_str_eq(reply.text, "within");
    hear_end(fd);
}
END_TEST

START_TEST(a_resume_ends_the_drains_and_is_answered_itself)
{
    next_answer.waits = true;
    int drain = ask(CONTROL_DRAIN, 0);
    hear(drain, CONTROL_PROGRESS);
    next_answer.waits = false;
    answer_within = true;
    int resume = ask(CONTROL_RESUME, 0);
    hear(resume, CONTROL_DONE);
    ck_assert_str_eq(reply.text, "as asked");
    hear(drain, CONTROL_DONE);
    ck_assert_str_eq(reply.text, "within");
}
END_TEST

START_TEST(who_hangs_up_does_not_wait)
{
    next_answer.waits = true;
    int fd = ask(CONTROL_DRAIN, 0);
    hear(fd, CONTROL_PROGRESS);
    close(fd);
    run_until(control_server_waiting(server) == 0);
    control_server_progress(server, &a_state, "to nobody");
    control_server_done(server, 0, &a_state, "to nobody");
}
END_TEST

START_TEST(who_does_not_read_is_dropped)
{
    next_answer.waits = true;
    int deaf = ask(CONTROL_DRAIN, 0), good = ask(CONTROL_DRAIN, 0);
    hear(good, CONTROL_PROGRESS);
    run_until(control_server_waiting(server) == 2);
    for (int i = 0; i < 10000 && control_server_waiting(server) == 2; i++) {
        control_server_progress(server, &a_state, "again");
        hear(good, CONTROL_PROGRESS);
    }
    ck_assert_uint_eq(control_server_waiting(server), 1);
    close(deaf);
}
END_TEST

static const struct wrong_request {
    struct control_request request;
    size_t size;
    const char *text;
} wrong_requests[] = {
    {{1, CONTROL_VERSION, CONTROL_DRAIN, 0}, sizeof(struct control_request), "this is not how lastcall is asked"},
    {{CONTROL_MAGIC, CONTROL_VERSION, CONTROL_DRAIN, 0}, sizeof(struct control_request) - 1,
     "this is not how lastcall is asked"},
    {{CONTROL_MAGIC, 2, CONTROL_DRAIN, 0}, sizeof(struct control_request),
     "this lastcall speaks another version of the protocol: use the same build for both"},
    {{CONTROL_MAGIC, CONTROL_VERSION, 0, 0}, sizeof(struct control_request), "this lastcall does not know that verb"},
    {{CONTROL_MAGIC, CONTROL_VERSION, CONTROL_STATUS + 1, 0}, sizeof(struct control_request),
     "this lastcall does not know that verb"},
};

START_TEST(wrong_requests_are_refused)
{
    const struct wrong_request *wrong = &wrong_requests[_i];
    int fd = ask_raw(&wrong->request, wrong->size);
    hear(fd, CONTROL_REFUSED);
    ck_assert_str_eq(reply.text, wrong->text);
    ck_assert(reply.exit_code == 1 && reply.state.in_flight == -1 && requests == 0);
    hear_end(fd);
}
END_TEST

START_TEST(a_packet_that_is_too_long_is_refused)
{
    char large[4096] = {0};
    struct control_request request = {CONTROL_MAGIC, CONTROL_VERSION, CONTROL_STATUS, 0};
    memcpy(large, &request, sizeof request);
    int fd = ask_raw(large, sizeof large);
    hear(fd, CONTROL_REFUSED);
    ck_assert_uint_eq(requests, 0);
    hear_end(fd);
}
END_TEST

START_TEST(who_says_nothing_is_dropped_after_a_second)
{
    int64_t from = clock_now_us();
    int fd = connect_to(path);
    hear_end(fd);
    ck_assert_int_ge(clock_now_us() - from, 900 * US_PER_MS);
    ck_assert_int_lt(clock_now_us() - from, 5 * US_PER_SECOND);
}
END_TEST

START_TEST(a_waiting_client_is_not_dropped_after_a_second)
{
    next_answer.waits = true;
    int fd = ask(CONTROL_DRAIN, 0), silent = connect_to(path);
    hear(fd, CONTROL_PROGRESS);
    hear_end(silent);
    ck_assert_uint_eq(control_server_waiting(server), 1);
}
END_TEST

START_TEST(sixteen_drains_and_no_more)
{
    int fds[16];
    next_answer.waits = true;
    for (int i = 0; i < 16; i++) {
        fds[i] = ask(CONTROL_DRAIN, 0);
        hear(fds[i], CONTROL_PROGRESS);
    }
    int one_more = ask(CONTROL_DRAIN, CONTROL_NOW);
    hear(one_more, CONTROL_REFUSED);
    ck_assert_str_eq(reply.text, "a drain is on, and too many wait for its end already: ask `lastcall status`");
    ck_assert(reply.exit_code == 1 && last_now);
    hear_end(one_more);
    ck_assert_uint_eq(control_server_waiting(server), 16);
    close(fds[3]);
    run_until(control_server_waiting(server) == 15);
    hear(ask(CONTROL_DRAIN, 0), CONTROL_PROGRESS);
    control_server_done(server, 0, &a_state, "");
    hear(fds[0], CONTROL_DONE);
}
END_TEST

START_TEST(beside_sixteen_drains_others_are_served)
{
    next_answer.waits = true;
    for (int i = 0; i < 16; i++)
        hear(ask(CONTROL_DRAIN, 0), CONTROL_PROGRESS);
    int silent[3];
    for (int i = 0; i < 3; i++)
        silent[i] = connect_to(path);
    next_answer.waits = false;
    hear(ask(CONTROL_STATUS, 0), CONTROL_DONE);
    hear(ask(CONTROL_RESUME, 0), CONTROL_DONE);
    ck_assert_uint_eq(control_server_waiting(server), 16);
    for (int i = 0; i < 3; i++)
        hear_end(silent[i]);
}
END_TEST

START_TEST(twenty_clients_and_no_more)
{
    int last = -1;
    for (int i = 0; i < 20; i++) {
        ck_assert_int_ne(last = connect_to(path), -1);
        ev_run(loop, EVRUN_ONCE); /* it is accepted */
    }
    int64_t from = clock_now_us();
    hear_end(connect_to(path));
    ck_assert(!is_readable(last));
    ck_assert_int_lt(clock_now_us() - from, 900 * US_PER_MS); /* not by its own silence */
}
END_TEST

/* Without a descriptor for the client the loop must not spin; when there is one again, it is served. */
START_TEST(without_descriptors_the_loop_rests)
{
    struct rlimit none = {0, 0}, before;
    int fd = ask(CONTROL_STATUS, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    unsigned turns = 0;
    limit.repeat = 0.3;
    limit_passed = false;
    for (ev_timer_again(loop, &limit); !limit_passed && turns < 1000; turns++)
        ev_run(loop, EVRUN_ONCE);
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_msg(turns < 20, "%u turns", turns);
    limit.repeat = 10.;
    hear(fd, CONTROL_DONE);
}
END_TEST

/* In a child: asks as another user and tells what it saw: 'd' dropped, 's' served, 'c' could not connect. */
static void be_stranger(int to)
{
    struct control_request request = {CONTROL_MAGIC, CONTROL_VERSION, CONTROL_STATUS, 0};
    char saw = 'c', byte;
    if (setresuid(0, 0, 0) == -1 || setresuid(39999, 39999, 39999) == -1)
        _exit(1);
    int fd = connect_to(path);
    if (fd != -1) {
        fcntl(fd, F_SETFL, 0);
        send(fd, &request, sizeof request, MSG_NOSIGNAL);
        saw = recv(fd, &byte, 1, 0) > 0 ? 's' : 'd';
    }
    _exit(write(to, &saw, 1) != 1);
}

static void nothing(struct ev_loop *of, ev_io *io, int events)
{
    (void)of;
    (void)io;
    (void)events;
}

/* Only root can try it: the file's mode would keep strangers out, so it is opened for them first. */
START_TEST(strangers_are_not_served)
{
    int ends[2];
    char saw = 0;
    ev_io heard;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert(chmod(path, 0666) == 0 && chmod(directory, 0755) == 0);
    if (fork() == 0)
        be_stranger(ends[1]);
    close(ends[1]);
    ev_io_init(&heard, nothing, ends[0], EV_READ);
    ev_io_start(loop, &heard);
    run_until(recv(ends[0], &saw, 1, MSG_DONTWAIT | MSG_PEEK) != -1);
    ev_io_stop(loop, &heard);
    close(ends[0]);
    ck_assert_int_eq(saw, 'd');
    ck_assert_uint_eq(requests, 0);
}
END_TEST

START_TEST(without_a_place_all_goes_on)
{
    struct control_server_user user = {&loop, on_request};
    struct control_server *second = control_server_create(loop, config, &user); /* the first one lives */
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_null(control_server_path(second));
    control_server_progress(second, &a_state, "");
    control_server_done(second, 0, &a_state, "");
    control_server_destroy(second);
    hear(ask(CONTROL_STATUS, 0), CONTROL_DONE);
    ck_assert_ptr_null(control_server_path(NULL));
    ck_assert_uint_eq(control_server_waiting(NULL), 0);
    control_server_progress(NULL, &a_state, "");
    control_server_done(NULL, 0, &a_state, "");
    control_server_destroy(NULL);
}
END_TEST

static TCase *place_tests(void)
{
    TCase *tcase = tcase_create("place");
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, a_socket_is_private_and_goes_away);
    tcase_add_test(tcase, a_dead_socket_is_replaced);
    tcase_add_test(tcase, a_socket_gets_its_name_when_it_listens);
    tcase_add_test(tcase, one_that_takes_a_dead_one_s_place_is_not_removed);
    tcase_add_test(tcase, dead_sockets_are_swept_and_nothing_else);
    tcase_add_test(tcase, a_living_socket_is_not_replaced);
    tcase_add_test(tcase, a_file_is_not_replaced);
    tcase_add_test(tcase, another_one_s_socket_is_not_removed);
    tcase_add_test(tcase, a_path_that_is_too_long_is_said);
    tcase_add_test(tcase, a_directory_is_made_for_us_alone);
    tcase_add_test(tcase, a_directory_that_others_may_enter_is_refused);
    tcase_add_test(tcase, a_link_to_a_directory_is_refused);
    tcase_add_test(tcase, another_user_s_directory_is_refused);
    tcase_add_test(tcase, the_next_choice_is_taken);
    tcase_add_test(tcase, a_name_that_is_no_file_name_is_refused);
    tcase_add_test(tcase, there_are_two_choices);
    return tcase;
}

static TCase *server_tests(void)
{
    TCase *tcase = tcase_create("server");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, serve, stop_serving);
    tcase_add_test(tcase, a_question_is_answered);
    tcase_add_test(tcase, a_refusal_is_told);
    tcase_add_test(tcase, drains_wait_for_their_end);
    tcase_add_test(tcase, a_drain_may_end_within_its_request);
    tcase_add_test(tcase, a_resume_ends_the_drains_and_is_answered_itself);
    tcase_add_test(tcase, who_hangs_up_does_not_wait);
    tcase_add_test(tcase, who_does_not_read_is_dropped);
    tcase_add_loop_test(tcase, wrong_requests_are_refused, 0, sizeof wrong_requests / sizeof wrong_requests[0]);
    tcase_add_test(tcase, a_packet_that_is_too_long_is_refused);
    tcase_add_test(tcase, who_says_nothing_is_dropped_after_a_second);
    tcase_add_test(tcase, a_waiting_client_is_not_dropped_after_a_second);
    tcase_add_test(tcase, sixteen_drains_and_no_more);
    tcase_add_test(tcase, beside_sixteen_drains_others_are_served);
    tcase_add_test(tcase, twenty_clients_and_no_more);
    tcase_add_test(tcase, without_descriptors_the_loop_rests);
    if (geteuid() == 0)
        tcase_add_test(tcase, strangers_are_not_served);
    tcase_add_test(tcase, without_a_place_all_goes_on);
    return tcase;
}

int main(void)
{
    log_init("test_control", LOG_LEVEL_ERROR);
    Suite *suite = suite_create("control");
    suite_add_tcase(suite, place_tests());
    suite_add_tcase(suite, server_tests());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
