/* nudge: real threads in real calls, under a brake: who is nudged returns what it has taken, nobody else notices, and
 * nothing that ends or stops meanwhile is lost. */
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "loopback.h"
#include "supervisor/app/reap.h"
#include "supervisor/handles/nudge.h"
#include "supervisor/handles/waits.h"

enum { LOW = 32749 };

/* What the app's threads say, one packet each. */
struct said {
    char what;
    ssize_t n;
    int error;
};

static struct link one, two;
static struct nudges nudges;
static int ear, mouth = -1;
static pid_t app;

static void say(char what, ssize_t n)
{
    struct said said = {what, n, n < 0 ? errno : 0};
    if (write(mouth, &said, sizeof said) != sizeof said)
        _exit(1);
}

/* -- the app: each thread for ever -------------------------------------------------------------------------------- */

static _Noreturn void *receive(void *link)
{
    char buffer[100];
    for (;;)
        say(link == &one ? '1' : '2', recv(((struct link *)link)->app, buffer, sizeof buffer, 0));
}

static void on_signal(int signo)
{
    say('s', signo);
}

static _Noreturn void run_app(bool threads)
{
    pthread_t thread;
    signal(SIGUSR1, on_signal);
    if (threads) {
        pthread_create(&thread, NULL, receive, &one);
        pthread_create(&thread, NULL, receive, &two);
        for (;;)
            pause();
    }
    receive(&one);
}

/* `before`: what lies there before the first recv(2), which takes it and stays. */
static void start_app(bool threads, const char *before)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ear = pair[0];
    mouth = pair[1];
    struct link *const links[] = {&one, &two};
    for (int i = 0; i < 2; i++) {
        *links[i] = link_open();
        fcntl(links[i]->app, F_SETFL, 0);
        set_option_of(links[i]->app, SOL_SOCKET, SO_RCVLOWAT, LOW);
        write_text(links[i]->server, before);
    }
    app = fork();
    ck_assert_int_ge(app, 0);
    if (app == 0)
        run_app(threads);
}

/* -- what is seen of it ------------------------------------------------------------------------------------------- */

static struct said heard(int ms)
{
    struct said said = {0};
    struct pollfd at = {.fd = ear, .events = POLLIN};
    if (poll(&at, 1, ms) > 0)
        ck_assert_int_eq(recv(ear, &said, sizeof said, MSG_DONTWAIT), sizeof said);
    return said;
}

static void expect_said(char what, ssize_t n)
{
    struct said said = heard(10000);
    ck_assert_int_eq(said.what, what);
    ck_assert_int_eq(said.n, n);
}

static void expect_silence(void)
{
    ck_assert_int_eq(heard(20).what, 0); /* that something does not happen takes a while to be seen */
}

static pid_t thread_that_waits(const struct link *link)
{
    struct handle_row row = link_row(link, app);
    struct hold_hint hint;
    ck_assert(wait_until((waits_read(&row, 1, &hint), hint.waited == WAITED_ALONE)));
    return hint.thread;
}

static int unread(const struct link *link)
{
    int bytes = -1;
    ck_assert_int_eq(ioctl(link->app, FIONREAD, &bytes), 0);
    return bytes;
}

/* Reaps as the supervisor does it. True when something has ended or stopped in its own right. */
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

static void let_stop(void)
{
    struct reaped reaped;
    ck_assert(wait_until((reap(&reaped), nudges.count == 0)));
    ck_assert_int_eq(reaped.how, REAPED_NONE);
}

static char state_of(pid_t tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    close(fd);
    return strrchr(text, ')')[2];
}

static void expect_killed(void)
{
    struct reaped reaped;
    kill(app, SIGKILL);
    do
        ck_assert(wait_until(reap(&reaped)));
    while (reaped.pid != app);
    ck_assert_int_eq(reaped.how, REAPED_SIGNALED);
    ck_assert_int_eq(reaped.value, SIGKILL);
    ck_assert_int_eq(reap_next().how, REAPED_NONE);
    ck_assert_int_eq(nudges.count, 0);
}

/* -- the tests ---------------------------------------------------------------------------------------------------- */

/* Whether the bytes were there before recv(2) was entered, which took them, or came later, and lie unread. */
START_TEST(one_thread_returns_what_it_has_and_no_other)
{
    bool taken = _i == 0;
    start_app(true, taken ? "five!" : "");
    thread_that_waits(&one);
    thread_that_waits(&two);
    if (!taken) {
        write_text(one.server, "five!");
        write_text(two.server, "three");
    }
    ck_assert(wait_until(unread(&one) == (taken ? 0 : 5) && unread(&two) == (taken ? 0 : 5)));
    expect_silence();
    ck_assert_int_eq(nudge_thread(&nudges, thread_that_waits(&one), clock_now_us()), 0);
    let_stop();
    expect_said('1', 5);
    expect_silence();
    ck_assert_int_eq(nudge_thread(&nudges, thread_that_waits(&two), clock_now_us()), 0);
    let_stop();
    expect_said('2', 5);
    expect_killed();
}
END_TEST

