/* The service manager's notifications: a datagram socket of the test's own is the manager. */
#include <check.h>
#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/platform/notify.h"

static char directory[] = "/tmp/test_notify.XXXXXX", path[64], heard[1024];
static int manager = -1;
static struct ev_loop *loop;
static struct notify *notify;
static ev_timer limit;
static ev_io hearing;
static bool limit_passed;

static void on_limit(struct ev_loop *of, ev_timer *timer, int events)
{
    (void)of;
    (void)timer;
    (void)events;
    limit_passed = true;
}

static void on_readable(struct ev_loop *of, ev_io *io, int events)
{
    (void)of;
    (void)io;
    (void)events;
}

static void listen_at(const struct sockaddr_un *address, size_t length)
{
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(manager, (const void *)address, (socklen_t)length), 0);
}

static void enter(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    loop = ev_loop_new(0);
    ev_timer_init(&limit, on_limit, 0., 10.);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/notify", directory);
    strcpy(address.sun_path, path);
    listen_at(&address, sizeof address);
    setenv("NOTIFY_SOCKET", path, 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void leave(void)
{
    notify_destroy(notify);
    notify = NULL;
    close(manager);
    unlink(path);
    rmdir(directory);
    ev_loop_destroy(loop);
}

/* What the manager got; NULL: nothing. */
static const char *hear(void)
{
    ssize_t length = recv(manager, heard, sizeof heard - 1, 0);
    if (length == -1)
        return NULL;
    heard[length] = 0;
    return heard;
}

/* The same, but waits for it in the loop. */
static const char *await(void)
{
    const char *text = NULL;
    limit_passed = false;
    ev_timer_again(loop, &limit);
    ev_io_init(&hearing, on_readable, manager, EV_READ);
    ev_io_start(loop, &hearing);
    while (!(text = hear()) && !limit_passed)
        ev_run(loop, EVRUN_ONCE);
    ev_io_stop(loop, &hearing);
    ev_timer_stop(loop, &limit);
    return text;
}

START_TEST(states_are_told)
{
    notify = notify_create(loop);
    ck_assert_ptr_nonnull(notify);
    ck_assert_ptr_null(hear());
    notify_ready(notify, "running");
    ck_assert_str_eq(hear(), "READY=1\nSTATUS=running");
    notify_status(notify, "draining: 3 of 8");
    ck_assert_str_eq(hear(), "STATUS=draining: 3 of 8");
    notify_stopping(notify, NULL);
    ck_assert_str_eq(hear(), "STOPPING=1");
}
END_TEST

START_TEST(a_status_is_one_line)
{
    notify = notify_create(loop);
    notify_status(notify, "a\nMAINPID=1\r\nb");
    ck_assert_str_eq(hear(), "STATUS=a MAINPID=1  b");
}
END_TEST

START_TEST(the_app_does_not_inherit_it)
{
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify = notify_create(loop);
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    ck_assert_ptr_null(getenv("WATCHDOG_PID"));
}
END_TEST

START_TEST(an_abstract_address_works)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    close(manager);
    int length = snprintf(name, sizeof name, "@lastcall-unit-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
    listen_at(&address, offsetof(struct sockaddr_un, sun_path) + (size_t)length);
    setenv("NOTIFY_SOCKET", name, 1);
    notify = notify_create(loop);
    notify_ready(notify, NULL);
    ck_assert_str_eq(hear(), "READY=1");
}
END_TEST

static const char *const unusable[] = {"", "vsock:2:1234", "relative/path", "@", "/"};

START_TEST(other_addresses_are_refused_quietly)
{
    setenv("NOTIFY_SOCKET", unusable[_i], 1);
    ck_assert_ptr_null(notify_create(loop));
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
}
END_TEST

START_TEST(an_address_that_is_too_long_is_refused)
{
    char longer[128];
    memset(longer, 'x', sizeof longer);
    longer[0] = '/';
    longer[108] = 0;
    setenv("NOTIFY_SOCKET", longer, 1);
    ck_assert_ptr_null(notify_create(loop));
}
END_TEST

START_TEST(without_a_manager_nothing_happens)
{
    unsetenv("NOTIFY_SOCKET");
    ck_assert_ptr_null(notify_create(loop));
    notify_ready(NULL, "x");
    notify_status(NULL, "x");
    notify_stopping(NULL, "x");
    ck_assert_int_eq(notify_watchdog_interval_us(NULL), 0);
    notify_destroy(NULL);
}
END_TEST

START_TEST(a_manager_that_went_away_costs_nothing)
{
    notify = notify_create(loop);
    close(manager);
    manager = -1;
    notify_ready(notify, "running");
    notify_stopping(notify, "stopping");
}
END_TEST

/* The queue is full: nothing may block, no state may be lost. */
START_TEST(what_finds_the_queue_full_is_sent_later)
{
    char text[32];
    notify = notify_create(loop);
    int sent = 0, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    while (sendto(fd, "x", 1, 0, (void *)&address, sizeof address) == 1)
        sent++;
    close(fd);
    int64_t from = clock_now_us();
    notify_ready(notify, "running");
    notify_stopping(notify, "stopping");
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "line %d", i);
        notify_status(notify, text); /* the last one counts */
    }
    ck_assert_int_lt(clock_now_us() - from, US_PER_SECOND);
    for (int i = 0; i < sent; i++)
        ck_assert_str_eq(hear(), "x");
    ck_assert_ptr_nonnull(await());
    ck_assert_str_eq(heard, "READY=1\nSTOPPING=1\nSTATUS=line 199");
    ck_assert_ptr_null(hear());
    notify_status(notify, "again");
    ck_assert_str_eq(hear(), "STATUS=again");
}
END_TEST

