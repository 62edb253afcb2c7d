/* batch: many duplicates by one stop of the app, or none before it is asked for; whatever is closed, gone or too much,
 * each socket is handed out or told why not, and no descriptor is left. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/handles/batch.h"
#include "supervisor/handles/ptrace_duplicate.h"

enum { SOCKETS = 50 };

static struct batch batch;
static struct link links[SOCKETS];
static pid_t app, other;
static int tell;

/* A byte is the number of a socket, which is closed. */
static void close_one(void *context, char which)
{
    (void)context;
    close(links[(int)which].app);
}

static void start(void)
{
    for (int i = 0; i < SOCKETS; i++)
        links[i] = link_open();
    app = fork_app(&tell, close_one, NULL);
    for (int i = 0; i < SOCKETS; i++)
        close(links[i].app);
}

static void start_by_ptrace(void)
{
    start();
    refuse_call(SYS_pidfd_getfd, EPERM);
}

static void tear_down(void)
{
    if (app > 0)
        kill(app, SIGKILL);
    if (other > 0)
        kill(other, SIGKILL);
}

static int64_t soon(void)
{
    return clock_now_us() + 5 * US_PER_SECOND;
}

static void add_all(pid_t pid)
{
    for (int i = 0; i < SOCKETS; i++)
        ck_assert(batch_add(&batch, DUPLICATES_MOST, pid, links[i].app, links[i].inode));
}

static int hand_out(pid_t pid, int i)
{
    return batch_hand_out(&batch, pid, links[i].app, links[i].inode, soon());
}