/* It has taken nothing: it waits on, and gets what comes later. */
START_TEST(one_that_has_nothing_waits_on)
{
    start_app(true, "");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(nudge_thread(&nudges, thread_that_waits(&one), clock_now_us()), 0);
        let_stop();
    }
    expect_silence();
    thread_that_waits(&one);
    set_option_of(one.app, SOL_SOCKET, SO_RCVLOWAT, 1);
    write_text(one.server, "first");
    thread_that_waits(&one);
    ck_assert_int_eq(nudge_thread(&nudges, thread_that_waits(&one), clock_now_us()), 0);
    let_stop();
    expect_said('1', 5);
    expect_killed();
}
END_TEST

/* The end of a seized thread, or of its process, whether or not it has stopped before. */
START_TEST(no_end_is_lost)
{
    bool threads = _i & 1, stopped = _i & 2;
    start_app(threads, "");
    pid_t tid = thread_that_waits(&one);
    ck_assert(threads == (tid != app));
    ck_assert_int_eq(nudge_thread(&nudges, tid, clock_now_us()), 0);
    ck_assert(!stopped || wait_until(state_of(tid) == 't'));
    expect_killed();
}
END_TEST

/* One that comes while the thread stands stopped, and one that finds it seized before it is interrupted. */
START_TEST(signals_are_passed_on)
{
    start_app(false, "");
    pid_t tid = thread_that_waits(&one);
    if (_i) {
        ck_assert_int_eq(ptrace(PTRACE_SEIZE, tid, 0, 0), 0);
    } else {
        ck_assert_int_eq(nudge_thread(&nudges, tid, clock_now_us()), 0);
        ck_assert(wait_until(state_of(tid) == 't'));
    }
    kill(app, SIGUSR1);
    ck_assert(wait_until(state_of(tid) == 't'));
    struct reaped reaped;
    ck_assert(!reap(&reaped));
    expect_said('s', SIGUSR1);
    expect_silence();
    expect_killed();
}
END_TEST

/* ^Z is job control, before and after a nudge, and one that stands stopped is not let go by a nudge. */
START_TEST(job_control_is_no_nudge)
{
    struct reaped reaped;
    start_app(false, "");
    pid_t tid = thread_that_waits(&one);
    ck_assert_int_eq(nudge_thread(&nudges, tid, clock_now_us()), 0);
    ck_assert(wait_until(state_of(tid) == 't'));
    kill(app, SIGTSTP);
    ck_assert(wait_until(reap(&reaped)));
    ck_assert_int_eq(reaped.how, REAPED_STOPPED);
    ck_assert_int_eq(reaped.value, SIGTSTP);
    ck_assert(wait_until(state_of(tid) == 'T'));
    ck_assert_int_eq(nudge_thread(&nudges, tid, clock_now_us()), 0);
    ck_assert(wait_until((reap(&reaped), nudges.count == 0)));
    ck_assert(wait_until(state_of(tid) == 'T'));
    kill(app, SIGCONT);
    ck_assert(wait_until(reap(&reaped) && reaped.how == REAPED_CONTINUED));
    thread_that_waits(&one);
    expect_killed();
}
END_TEST

START_TEST(refusals_are_told)
{
    start_app(false, "");
    pid_t tid = thread_that_waits(&one);
    ck_assert_int_eq(nudge_thread(&nudges, getpid(), 0), -1);
    ck_assert_int_eq(errno, EPERM);
    pid_t other = fork_app(&(int){0}, NULL, NULL);
    end_app(other);
    ck_assert_int_eq(nudge_thread(&nudges, other, 0), -1);
    ck_assert_int_eq(errno, ESRCH);
    ck_assert_int_eq(nudges.count, 0);
    nudges.count = NUDGES_MOST;
    ck_assert_int_eq(nudge_thread(&nudges, tid, 0), -1);
    ck_assert_int_eq(errno, EBUSY);
    nudges.count = 0;
    expect_killed();
}
END_TEST

/* One that is late is forgotten, and let go all the same. */
START_TEST(late_ones_are_forgotten_and_let_go)
{
    start_app(false, "late!");
    pid_t tid = thread_that_waits(&one);
    ck_assert_int_eq(nudge_thread(&nudges, tid, 1000), 0);
    ck_assert_int_eq(nudge_thread(&nudges, tid, 2000), 0);
    ck_assert_int_eq(nudge_forget_late(&nudges, 5999), 0);
    ck_assert_int_eq(nudge_forget_late(&nudges, 6000), 1);
    ck_assert_int_eq(nudge_forget_late(&nudges, 9000), 0);
    ck_assert_int_eq(nudge_thread(&nudges, tid, 9000), -1);
    ck_assert_int_eq(errno, EPERM);
    struct reaped reaped;
    ck_assert(wait_until(state_of(tid) == 't'));
    ck_assert(!reap(&reaped));
    expect_said('1', 5);
    expect_killed();
}
END_TEST

static void tear_down(void)
{
    if (app > 0)
        kill(app, SIGKILL);
}

int main(void)
{
    Suite *suite = suite_create("nudge");
    TCase *tc = tcase_create("nudge");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, one_thread_returns_what_it_has_and_no_other, 0, 2);
    tcase_add_test(tc, one_that_has_nothing_waits_on);
    tcase_add_loop_test(tc, no_end_is_lost, 0, 4);
    tcase_add_loop_test(tc, signals_are_passed_on, 0, 2);
    tcase_add_test(tc, job_control_is_no_nudge);
    tcase_add_test(tc, refusals_are_told);
    tcase_add_test(tc, late_ones_are_forgotten_and_let_go);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
