/* Owners: who has a socket, how seldom the tables are read, foreign sockets, epoll sets,
 * processes that let nobody look. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "agent/sockets/epoll.h"
#include "agent/sockets/owners.h"
#include "common/clock.h"
#include "common/log.h"
#include "app_child.h"
#include "sockets_help.h"

/* The sockets of the scene, made before the fork so that the test knows their inodes. */
struct scene {
    int fds[2]; /* the child keeps the first one; the test alone keeps the second one, which is thus foreign */
    int epoll;  /* the child puts its socket into an epoll set */
};

static struct scene scene_open(void)
{
    struct scene scene = {.epoll = -1};
    for (int i = 0; i < 2; i++)
        scene.fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    return scene;
}

static struct socket_table table_of(const struct scene *scene, int count)
{
    struct socket_table table = {0};
    for (int i = 0; i < count; i++) {
        struct socket_fact fact = socket_fact_none();
        fact.inode = inode_of(scene->fds[i]);
        ck_assert_int_eq(socket_table_add(&table, &fact), 0);
    }
    socket_table_sort(&table);
    return table;
}

static void keep_first(int talk, void *context)
{
    struct scene *scene = context;
    close(scene->fds[1]);
    app_child_step(talk);
    int other = dup(scene->fds[0]); /* the same socket by another number */
    close(scene->fds[0]);
    scene->fds[0] = other;
    app_child_step(talk);
    pid_t more = fork();
    if (more == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        app_child_step(talk);
        _exit(0);
    }
    waitpid(more, NULL, 0);
}

static const struct socket_fact *fact_of(const struct socket_table *table, const struct scene *scene, int i)
{
    return socket_table_find(table, inode_of(scene->fds[i]));
}

START_TEST(finds_owners_and_follows_them)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(keep_first, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 1);
    ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 1);
    ck_assert_int_eq(table.at[0].pid, child.pid);
    ck_assert_int_eq(table.at[0].fd, scene.fds[0]);
    ck_assert_int_eq(table.at[0].holders, 1);
    for (int i = 0; i < 10; i++)
        owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_eq(owners_scans(owners), 1); /* a known owner costs a readlink */
    app_child_next(&child);
    owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_eq(owners_scans(owners), 2);
    ck_assert_int_eq(table.at[0].pid, child.pid);
    ck_assert_int_ne(table.at[0].fd, scene.fds[0]);
    app_child_next(&child); /* forks: within about a second the second holder is seen */
    for (int64_t end = clock_now_us() + 3000000; table.at[0].holders != 2 && clock_now_us() < end;)
        owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_int_eq(table.at[0].holders, 2);
    ck_assert_int_eq(table.at[0].descriptors, 2);
    ck_assert_int_eq(table.at[0].pid, child.pid);
    ck_assert_int_gt(table.at[0].others[0].pid, 0);
    ck_assert_int_ne(table.at[0].others[0].pid, child.pid);
    ck_assert_int_eq(table.at[0].others[0].fd, table.at[0].fd);
    ck_assert_int_eq(table.at[0].others[1].pid, 0);
    app_child_end(&child);
    owners_fill(owners, &table, true, getpid(), -1);
    socket_table_finish(&table);
    owners_destroy(owners);
}
END_TEST

static void keep_many(int talk, void *context)
{
    struct scene *scene = context;
    for (int i = 0; i < SOCKET_OTHERS + 2; i++)
        dup(scene->fds[0]);
    app_child_step(talk);
    for (int fd = scene->fds[0]; fd < scene->fds[0] + 64; fd++)
        if (fd != talk)
            close(fd);
    app_child_step(talk);
}

/* All are counted, some are named; with the wish for fresh tables a change shows within 20 ms or so, a change of number
 * and a loss at once. One that was the app's is looked for much longer than a foreign one. */
START_TEST(names_so_many_and_counts_all)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(keep_many, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 1);
    owners_want_fresh(owners, true);
    owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_int_eq(table.at[0].holders, 1);
    ck_assert_int_eq(table.at[0].descriptors, SOCKET_OTHERS + 3);
    for (int i = 0; i < SOCKET_OTHERS; i++)
        ck_assert_int_eq(table.at[0].others[i].pid, child.pid);
    for (int64_t end = clock_now_us() + 3000000; owners_scans(owners) < 3 && clock_now_us() < end;)
        owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_eq(owners_scans(owners), 3);
    app_child_next(&child);
    for (int i = 0; i < 50; i++)
        owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_ge(owners_scans(owners), 53); /* it may be in a message */
    ck_assert_int_eq(table.at[0].holders, 0);
    ck_assert_int_eq(table.at[0].descriptors, 0);
    ck_assert_int_eq(table.at[0].others[0].pid, 0);
    app_child_end(&child);
    socket_table_finish(&table);
    owners_destroy(owners);
}
END_TEST

START_TEST(foreign_sockets_cost_two_readings)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(keep_first, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 2);
    int64_t start = clock_now_us();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 1);
    ck_assert_uint_eq(owners_scans(owners), 2);
    ck_assert_int_lt(clock_now_us() - start, 900000);
    ck_assert_int_eq(fact_of(&table, &scene, 0)->pid, child.pid);
    ck_assert_int_eq(fact_of(&table, &scene, 1)->holders, 0);
    ck_assert_int_eq(fact_of(&table, &scene, 1)->pid, -1);
    struct socket_table partial = table_of(&scene, 1); /* a partial table does not make anybody forget it */
    owners_fill(owners, &partial, false, getpid(), -1);
    owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_eq(owners_scans(owners), 2);
    owners_fill(owners, &partial, true, getpid(), -1); /* a whole one does: it is gone */
    owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_uint_eq(owners_scans(owners), 3);
    socket_table_finish(&partial);
    socket_table_finish(&table);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

