/* ptrace_duplicate: threads in every kind of call, or in none, hand over their process' socket and notice nothing;
 * nothing of theirs is left changed, and whatever goes wrong is told. */
#include <dirent.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <time.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/app/reap.h"
#include "supervisor/handles/nudge.h"
#include "supervisor/handles/ptrace_duplicate.h"

enum { TAKES = 60, THREADS = 5 };

/* What the app says while it runs, in memory that both see. */
static struct shared {
    volatile unsigned long turns, signals, errors;
    volatile bool ready, over;
} *shared;

static struct link one, two;
static struct nudges nudges;
static pid_t app;

/* -- the app: what its thread does until it is over; what went wrong is counted ------------------------------------ */

static void expect(bool as_it_should_be)
{
    shared->errors += !as_it_should_be;
}

static void do_spin(void)
{
    for (volatile double x = 1.5, y = 1; !shared->over; shared->turns++)
        for (int i = 0; i < 1000; i++) {
            y = x * 3 / 3;
            expect(y == x);
        }
}

static void do_calls(void)
{
    for (; !shared->over; shared->turns++)
        expect(syscall(SYS_getppid) == getppid() && syscall(SYS_close, -1) == -1 && errno == EBADF);
}

static void do_nap(void)
{
    for (; !shared->over; shared->turns++) {
        struct timespec nap = {0, 20000000};
        int64_t began = clock_now_us();
        expect(nanosleep(&nap, NULL) == 0);
        expect(clock_now_us() - began >= 20000);
    }
}

static void do_poll(void)
{
    struct pollfd at = {.fd = one.app, .events = POLLIN};
    for (; !shared->over; shared->turns++) {
        int64_t began = clock_now_us();
        expect(poll(&at, 1, 20) == 0);
        expect(clock_now_us() - began >= 19000);
    }
}

static void do_futex(void)
{
    int word = 0;
    for (; !shared->over; shared->turns++) {
        struct timespec limit = {0, 20000000};
        expect(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0) == -1 && errno == ETIMEDOUT);
    }
}

/* Interrupted as by SIGSTOP: signal(7). */
static void do_epoll(void)
{
    struct epoll_event event;
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (; !shared->over; shared->turns++)
        expect(epoll_wait(set, &event, 1, 20) == 0 || errno == EINTR);
    close(set);
}

/* Echoes: each byte once, in order. */
static void do_recv(void)
{
    char byte;
    for (char next = 0; !shared->over; next++, shared->turns++)
        if (recv(two.app, &byte, 1, 0) == 1)
            expect(byte == next && send(two.app, &byte, 1, 0) == 1);
}

static void on_signal(int signo)
{
    (void)signo;
    shared->signals++;
}

/* A timer's signals reach it all the time, and only it knows what it blocks. */
static void do_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct itimerspec often = {{0, 1000000}, {0, 1000000}};
    sigset_t blocked, now;
    timer_t timer;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    expect(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0);
    for (; !shared->over; shared->turns++) {
        expect(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && memcmp(&now, &blocked, sizeof(long)) == 0);
        for (unsigned long seen = shared->signals; seen == shared->signals && !shared->over;)
            syscall(SYS_getppid);
    }
}

/* What lies below the stack pointer is nobody's, but it is not to change: a coroutine may have been here. Nothing is
 * called between its writing and its check. */
static void do_watch_stack(void)
{
#if defined(__x86_64__)
    for (; !shared->over; shared->turns++) {
        struct timespec nap = {0, 2000000};
        volatile unsigned char *at = (unsigned char *)__builtin_frame_address(0) - 16384;
        long result;
        for (int i = 0; i < 15000; i++)
            at[i] = (unsigned char)(i * 7 + 1);
        __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_nanosleep), "D"(&nap), "S"(0) : "rcx", "r11", "memory");
        unsigned wrong = result != 0;
        for (int i = 0; i < 15000; i++)
            wrong += at[i] != (unsigned char)(i * 7 + 1);
        shared->errors += wrong;
    }
