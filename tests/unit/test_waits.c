/* waits: real threads in real calls: who waits for a socket's reply at this moment, and who does not. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/handles/waits.h"

enum { MANY_FDS = 100 };

static struct link one, two;
static pid_t app;

/* -- what the app's threads do; each for ever ---------------------------------------------------------------------- */

static void block(int fd)
{
    fcntl(fd, F_SETFL, 0);
}

static void do_recv(void)
{
    char byte;
    block(one.app);
    recv(one.app, &byte, 1, 0);
}

static void do_read(void)
{
    char byte;
    block(one.app);
    if (read(one.app, &byte, 1) < 0)
        abort();
}

static void do_readv(void)
{
    char byte;
    struct iovec at = {&byte, 1};
    block(one.app);
    if (readv(one.app, &at, 1) < 0)
        abort();
}

static void do_recvmsg(void)
{
    char byte;
    struct iovec at = {&byte, 1};
    struct msghdr message = {.msg_iov = &at, .msg_iovlen = 1};
    block(one.app);
    recvmsg(one.app, &message, 0);
}

static void poll_one(int timeout)
{
    struct pollfd at = {.fd = one.app, .events = POLLIN};
    poll(&at, 1, timeout);
}

static void do_poll(void)
{
    poll_one(-1);
}

static void do_poll_with_a_limit(void)
{
    poll_one(1000000);
}

static void do_ppoll(void)
{
    struct pollfd at = {.fd = one.app, .events = POLLIN};
    struct timespec limit = {1000, 0};
    ppoll(&at, 1, &limit, NULL);
}

/* The others are switched off, as some loops do it. */
static void do_poll_with_holes(void)
{
    struct pollfd at[3] = {{.fd = -1}, {.fd = one.app, .events = POLLIN}, {.fd = ~two.app}};
    poll(at, 3, -1);
}

static void do_poll_both(void)
{
    struct pollfd at[2] = {{.fd = one.app, .events = POLLIN}, {.fd = two.app, .events = POLLIN}};
    poll(at, 2, -1);
}

static void do_poll_two_only(void)
{
    struct pollfd at = {.fd = two.app, .events = POLLIN};
    poll(&at, 1, -1);
}

/* Longer than what is looked at; ours is the last. */
static void do_poll_many(void)
{
    struct pollfd at[MANY_FDS];
    for (int i = 0; i < MANY_FDS; i++)
        at[i] = (struct pollfd){.fd = -1};
    at[MANY_FDS - 1] = (struct pollfd){.fd = one.app, .events = POLLIN};
    poll(at, MANY_FDS, -1);
}

static void do_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(one.app, &set);
    select(one.app + 1, &set, NULL, NULL, NULL);
}

static void do_select_both(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(one.app, &set);
    FD_SET(two.app, &set);
    select((one.app > two.app ? one.app : two.app) + 1, &set, NULL, NULL, NULL);
}

static void do_select_two_only(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(two.app, &set);
    select(two.app + 1, &set, NULL, NULL, NULL);
}

static void do_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, one.app, &event);
    while (epoll_wait(epoll, &event, 1, -1) < 0 && errno == EINTR) /* by a stop */
        ;
}

static void do_epoll_with_a_limit(void)
{
    struct epoll_event event;
    int epoll = epoll_create1(0);
    while (epoll_wait(epoll, &event, 1, 900) <= 0)
        ;
}

static void do_epoll_with_a_far_limit(void)
{
    struct epoll_event event;
    int epoll = epoll_create1(0);
    while (epoll_wait(epoll, &event, 1, 100000) < 0 && errno == EINTR)
        ;
}

static void do_select_with_a_limit(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(two.app, &set);
    for (struct timeval limit = {0, 900000}; select(two.app + 1, &set, NULL, NULL, &limit) <= 0; limit.tv_usec = 900000)
        ;
}

static void do_pselect_with_a_far_limit(void)
{
    struct timespec limit = {1000, 0};
    pselect(0, NULL, NULL, NULL, &limit, NULL);
}

