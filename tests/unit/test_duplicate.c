/* duplicate: by pid, descriptor and inode, of real processes; what is not there any more, and where there are no
 * hands. */
#include <stdlib.h>
#include <sys/resource.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/handles/duplicate.h"

struct app {
    struct link link;
    pid_t pid;
    int tell;
};

/* c: closes its socket. s: closes it, and a new socket gets the number. f: a file does. */
static void told(void *context, char what)
{
    struct link *link = context;

    if (what == 'c')
        close(link->app);
    else if (dup2(what == 's' ? socket(AF_INET, SOCK_STREAM, 0) : open("/dev/null", O_RDONLY), link->app) < 0)
        _exit(1);
}

static struct app start_app(void)
{
    struct app app = {.link = link_open()};

    app.pid = fork_app(&app.tell, told, &app.link);
    ck_assert_int_eq(close(app.link.app), 0);
    return app;
}

static int take(const struct app *app)
{
    return duplicate_take(app->pid, app->link.app, app->link.inode);
}

START_TEST(is_the_apps_socket)
{
    struct app app = start_app();
    int fd = take(&app);

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(inode_of(fd), app.link.inode);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    write_text(fd, "one socket");
    ck_assert_str_eq(read_text(app.link.server, 1000), "one socket");
    end_app(app.pid);
    ck_assert(!stream_ended(app.link.server)); /* our duplicate keeps it open */
    ck_assert_int_eq(close(fd), 0);
    ck_assert(stream_ended(app.link.server));
}
END_TEST

START_TEST(leaves_nothing_open)
{
    struct app app = start_app();
    int next = dup(0);

    close(next);
    ck_assert_int_eq(close(take(&app)), 0);
    ck_assert_int_eq(duplicate_take(app.pid, app.link.app, app.link.inode + 1), -1);
    ck_assert_int_eq(duplicate_take(app.pid, 1000, app.link.inode), -1);
    ck_assert_int_eq(dup(0), next);
    end_app(app.pid);
}
END_TEST

static const char changes[] = {'c', 's', 'f'};

START_TEST(stale_once_closed_or_reused)
{
    struct app app = start_app();

    tell_app(app.tell, changes[_i]);
    errno = 0;
    ck_assert_int_eq(take(&app), -1);
    ck_assert_int_eq(errno, ESTALE);
    end_app(app.pid);
}
END_TEST

START_TEST(another_processs_number_is_stale)
{
    struct app app = start_app();

    errno = 0;
    ck_assert_int_eq(duplicate_take(getpid(), app.link.app, app.link.inode), -1); /* as if its pid had been reused */
    ck_assert_int_eq(errno, ESTALE);
    end_app(app.pid);
}
END_TEST

START_TEST(process_gone)
{
    struct app app = start_app();

    kill(app.pid, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)app.pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(take(&app), -1);
    ck_assert_msg(errno == ESRCH || errno == ESTALE, "a zombie: %s", strerror(errno));
    ck_assert_int_eq(waitpid(app.pid, NULL, 0), app.pid);
    ck_assert_int_eq(take(&app), -1);
    ck_assert_int_eq(errno, ESRCH);
}
END_TEST

START_TEST(no_descriptor_left)
{
    struct app app = start_app();
    struct rlimit limit;
    int highest = dup(0);

    for (int i = 0; i < 16; i++)
        highest = dup(0); /* no number below is free */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    for (rlim_t free = 0; free < 3; free++) { /* two are needed: the process', and the socket's */
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)highest + 1 + free, limit.rlim_max}), 0);
        errno = 0;
        int fd = take(&app);
        ck_assert_int_eq(fd >= 0, free == 2);
        ck_assert_int_eq(fd >= 0 ? EMFILE : errno, EMFILE);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    end_app(app.pid);
}
END_TEST

static const int refusals[] = {EPERM, ENOSYS};

START_TEST(hands_refused)
{
    struct app app = start_app();

    refuse_hands(-1, refusals[_i]);
    ck_assert_int_eq(take(&app), -1);
    ck_assert_int_eq(errno, refusals[_i]);
    end_app(app.pid);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("duplicate");
    TCase *tc = tcase_create("duplicate");

    tcase_add_test(tc, is_the_apps_socket);
    tcase_add_test(tc, leaves_nothing_open);
    tcase_add_loop_test(tc, stale_once_closed_or_reused, 0, sizeof changes);
    tcase_add_test(tc, another_processs_number_is_stale);
    tcase_add_test(tc, process_gone);
    tcase_add_test(tc, no_descriptor_left);
    tcase_add_loop_test(tc, hands_refused, 0, sizeof refusals / sizeof *refusals);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