#else
    do_nap();
#endif
}

/* SIGTRAP is what a single step brings: whatever the app has made of it stays so. */
static void watch_trap(void (*handler)(int), bool blocked)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, now;
    sigset_t mask, mask_now;
    sigaction(SIGTRAP, &action, NULL);
    sigemptyset(&mask);
    if (blocked)
        sigaddset(&mask, SIGTRAP);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    for (; !shared->over; shared->turns++) {
        expect(sigaction(SIGTRAP, NULL, &now) == 0 && now.sa_handler == handler);
        expect(sigprocmask(SIG_SETMASK, NULL, &mask_now) == 0 && memcmp(&mask_now, &mask, sizeof(long)) == 0);
        poll(NULL, 0, 1);
    }
}

static void do_ignore_trap(void)
{
    watch_trap(SIG_IGN, false);
}

/* One is pending all the time, and says in the end where it came from. */
static void do_block_trap(void)
{
    siginfo_t info = {0};
    sigset_t traps;
    sigemptyset(&traps);
    sigaddset(&traps, SIGTRAP);
    sigprocmask(SIG_BLOCK, &traps, NULL);
    expect(sigqueue(getpid(), SIGTRAP, (union sigval){.sival_int = 42}) == 0);
    watch_trap(SIG_DFL, true);
    expect(sigtimedwait(&traps, &info, &(struct timespec){0}) == SIGTRAP && info.si_value.sival_int == 42);
}

static void do_handle_trap(void)
{
    watch_trap(on_signal, false);
}

static void *thread_of(void *what)
{
    ((void (*)(void))what)();
    return NULL;
}