static void do_futex(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
}

/* FUTEX_WAIT_BITSET, which is 393: no array of so many. */
static void do_futex_with_a_limit(void)
{
    static struct {
        pthread_mutex_t mutex;
        pthread_cond_t never;
        char behind[8192];
    } memory = {.mutex = PTHREAD_MUTEX_INITIALIZER, .never = PTHREAD_COND_INITIALIZER};
    struct timespec limit = {(time_t)4e9, 0};
    pthread_mutex_lock(&memory.mutex);
    pthread_cond_timedwait(&memory.never, &memory.mutex, &limit);
}

static void do_sleep_with_a_rest(void)
{
    struct timespec limit = {1000, 0}, rest;
    nanosleep(&limit, &rest);
}

static void do_sleep(void)
{
    struct timespec limit = {1000, 0};
    nanosleep(&limit, NULL);
}

static void do_poll_nothing(void)
{
    poll(NULL, 0, 1000000);
}

static void do_spin(void)
{
    for (volatile int i = 0;; i++)
        ;
}

static void do_recv_in_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))do_recv, NULL);
    do_futex();
}

static void do_poll_both_beside_recv(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))do_recv, NULL);
    do_poll_both();
}

static void do_recv_beside_poll_both(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))do_poll_both, NULL);
    do_recv();
}

static void do_spin_in_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))do_spin, NULL);
    do_futex();
}

/* -- what is to be seen -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*does)(void);
    enum waited waited;
    bool running;
} cases[] = {
    {"recv", do_recv, WAITED_ALONE, false},
    {"read", do_read, WAITED_ALONE, false},
    {"readv", do_readv, WAITED_ALONE, false},
    {"recvmsg", do_recvmsg, WAITED_ALONE, false},
    {"poll of one", do_poll, WAITED_ALONE, false},
    {"poll of one, with a limit", do_poll_with_a_limit, WAITED_ALONE, false},
    {"ppoll of one", do_ppoll, WAITED_ALONE, false},
    {"poll with holes", do_poll_with_holes, WAITED_ALONE, false},
    {"poll of two", do_poll_both, WAITED_WITH_OTHERS, false},
    {"poll of another", do_poll_two_only, WAITED_NOT, false},
    {"poll of very many", do_poll_many, WAITED_WITH_OTHERS, false},
    {"select of one", do_select, WAITED_ALONE, false},
    {"select of two", do_select_both, WAITED_WITH_OTHERS, false},
    {"select of another", do_select_two_only, WAITED_NOT, false},
    {"epoll", do_epoll, WAITED_NOT, false}, /* the row says it: see sockets/epoll.h */
    {"futex", do_futex, WAITED_NOT, false},
    {"futex, with a limit", do_futex_with_a_limit, WAITED_NOT, false},
    {"sleep", do_sleep, WAITED_NOT, false},
    {"sleep, with a rest", do_sleep_with_a_rest, WAITED_NOT, false},
    {"poll of nothing", do_poll_nothing, WAITED_NOT, false},
    {"user space", do_spin, WAITED_NOT, true},
    {"another thread in recv", do_recv_in_a_thread, WAITED_ALONE, false},
    {"one alone beside one with others", do_poll_both_beside_recv, WAITED_ALONE, false},
    {"the same, the other way round", do_recv_beside_poll_both, WAITED_ALONE, false},
    {"another thread in user space", do_spin_in_a_thread, WAITED_NOT, true},
};
enum { CASES = sizeof cases / sizeof *cases };

static void start(void (*does)(void))
{
    one = link_open();
    two = link_open();
    app = fork();
    if (app == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        does();
        _exit(1);
    }
}

static struct hold_hint hint_of(uint8_t holders)
{
    struct handle_row row = link_row(&one, app);
    struct hold_hint hint;

    row.holders = holders;
    waits_read(&row, 1, &hint);
    return hint;
}