static void expect_handed_out(pid_t pid, int i)
{
    int fd = hand_out(pid, i);
    ck_assert_msg(fd >= 0, "socket %d: %s", i, strerror(errno));
    ck_assert_uint_eq(inode_of(fd), links[i].inode);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void expect_stale(pid_t pid, int i)
{
    errno = 0;
    ck_assert_int_eq(hand_out(pid, i), -1);
    ck_assert_int_eq(errno, ESTALE);
}

static int open_fds(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* -- the tests ----------------------------------------------------------------------------------------------------- */

START_TEST(all_by_one_stop)
{
    start_by_ptrace();
    int before = open_fds();
    add_all(app);
    batch_take(&batch, soon());
    ck_assert_int_eq(open_fds(), before + SOCKETS);
    ck_assert_str_eq(duplicate_way(), "ptrace");
    for (int i = 0; i < SOCKETS; i++)
        expect_handed_out(app, i);
    ck_assert_int_eq(open_fds(), before);
    expect_handed_out(app, 7); /* once more: a new one */
    batch_finish(&batch);
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(what_nobody_asks_for_is_closed)
{
    start_by_ptrace();
    int before = open_fds();
    add_all(app);
    batch_take(&batch, soon());
    expect_handed_out(app, SOCKETS - 1);
    expect_handed_out(app, 0);
    batch_finish(&batch);
    ck_assert_int_eq(open_fds(), before);
    ck_assert_uint_eq(batch.count, 0);
    expect_handed_out(app, 3); /* not in it: taken alone */
}
END_TEST

START_TEST(nothing_in_advance_by_getfd)
{
    start();
    int before = open_fds();
    add_all(app);
    batch_take(&batch, 0);
    ck_assert_int_eq(open_fds(), before);
    ck_assert_str_eq(duplicate_way(), "pidfd_getfd");
    for (int i = 0; i < SOCKETS; i++)
        expect_handed_out(app, i);
    ck_assert_int_eq(open_fds(), before);
}
END_TEST

/* Some are closed, or a number is another socket's now: the others are handed out. */
START_TEST(some_are_stale)
{
    start_by_ptrace();
    tell_app(tell, 4);
    tell_app(tell, SOCKETS - 1);
    links[9].inode = links[10].inode;
    add_all(app);
    batch_take(&batch, soon());
    for (int i = 0; i < SOCKETS; i++)
        (i == 4 || i == 9 || i == SOCKETS - 1 ? expect_stale : expect_handed_out)(app, i);
}
END_TEST

START_TEST(all_are_closed)
{
    start_by_ptrace();
    for (char i = 0; i < SOCKETS; i++)
        tell_app(tell, i);
    add_all(app);
    batch_take(&batch, soon());
    for (int i = 0; i < SOCKETS; i++)
        expect_stale(app, i);
}
END_TEST

START_TEST(several_processes)
{
    int tell_other;
    start_by_ptrace();
    int first = links[0].app = dup(links[0].server), second = links[1].app = dup(links[1].server);
    links[0].inode = inode_of(first);
    links[1].inode = inode_of(second);
    other = fork_app(&tell_other, close_one, NULL);
    close(first);
    close(second);
    for (int i = 2; i < SOCKETS; i++)
        ck_assert(batch_add(&batch, DUPLICATES_MOST, i % 2 ? app : 1 << 22, links[i].app, links[i].inode));
    for (int i = 0; i < 2; i++)
        ck_assert(batch_add(&batch, DUPLICATES_MOST, other, links[i].app, links[i].inode));
    batch_take(&batch, soon());
    for (int i = 0; i < 2; i++)
        expect_handed_out(other, i);
    for (int i = 2; i < SOCKETS; i++)
        if (i % 2)
            expect_handed_out(app, i);
        else
            ck_assert(hand_out(1 << 22, i) < 0 && errno == ESRCH); /* a number that no process has */
}
END_TEST

START_TEST(process_gone)
{
    start_by_ptrace();
    add_all(app);
    end_app(app);
    batch_take(&batch, 0);
    for (int i = 0; i < SOCKETS; i++)
        ck_assert(hand_out(app, i) < 0 && errno == ESRCH);
    app = 0;
}
END_TEST

/* There is no room for all of them: each is taken alone, when it is asked for. */
START_TEST(too_many_for_the_descriptors_left)
{
    struct rlimit limit;
    start_by_ptrace();
    int before = open_fds(), next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next + 10, limit.rlim_max});
    add_all(app);
    batch_take(&batch, soon());
    ck_assert_int_eq(open_fds(), before);
    for (int i = 0; i < SOCKETS; i++)
        expect_handed_out(app, i);
}
END_TEST

START_TEST(is_full)
{
    for (int i = 0; i < 8; i++)
        ck_assert(batch_add(&batch, 8, 1, i, 1));
    ck_assert(!batch_add(&batch, 8, 1, 8, 1));
    for (int i = 8; i < DUPLICATES_MOST; i++)
        ck_assert(batch_add(&batch, DUPLICATES_MOST + 1, 1, i, 1));
    ck_assert(!batch_add(&batch, DUPLICATES_MOST + 1, 1, 0, 1));
    batch_finish(&batch);
}
END_TEST

/* As many as one letter carries. */
START_TEST(the_most_at_once)
{
    int fds[DUPLICATES_MOST];
    start_by_ptrace();
    for (int i = 0; i < DUPLICATES_MOST; i++) {
        fds[i] = dup(links[i % SOCKETS].server);
        ck_assert(batch_add(&batch, DUPLICATES_MOST, 0, fds[i], inode_of(fds[i])));
    }
    int tell_other, before = open_fds();
    other = fork_app(&tell_other, close_one, NULL);
    for (int i = 0; i < DUPLICATES_MOST; i++)
        batch.items[i].pid = other;
    batch_take(&batch, soon());
    ck_assert_int_eq(open_fds(), before + 1 + DUPLICATES_MOST);
    for (int i = 0; i < DUPLICATES_MOST; i++) {
        int fd = batch_hand_out(&batch, other, fds[i], links[i % SOCKETS].inode, 0);
        ck_assert(fd < 0); /* the server's end has another inode: not in the batch, and alone it is stale */
    }
    batch_finish(&batch);
    ck_assert_int_eq(open_fds(), before + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch");
    TCase *tc = tcase_create("batch");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, all_by_one_stop);
    tcase_add_test(tc, what_nobody_asks_for_is_closed);
    tcase_add_test(tc, nothing_in_advance_by_getfd);
    tcase_add_test(tc, some_are_stale);
    tcase_add_test(tc, all_are_closed);
    tcase_add_test(tc, several_processes);
    tcase_add_test(tc, process_gone);
    tcase_add_test(tc, too_many_for_the_descriptors_left);
    tcase_add_test(tc, is_full);
    tcase_add_test(tc, the_most_at_once);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