START_TEST(leaves_out_the_agent)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(keep_first, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 1);
    owners_fill(owners, &table, true, getpid(), child.pid);
    ck_assert_int_eq(table.at[0].holders, 0);
    socket_table_finish(&table);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

START_TEST(counts_the_root_when_asked)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(keep_first, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 2);
    for (int i = 0; i < 3; i++) /* what was foreign is looked for anew */
        owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_int_eq(fact_of(&table, &scene, 1)->holders, 0);
    owners_count_root(owners, true);
    ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 1);
    ck_assert_int_eq(fact_of(&table, &scene, 0)->pid, child.pid); /* the app first */
    ck_assert_int_eq(fact_of(&table, &scene, 0)->holders, 2);
    ck_assert_int_eq(fact_of(&table, &scene, 1)->pid, getpid());
    owners_count_root(owners, false);
    struct socket_table again = table_of(&scene, 1);
    ck_assert_int_eq(owners_fill(owners, &again, true, getpid(), -1), 1);
    ck_assert_int_eq(again.at[0].pid, child.pid);
    socket_table_finish(&table);
    socket_table_finish(&again);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

static void hide(int talk, void *context)
{
    (void)context;
    prctl(PR_SET_DUMPABLE, 0); /* as if it had another uid */
    app_child_step(talk);
    prctl(PR_SET_DUMPABLE, 1);
    app_child_step(talk);
}

/* Run by a user without CAP_SYS_PTRACE, as the agent in a container is. */
START_TEST(tells_when_a_process_lets_nobody_look)
{
    log_init("test", LOG_LEVEL_ERROR);
    if (getuid() == 0)
        ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    prctl(PR_SET_DUMPABLE, 1);
    struct scene scene = scene_open();
    struct app_child child = app_child_start(hide, NULL);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 1);
    ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 0);
    ck_assert_int_eq(table.at[0].holders, 0);
    app_child_next(&child);
    ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 1);
    ck_assert_int_eq(table.at[0].pid, child.pid);
    socket_table_finish(&table);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

static void exit_at_once(int talk, void *context)
{
    (void)context;
    pid_t zombie = fork();
    if (zombie == 0) { /* of another user, where it can be: a program that is set-uid root */
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        execl("/bin/su", "su", "--version", (char *)NULL);
        _exit(0);
    }
    siginfo_t info;
    waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
    app_child_step(talk);
}

START_TEST(a_zombie_hides_nothing)
{
    if (getuid() == 0)
        ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    prctl(PR_SET_DUMPABLE, 1);
    struct scene scene = scene_open();
    struct app_child child = app_child_start(exit_at_once, NULL);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 1);
    ck_assert_int_eq(owners_fill(owners, &table, true, getpid(), -1), 1);
    socket_table_finish(&table);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

START_TEST(reads_lines_of_epoll_fdinfo)
{
    int fd;
    uint64_t inode;
    ck_assert(epoll_read_line("tfd:       14 events:       19 data:       5  pos:0 ino:1f4a sdev:9\n", &fd, &inode));
    ck_assert_int_eq(fd, 14);
    ck_assert_uint_eq(inode, 0x1f4a);
    ck_assert(epoll_read_line("tfd:        3 events:       19 data:       5\n", &fd, &inode));
    ck_assert_int_eq(fd, 3);
    ck_assert_uint_eq(inode, 0);
    ck_assert(!epoll_read_line("pos:\t0\n", &fd, &inode));
    ck_assert(!epoll_read_line("", &fd, &inode));
}
END_TEST

static void watch_first(int talk, void *context)
{
    struct scene *scene = context;
    struct epoll_event event = {.events = EPOLLIN};
    scene->epoll = epoll_create1(0);
    epoll_ctl(scene->epoll, EPOLL_CTL_ADD, scene->fds[0], &event);
    app_child_step(talk);
}

START_TEST(sees_who_is_in_an_epoll_set)
{
    struct scene scene = scene_open();
    struct app_child child = app_child_start(watch_first, &scene);
    struct owners *owners = owners_create();
    struct socket_table table = table_of(&scene, 2);
    owners_fill(owners, &table, true, getpid(), -1);
    ck_assert_int_eq(fact_of(&table, &scene, 0)->epoll, EPOLL_UNKNOWN);
    owners_look_at_epoll(owners, &table);
    ck_assert_int_eq(fact_of(&table, &scene, 0)->epoll, 1);
    ck_assert_int_eq(fact_of(&table, &scene, 1)->epoll, 0);
    struct socket_table again = table_of(&scene, 2);
    owners_fill(owners, &again, true, getpid(), -1);
    ck_assert_int_eq(fact_of(&again, &scene, 0)->epoll, 1); /* remembered */
    socket_table_finish(&table);
    socket_table_finish(&again);
    owners_destroy(owners);
    app_child_end(&child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("owners");
    TCase *all = tcase_create("owners");
    tcase_set_timeout(all, 20);
    tcase_add_test(all, finds_owners_and_follows_them);
    tcase_add_test(all, names_so_many_and_counts_all);
    tcase_add_test(all, foreign_sockets_cost_two_readings);
    tcase_add_test(all, leaves_out_the_agent);
    tcase_add_test(all, counts_the_root_when_asked);
    tcase_add_test(all, tells_when_a_process_lets_nobody_look);
    tcase_add_test(all, a_zombie_hides_nothing);
    tcase_add_test(all, reads_lines_of_epoll_fdinfo);
    tcase_add_test(all, sees_who_is_in_an_epoll_set);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