static bool shows(size_t i)
{
    struct hold_hint hint = hint_of(1);
    bool alone = cases[i].waited == WAITED_ALONE;

    return hint.waited == cases[i].waited && hint.running == cases[i].running && (hint.thread != 0) == alone;
}

static bool shows_always(size_t i)
{
    for (int turn = 0; turn < 5; turn++)
        if (!shows(i))
            return false;
    return true;
}

/* It gets there, and stays: what a start-up, or a call that begins anew, shows on its way is looked away from. */
static void stands(size_t i)
{
    if (wait_until(shows_always(i)))
        return;
    struct hold_hint hint = hint_of(1);
    ck_abort_msg("%s: waited %d running %d thread %d", cases[i].name, hint.waited, hint.running, hint.thread);
}

START_TEST(calls)
{
    start(cases[_i].does);
    stands((size_t)_i);
    end_app(app);
}
END_TEST

/* Stopped and continued, poll(2) goes on as restart_syscall(2), and others begin anew. Nothing
 * else may be seen then. */
START_TEST(calls_after_a_stop)
{
    int status;

    start(cases[_i].does);
    stands((size_t)_i);
    kill(app, SIGSTOP);
    ck_assert_int_eq(waitpid(app, &status, WUNTRACED), app);
    kill(app, SIGCONT);
    ck_assert_int_eq(waitpid(app, &status, WCONTINUED), app);
    stands((size_t)_i);
    end_app(app);
}
END_TEST

/* Is there a timer that will wake the app soon? */
static const struct {
    const char *name;
    void (*does)(void);
    bool only_events;
} timers[] = {
    {"recv", do_recv, true},
    {"epoll", do_epoll, true},
    {"epoll, with a limit", do_epoll_with_a_limit, false},
    {"epoll, with a far limit", do_epoll_with_a_far_limit, true},
    {"poll", do_poll, true},
    {"ppoll, with a far limit", do_ppoll, true},
    {"select", do_select, true},
    {"select, with a limit", do_select_with_a_limit, false},
    {"pselect, with a far limit", do_pselect_with_a_far_limit, true},
    {"futex", do_futex, true},
    {"futex, with a limit", do_futex_with_a_limit, false},
    {"sleep", do_sleep, false},
    {"user space", do_spin, false},
    {"another thread in user space", do_spin_in_a_thread, false},
};
enum { TIMERS = sizeof timers / sizeof *timers };

static bool shows_timer(size_t i, uint8_t holders)
{
    for (int turn = 0; turn < 5; turn++)
        if (hint_of(holders).only_events != (timers[i].only_events && holders == 1))
            return false;
    return true;
}

START_TEST(timers_that_are_near)
{
    start(timers[_i].does);
    ck_assert_msg(wait_until(shows_timer((size_t)_i, 1)), "%s", timers[_i].name);
    ck_assert_msg(wait_until(shows_timer((size_t)_i, 2)), "%s, shared", timers[_i].name); /* the other one is not seen */
    end_app(app);
}
END_TEST

START_TEST(names_the_thread)
{
    start(do_recv_in_a_thread);
    ck_assert(wait_until(hint_of(1).waited == WAITED_ALONE));
    int32_t thread = hint_of(1).thread;
    ck_assert_int_ne(thread, app);
    ck_assert_int_eq(syscall(SYS_tgkill, app, thread, 0), 0);
    end_app(app);
}
END_TEST

/* Another holder may wait for it: that this one does not is not enough. */
START_TEST(shared_sockets)
{
    start(do_sleep);
    ck_assert(wait_until(hint_of(1).waited == WAITED_NOT && !hint_of(1).running));
    ck_assert_int_eq(hint_of(2).waited, WAITED_UNKNOWN);
    end_app(app);
    start(do_recv);
    ck_assert(wait_until(hint_of(2).waited == WAITED_ALONE));
    end_app(app);
}
END_TEST