static void do_threads(void)
{
    static void (*const all[THREADS])(void) = {do_nap, do_futex, do_spin, do_poll, do_calls};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        expect(pthread_create(&threads[i], NULL, thread_of, (void *)all[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void (*const all_work[])(void) = {do_spin, do_calls, do_nap, do_poll, do_futex, do_epoll, do_recv, do_signals,
                                         do_threads, do_watch_stack, do_ignore_trap, do_block_trap, do_handle_trap};
enum { WORKS = sizeof all_work / sizeof *all_work };

static void start(void (*work)(void))
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    one = link_open();
    two = link_open();
    fcntl(two.app, F_SETFL, 0);
    app = fork();
    ck_assert_int_ge(app, 0);
    if (app > 0) {
        ck_assert(wait_until(shared->ready));
        return;
    }
    close(one.server);
    close(two.server);
    shared->ready = true;
    work();
    _exit(0);
}

/* -- what is seen of it -------------------------------------------------------------------------------------------- */

static int entries_of(const char *what)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", app, what);
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

static void wait_for_work(void (*work)(void))
{
    ck_assert(work == do_recv || wait_until(shared->turns > 0));
    ck_assert(work != do_threads || wait_until(entries_of("task") == 2 + 1 + THREADS && shared->turns > 100));
}

static size_t size_of_memory(void)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", app);
    FILE *file = fopen(path, "r");
    ck_assert(file && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages;
}

static char state_of(pid_t tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 ? strrchr(text, ')')[2] : '?';
}

/* As the supervisor reaps. True when something has ended or stopped in its own right. */
static bool reap(struct reaped *reaped)
{
    while ((*reaped = reap_next()).how != REAPED_NONE) {
        if (reaped->how == REAPED_TRAPPED)
            nudge_stopped(&nudges, reaped->pid, reaped->value);
        else if (reaped->how == REAPED_EXITED || reaped->how == REAPED_SIGNALED)
            nudge_ended(&nudges, reaped->pid);
        if (reaped->how != REAPED_TRAPPED)
            return true;
    }
    return false;
}

static int take(void)
{
    struct reaped reaped;
    int fd = ptrace_duplicate(app, one.app);
    int error = errno;
    ck_assert(!reap(&reaped));
    errno = error;
    return fd;
}

/* Only "not now" may keep it from being taken at once. */
static void expect_taken(void)
{
    int fd = -1;
    ck_assert_msg(wait_until((fd = take()) >= 0 || errno != EAGAIN) && fd >= 0, "not taken: %s", strerror(errno));
    ck_assert_uint_eq(inode_of(fd), one.inode);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void expect_unharmed(void)
{
    unsigned long before = shared->turns;
    struct reaped reaped;
    ck_assert(wait_until(!reap(&reaped) && shared->turns > before + 2));
    shared->over = true;
    write_text(two.server, "over");
    kill(app, SIGCONT);
    ck_assert(wait_until(reap(&reaped) && reaped.pid == app && reaped.how != REAPED_CONTINUED));
    ck_assert_int_eq(reaped.how, REAPED_EXITED);
    ck_assert_int_eq(reaped.value, 0);
    ck_assert_int_eq(shared->errors, 0);
    app = 0;
}

/* -- the tests ----------------------------------------------------------------------------------------------------- */

static char echo(char byte)
{
    ck_assert_int_eq(send(two.server, &byte, 1, 0), 1);
    char back = -1;
    struct reaped reaped;
    ck_assert(wait_until(!reap(&reaped) && wakes(two.server, 0)) && recv(two.server, &back, 1, MSG_DONTWAIT) == 1);
    return back;
}

START_TEST(whatever_it_does)
{
    bool echoes = all_work[_i] == do_recv;
    start(all_work[_i]);
    wait_for_work(all_work[_i]);
    int fds = entries_of("fd"), threads = entries_of("task");
    size_t memory = size_of_memory();
    for (int i = 0; i < TAKES; i++) {
        expect_taken();
        ck_assert(!echoes || echo((char)i) == (char)i);
    }
    ck_assert_int_le(entries_of("fd"), fds);
    ck_assert_int_eq(entries_of("task"), threads);
    ck_assert_uint_eq(size_of_memory(), memory);
    ck_assert(all_work[_i] != do_signals || shared->signals > 0);
    if (echoes)
        for (int i = 0; i < 4; i++)
            echo((char)(TAKES + i));
    if (!echoes)
        expect_unharmed();
    else
        ck_assert_int_eq(shared->errors, 0);
}
END_TEST

/* One that stands stopped makes no step of its own, and stands so afterwards. */
START_TEST(stopped_before_and_after)
{
    struct reaped reaped;
    start(_i ? do_threads : do_calls);
    kill(app, SIGSTOP);
    ck_assert(wait_until(reap(&reaped) && reaped.how == REAPED_STOPPED));
    unsigned long turns = shared->turns;
    for (int i = 0; i < TAKES; i++)
        expect_taken();
    ck_assert_uint_eq(shared->turns, turns);
    ck_assert(wait_until(state_of(app) == 'T'));
    kill(app, SIGCONT);
    ck_assert(wait_until(reap(&reaped) && reaped.how == REAPED_CONTINUED));
    ck_assert(wait_until(shared->turns > turns));
    expect_unharmed();
}
END_TEST

/* It stops, goes on and gets signals in the midst of it. */
START_TEST(under_job_control)
{
    start(do_signals);
    for (int i = 0; i < TAKES; i++) {
        kill(app, SIGSTOP);
        int first = ptrace_duplicate(app, one.app);
        ck_assert_msg(first >= 0 || errno == EAGAIN, "%s", strerror(errno));
        kill(app, SIGCONT);
        int second = ptrace_duplicate(app, one.app);
        ck_assert_msg(second >= 0 || errno == EAGAIN, "%s", strerror(errno));
        close(first);
        close(second);
    }
    struct reaped reaped;
    while (reap(&reaped))
        ck_assert(reaped.how == REAPED_STOPPED || reaped.how == REAPED_CONTINUED);
    expect_unharmed();
}
END_TEST

/* One that is late is finished by who reaps: nothing is left behind. */
START_TEST(late_ones_are_finished)
{
    start(all_work[_i]);
    wait_for_work(all_work[_i]);
    int fds = entries_of("fd");
    size_t memory = size_of_memory();
    ptrace_duplicate_limits.rest_us = 0;
    for (int i = 0; i < TAKES; i++) {
        struct reaped reaped;
        ptrace_duplicate_limits.calls_us = i % 2 ? i : -1;
        int fd = ptrace_duplicate(app, one.app);
        ck_assert(fd >= 0 || errno == EAGAIN);
        close(fd);
        ck_assert(!reap(&reaped));
    }
    struct reaped reaped;
    ck_assert(wait_until(!reap(&reaped) && entries_of("fd") == fds && size_of_memory() == memory &&
                         state_of(app) != 't'));
    ck_assert(all_work[_i] != do_recv || echo(0) == 0);
    if (all_work[_i] != do_recv)
        expect_unharmed();
    ck_assert_int_eq(shared->errors, 0);
}
END_TEST

/* No thread stops in time: the process is left alone for a while, and then it is tried again. */
START_TEST(one_that_does_not_stop_rests)
{
    start(do_nap);
    ptrace_duplicate_limits.stop_us = -1;
    ptrace_duplicate_limits.rest_us = 10 * US_PER_SECOND;
    int64_t began = clock_now_us();
    ck_assert(wait_until(take() < 0)); /* it may be quicker than that */
    ck_assert_int_eq(errno, EAGAIN);
    ptrace_duplicate_limits.stop_us = 1000;
    for (int i = 0; i < TAKES && clock_now_us() < began + US_PER_SECOND; i++)
        ck_assert(take() < 0 && errno == EAGAIN);
    expect_unharmed();
}
END_TEST

/* One that comes from elsewhere meanwhile reaches the app, and none of ours does. */
START_TEST(no_trap_is_lost)
{
    start(do_handle_trap);
    ck_assert(wait_until(shared->turns > 0));
    for (unsigned long i = 0; i < TAKES; i++) {
        struct reaped reaped;
        pid_t sender = fork();
        if (sender == 0) {
            for (unsigned long k = 0; k < i; k++)
                sched_yield();
            kill(app, SIGTRAP);
            _exit(0);
        }
        int fd = ptrace_duplicate(app, one.app);
        ck_assert(fd >= 0 || errno == EAGAIN);
        close(fd);
        ck_assert(wait_until(reap(&reaped) && reaped.pid == sender));
        ck_assert(wait_until(!reap(&reaped) && shared->signals == i + 1));
    }
    expect_unharmed();
}
END_TEST

/* A thread that stands seized for its nudge is nudged by that. */
START_TEST(a_nudge_is_no_hindrance)
{
    start(do_nap);
    ck_assert(wait_until(shared->turns > 0));
    ck_assert_int_eq(nudge_thread(&nudges, app, clock_now_us()), 0);
    expect_taken();
    expect_taken();
    ck_assert_int_eq(nudge_forget_late(&nudges, INT64_MAX), 1);
    expect_unharmed();
}
END_TEST

static void note_end(const struct reaped *reaped, pid_t killer, bool *killed, bool *done)
{
    *killed |= reaped->pid == app && reaped->how == REAPED_SIGNALED;
    *done |= reaped->pid == killer;
}

/* Its end is reaped like any other, at whatever moment it comes. */
START_TEST(no_end_is_lost)
{
    for (int i = 0; i < 24; i++) {
        struct reaped reaped;
        start(i % 2 ? do_threads : do_nap);
        ptrace_duplicate_limits.calls_us = i % 3 ? 5000 : -1;
        bool killed = false, done = false;
        pid_t killer = fork();
        if (killer == 0) {
            for (int k = 0; k < i * 20; k++)
                sched_yield();
            kill(app, SIGKILL);
            _exit(0);
        }
        int error = EAGAIN;
        while (error == EAGAIN) {
            int fd = ptrace_duplicate(app, one.app);
            error = fd < 0 ? errno : EAGAIN;
            close(fd);
            while (reap(&reaped))
                note_end(&reaped, killer, &killed, &done);
        }
        ck_assert_msg(error == ESRCH || error == ESTALE, "%s", strerror(error));
        while (!(killed && done)) {
            ck_assert(wait_until(reap(&reaped)));
            note_end(&reaped, killer, &killed, &done);
        }
        close(one.app), close(one.server), close(two.app), close(two.server);
    }
    app = 0;
}
END_TEST

static int error_of_take(pid_t pid, int fd)
{
    errno = 0;
    ck_assert_int_eq(ptrace_duplicate(pid, fd), -1);
    return errno;
}

START_TEST(what_is_not_there)
{
    start(do_nap);
    ck_assert_int_eq(error_of_take(app, 1000), ESTALE);
    expect_taken();
    kill(app, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)app, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(error_of_take(app, one.app), ESRCH);
    end_app(app);
    ck_assert_int_eq(error_of_take(app, one.app), ESRCH);
    app = 0;
}
END_TEST

static void do_filtered(void)
{
    refuse_call(SYS_io_uring_setup, ENOSYS);
    shared->turns++;
    do_nap();
}

static void do_without_descriptors(void)
{
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){1, 1});
    shared->turns++;
    do_nap();
}

START_TEST(what_cannot_be_done)
{
    static const struct {
        void (*work)(void);
        int error;
    } cases[] = {{do_filtered, ENOSYS}, {do_without_descriptors, EAGAIN}};
    start(cases[_i].work);
    ck_assert(wait_until(shared->turns > 1));
    ck_assert_int_eq(error_of_take(app, one.app), cases[_i].error);
    expect_unharmed();
}
END_TEST

/* By a debugger: another child stands for it. */
START_TEST(traced_by_another)
{
    int tell[2];
    char byte;
    start(do_nap);
    ck_assert_int_eq(pipe(tell), 0);
    pid_t debugger = fork();
    if (debugger == 0) {
        byte = ptrace(PTRACE_SEIZE, app, 0, 0) == 0;
        for (ssize_t n = write(tell[1], &byte, 1); n == 1;)
            pause();
        _exit(1);
    }
    ck_assert(read(tell[0], &byte, 1) == 1 && byte);
    ck_assert_int_eq(error_of_take(app, one.app), EPERM);
    end_app(debugger);
    expect_taken();
    expect_unharmed();
}
END_TEST

START_TEST(ptrace_refused)
{
    start(do_nap);
    refuse_call(SYS_ptrace, EPERM);
    ck_assert_int_eq(error_of_take(app, one.app), EPERM);
    expect_unharmed();
}
END_TEST

static void tear_down(void)
{
    if (app > 0)
        kill(app, SIGKILL);
}

int main(void)
{
    Suite *suite = suite_create("ptrace_duplicate");
    TCase *tc = tcase_create("ptrace_duplicate");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, whatever_it_does, 0, WORKS);
    tcase_add_loop_test(tc, stopped_before_and_after, 0, 2);
    tcase_add_test(tc, under_job_control);
    tcase_add_loop_test(tc, late_ones_are_finished, 0, WORKS);
    tcase_add_test(tc, one_that_does_not_stop_rests);
    tcase_add_test(tc, no_trap_is_lost);
    tcase_add_test(tc, a_nudge_is_no_hindrance);
    tcase_add_test(tc, no_end_is_lost);
    tcase_add_test(tc, what_is_not_there);
    tcase_add_loop_test(tc, what_cannot_be_done, 0, 2);
    tcase_add_test(tc, traced_by_another);
    tcase_add_test(tc, ptrace_refused);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