START_TEST(the_watchdog_is_fed_at_half_its_time)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_USEC", "60000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    notify = notify_create(loop);
    ck_assert_int_eq(notify_watchdog_interval_us(notify), 30000);
    notify_ready(notify, NULL);
    ck_assert_str_eq(hear(), "READY=1");
    int64_t from = clock_now_us();
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(await(), "WATCHDOG=1");
    ck_assert_int_ge(clock_now_us() - from, 4 * 30000 - 15000);
}
END_TEST

static const struct {
    const char *usec, *pid;
    int64_t half_us;
} watchdogs[] = {
    {NULL, NULL, 0},        {"30000000", NULL, 15000000}, {"30000000", "1", 0},    {"0", NULL, 0},
    {"-5", NULL, 0},        {"", NULL, 0},                {"12x", NULL, 0},        {"1", NULL, 0},
    {"99999999999999999999", NULL, 0},
};

START_TEST(only_a_watchdog_for_us_counts)
{
    if (watchdogs[_i].usec)
        setenv("WATCHDOG_USEC", watchdogs[_i].usec, 1);
    if (watchdogs[_i].pid)
        setenv("WATCHDOG_PID", watchdogs[_i].pid, 1);
    notify = notify_create(loop);
    ck_assert_int_eq(notify_watchdog_interval_us(notify), watchdogs[_i].half_us);
}
END_TEST

int main(void)
{
    log_init("test_notify", LOG_LEVEL_ERROR);
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("notify");
    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, states_are_told);
    tcase_add_test(tcase, a_status_is_one_line);
    tcase_add_test(tcase, the_app_does_not_inherit_it);
    tcase_add_test(tcase, an_abstract_address_works);
    tcase_add_loop_test(tcase, other_addresses_are_refused_quietly, 0, sizeof unusable / sizeof unusable[0]);
    tcase_add_test(tcase, an_address_that_is_too_long_is_refused);
    tcase_add_test(tcase, without_a_manager_nothing_happens);
    tcase_add_test(tcase, a_manager_that_went_away_costs_nothing);
    tcase_add_test(tcase, what_finds_the_queue_full_is_sent_later);
    tcase_add_test(tcase, the_watchdog_is_fed_at_half_its_time);
    tcase_add_loop_test(tcase, only_a_watchdog_for_us_counts, 0, sizeof watchdogs / sizeof watchdogs[0]);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