/* A holder that the row only names beside the first one waits for it; or runs. */
START_TEST(another_holder_waits)
{
    start(do_sleep);
    pid_t first = app;
    struct link shared = one;
    pid_t second = fork();
    if (second == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        one = shared;
        do_recv();
        _exit(1);
    }
    struct handle_row row = link_row(&shared, first);
    struct hold_hint hint;
    row.holders = row.descriptors = 2;
    row.others[0] = (struct socket_holder){second, shared.app};
    ck_assert(wait_until((waits_read(&row, 1, &hint), hint.waited == WAITED_ALONE)));
    ck_assert_int_eq(hint.thread, second);
    row.pid = second;
    row.others[0].pid = first;
    ck_assert(wait_until((waits_read(&row, 1, &hint), hint.waited == WAITED_ALONE)));
    end_app(second);
    waits_read(&row, 1, &hint); /* one of them is gone */
    ck_assert_int_eq(hint.waited, WAITED_UNKNOWN);
    end_app(first);
}
END_TEST

START_TEST(several_rows_of_several_processes)
{
    struct handle_row rows[4];
    struct hold_hint hints[4];

    start(do_recv);
    struct link first = one, second = two;
    pid_t first_app = app;
    start(do_poll_two_only);
    rows[0] = link_row(&second, first_app);
    rows[1] = link_row(&two, app);
    rows[2] = link_row(&first, first_app);
    rows[3] = link_row(&one, app);
    ck_assert(wait_until((waits_read(rows, 4, hints), hints[1].waited == WAITED_ALONE &&
                                                      hints[2].waited == WAITED_ALONE)));
    ck_assert_int_eq(hints[0].waited, WAITED_NOT);
    ck_assert_int_eq(hints[3].waited, WAITED_NOT);
    end_app(first_app);
    end_app(app);
}
END_TEST

START_TEST(gone)
{
    start(do_sleep);
    end_app(app);
    ck_assert_int_eq(hint_of(1).waited, WAITED_UNKNOWN);
    waits_read(NULL, 0, NULL);
}
END_TEST

/* Memory that cannot be read: the array is not known, so every handle of the process may be meant. */
START_TEST(array_that_cannot_be_read)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    start(_i ? do_select_two_only : do_poll_two_only);
    ck_assert(wait_until(hint_of(1).waited == WAITED_NOT && !hint_of(1).running));
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    ck_assert_int_eq(hint_of(1).waited, WAITED_WITH_OTHERS);
    end_app(app);
}
END_TEST

/* Threads that come and go: one that has ended between two reads of ours says nothing about the others. */
static void *short_lived(void *unused)
{
    return unused;
}

static void do_many_threads(void)
{
    pthread_t waits;
    pthread_create(&waits, NULL, (void *(*)(void *))(void (*)(void))do_recv, NULL);
    for (;;) {
        pthread_t thread;
        pthread_create(&thread, NULL, short_lived, NULL);
        pthread_join(thread, NULL);
    }
}

START_TEST(threads_that_come_and_go)
{
    start(do_many_threads);
    ck_assert(wait_until(hint_of(1).waited == WAITED_ALONE));
    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(hint_of(1).waited, WAITED_ALONE);
    end_app(app);
}
END_TEST

static void tear_down(void)
{
    if (app > 0)
        kill(app, SIGKILL);
}

int main(void)
{
    Suite *suite = suite_create("waits");
    TCase *tc = tcase_create("waits");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, calls, 0, CASES);
    tcase_add_loop_test(tc, calls_after_a_stop, 0, CASES);
    tcase_add_loop_test(tc, timers_that_are_near, 0, TIMERS);
    tcase_add_test(tc, names_the_thread);
    tcase_add_test(tc, shared_sockets);
    tcase_add_test(tc, another_holder_waits);
    tcase_add_test(tc, several_rows_of_several_processes);
    tcase_add_test(tc, gone);
    tcase_add_loop_test(tc, array_that_cannot_be_read, 0, 2);
    tcase_add_test(tc, threads_that_come_and_go);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
