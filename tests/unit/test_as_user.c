/* as_user: another user's process looked at and touched by root without CAP_SYS_PTRACE, as containers have it; that all
 * is as before afterwards, also when something fails between; and what is said where it cannot be. Run by root: who is
 * no root has nobody's user to be, and only that is tested then. */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#include "agent/app_child.h"
#include "common/as_user.h"
#include "common/fd.h"
#include "common/process.h"
#include "refuse.h"
#include "supervisor/handles/duplicate.h"

enum { SOMEBODY = 1000, ELSE = 1001 };

struct app {
    struct app_child child;
    int fd;
};

static void become(uid_t uid)
{
    if (syscall(SYS_setresgid, uid, uid, uid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0)
        _exit(1);
}

static void drop_as_gosu(int talk, void *uid)
{
    become(*(uid_t *)uid);
    prctl(PR_SET_DUMPABLE, 1); /* as execve(2) makes it */
    app_child_step(talk);
}

static void drop_without_exec(int talk, void *uid)
{
    become(*(uid_t *)uid);
    app_child_step(talk);
}

/* One that has a socket, which we have not. */
static struct app app_start(void (*drop)(int talk, void *uid), uid_t uid, uint64_t *inode)
{
    struct app app = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    *inode = inode_of(app.fd);
    app.child = app_child_start(drop, &uid);
    close(app.fd);
    return app;
}

static void lose(unsigned capability)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    ck_assert_int_eq(syscall(SYS_capget, &head, data), 0);
    data[capability / 32].effective &= ~(1U << capability % 32);
    data[capability / 32].permitted &= ~(1U << capability % 32);
    ck_assert_int_eq(syscall(SYS_capset, &head, data), 0);
}

/* What must be as before: ids, capabilities, and what the kernel takes away with a change of ids. */
struct self {
    unsigned ids[8];
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    int dumpable, death_signal;
};

static struct self self_read(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct self self;
    memset(&self, 0, sizeof self);
    getresuid(&self.ids[0], &self.ids[1], &self.ids[2]);
    getresgid(&self.ids[3], &self.ids[4], &self.ids[5]);
    self.ids[6] = (unsigned)setfsuid((uid_t)-1);
    self.ids[7] = (unsigned)setfsgid((gid_t)-1);
    syscall(SYS_capget, &head, self.caps);
    self.dumpable = prctl(PR_GET_DUMPABLE);
    prctl(PR_GET_PDEATHSIG, &self.death_signal);
    return self;
}

static void ck_assert_unchanged(const struct self *before)
{
    struct self now = self_read();
    ck_assert_mem_eq(now.ids, before->ids, sizeof now.ids);
    ck_assert_mem_eq(now.caps, before->caps, sizeof now.caps);
    ck_assert_int_eq(now.dumpable, before->dumpable);
    ck_assert_int_eq(now.death_signal, before->death_signal);
}

static struct self begin(void)
{
    lose(CAP_SYS_PTRACE);
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return self_read();
}

START_TEST(looks_and_is_itself_again)
{
    uint64_t inode;
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    struct as_user as = {0};
    ck_assert_uint_eq(process_socket_inode(app.child.pid, app.fd), 0);
    errno = ENOTTY;
    as_user_of(&as, app.child.pid, AS_USER_TO_LOOK);
    ck_assert_int_eq(errno, ENOTTY);
    ck_assert_uint_eq(process_socket_inode(app.child.pid, app.fd), inode);
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1); /* who looks at us meanwhile can */
    ck_assert_uint_eq(getuid(), 0);              /* looking makes nobody our equal */
    as_user_end(&as);
    ck_assert_int_eq(errno, ENOTTY);
    ck_assert_unchanged(&before);
    app_child_end(&app.child);
}
END_TEST

static int seize(pid_t pid)
{
    return (int)ptrace(PTRACE_SEIZE, pid, 0, 0);
}

START_TEST(touches_and_is_itself_again)
{
    uint64_t inode;
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    ck_assert(seize(app.child.pid) < 0 && errno == EPERM);
    {
        struct as_user as _cleanup_as_user_ = {0};
        as_user_of(&as, app.child.pid, AS_USER_TO_LOOK);
        ck_assert(seize(app.child.pid) < 0 && errno == EPERM);
        as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH);
        ck_assert_int_eq(seize(app.child.pid), 0);
    }
    ck_assert_unchanged(&before);
    app_child_end(&app.child);
}
END_TEST

START_TEST(signals)
{
    uint64_t inode;
    lose(CAP_KILL);
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    if (_i == 1)
        lose(CAP_SETUID);
    ck_assert(kill(app.child.pid, SIGUSR1) < 0 && errno == EPERM);
    if (_i == 1) {
        ck_assert(as_user_kill(app.child.pid, SIGUSR1) < 0 && errno == EPERM);
        return; /* it ends with us */
    }
    ck_assert_int_eq(as_user_kill(app.child.pid, SIGUSR1), 0);
    ck_assert_unchanged(&before);
    int status;
    ck_assert_int_eq(waitpid(app.child.pid, &status, 0), app.child.pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    ck_assert(as_user_kill(app.child.pid, SIGUSR1) < 0 && errno == ESRCH);
}
END_TEST

START_TEST(duplicates)
{
    uint64_t inode;
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    if (_i == 1)
        refuse_call(SYS_pidfd_getfd, EPERM);
    int fd = duplicate_take_until(app.child.pid, app.fd, inode, INT64_MAX);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(inode_of(fd), inode);
    ck_assert_str_eq(duplicate_way(), _i == 1 ? "ptrace" : "pidfd_getfd");
    ck_assert_unchanged(&before);
    app_child_end(&app.child);
}
END_TEST

START_TEST(one_after_another)
{
    uint64_t first_inode, second_inode;
    struct self before = begin();
    struct app first = app_start(drop_as_gosu, SOMEBODY, &first_inode);
    struct app second = app_start(drop_as_gosu, ELSE, &second_inode);
    struct as_user as = {0};
    for (int i = 0; i < 3; i++) {
        as_user_of(&as, first.child.pid, AS_USER_TO_LOOK);
        ck_assert_uint_eq(process_socket_inode(first.child.pid, first.fd), first_inode);
        as_user_of(&as, second.child.pid, AS_USER_TO_LOOK);
        ck_assert_uint_eq(process_socket_inode(second.child.pid, second.fd), second_inode);
    }
    as_user_of(&as, getpid(), AS_USER_TO_LOOK); /* our own user's: nobody else any more */
    ck_assert_unchanged(&before);
    as_user_of(&as, first.child.pid, AS_USER_TO_LOOK);
    app_child_end(&first.child);
    as_user_of(&as, first.child.pid, AS_USER_TO_LOOK);
    app_child_end(&second.child);
    as_user_of(&as, second.child.pid, AS_USER_TO_LOOK); /* nobody there: as it was until then */
    as_user_end(&as);
    ck_assert_unchanged(&before);
}
END_TEST

START_TEST(one_within_another_changes_nothing)
{
    uint64_t first_inode, second_inode;
    struct self before = begin();
    struct app first = app_start(drop_as_gosu, SOMEBODY, &first_inode);
    struct app second = app_start(drop_as_gosu, ELSE, &second_inode);
    struct as_user outer = {0};
    as_user_of(&outer, first.child.pid, AS_USER_TO_LOOK);
    {
        struct as_user inner _cleanup_as_user_ = {0};
        as_user_of(&inner, second.child.pid, AS_USER_TO_TOUCH);
        ck_assert(!inner.on);
    }
    ck_assert_uint_eq(process_socket_inode(first.child.pid, first.fd), first_inode);
    as_user_end(&outer);
    ck_assert_unchanged(&before);
    as_user_of(&outer, second.child.pid, AS_USER_TO_LOOK);
    ck_assert_uint_eq(process_socket_inode(second.child.pid, second.fd), second_inode);
    as_user_end(&outer);
    ck_assert_unchanged(&before);
    app_child_end(&first.child);
    app_child_end(&second.child);
}
END_TEST

struct other_thread {
    pthread_barrier_t begun, done;
    struct self self;
};

static void *read_of_thread(void *context)
{
    struct other_thread *other = context;
    pthread_barrier_wait(&other->begun);
    other->self = self_read();
    pthread_barrier_wait(&other->done);
    return NULL;
}

START_TEST(other_threads_stay_who_they_are)
{
    uint64_t inode;
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    struct other_thread other;
    pthread_t thread;
    struct as_user as = {0};
    pthread_barrier_init(&other.begun, NULL, 2);
    pthread_barrier_init(&other.done, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_of_thread, &other), 0);
    as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH);
    pthread_barrier_wait(&other.begun);
    pthread_barrier_wait(&other.done);
    ck_assert_uint_eq(getuid(), SOMEBODY);
    as_user_end(&as);
    pthread_join(thread, NULL);
    ck_assert_mem_eq(other.self.ids, before.ids, sizeof before.ids);
    ck_assert_mem_eq(other.self.caps, before.caps, sizeof before.caps);
    app_child_end(&app.child);
}
END_TEST

/* Each call of the change in turn is refused: nothing stays half done. */
static const unsigned calls[] = {SYS_setresgid, SYS_setresuid, SYS_setfsgid, SYS_setfsuid};

START_TEST(half_a_change_is_undone)
{
    uint64_t inode;
    struct self before = begin();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    struct as_user as = {0};
    refuse_call(calls[_i], EPERM);
    as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH);
    ck_assert(!as.on);
    uid_t real, effective, saved;
    ck_assert(getresuid(&real, &effective, &saved) == 0 && real == 0 && effective == 0 && saved == 0);
    gid_t group, effective_group, saved_group;
    ck_assert(getresgid(&group, &effective_group, &saved_group) == 0 && group == 0 && effective_group == 0);
    struct self now = self_read();
    ck_assert_mem_eq(now.caps, before.caps, sizeof now.caps);
    ck_assert_int_eq(now.dumpable, 1);
    as_user_end(&as);
    app_child_end(&app.child);
}
END_TEST

START_TEST(nothing_changes_where_nothing_helps)
{
    uint64_t inode;
    char why[160] = "nothing";
    struct self before = self_read();
    struct app app = app_start(drop_as_gosu, SOMEBODY, &inode);
    struct as_user as = {0};
    as_user_of(&as, getpid(), AS_USER_TO_TOUCH);
    ck_assert(!as.on);
    as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH); /* CAP_SYS_PTRACE is enough */
    ck_assert(!as.on);
    ck_assert(!as_user_find_obstacle(app.child.pid, why, sizeof why));
    ck_assert_str_eq(why, "nothing");
    lose(CAP_SYS_PTRACE);
    lose(_i == 0 ? CAP_SETUID : CAP_SETGID);
    struct as_user other = {0};
    as_user_of(&other, app.child.pid, AS_USER_TO_TOUCH);
    ck_assert(!other.on);
    ck_assert(as_user_find_obstacle(app.child.pid, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "runs as 1000:1000, lastcall as 0:0 without SETUID and SETGID"));
    ck_assert_ptr_nonnull(strstr(why, "; cure: user: 1000:1000, or add these"));
    ck_assert_int_eq(before.dumpable, prctl(PR_GET_DUMPABLE));
    app_child_end(&app.child);
}
END_TEST

START_TEST(says_who_has_executed_nothing_since)
{
    uint64_t inode;
    char why[160] = "";
    begin();
    struct app app = app_start(drop_without_exec, SOMEBODY, &inode);
    struct as_user as _cleanup_as_user_ = {0};
    ck_assert(as_user_find_obstacle(app.child.pid, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "became uid 1000 and has executed nothing since"));
    ck_assert_ptr_nonnull(strstr(why, "or add SYS_PTRACE"));
    as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH);
    ck_assert_uint_eq(process_socket_inode(app.child.pid, app.fd), 0); /* indeed */
    app_child_end(&app.child);
}
END_TEST

static void only_hide(int talk, void *uid)
{
    (void)uid;
    prctl(PR_SET_DUMPABLE, 0);
    app_child_step(talk);
}

START_TEST(an_ordinary_user_is_only_himself)
{
    uint64_t inode;
    char why[160] = "";
    if (getuid() == 0)
        become(SOMEBODY);
    prctl(PR_SET_DUMPABLE, 1);
    struct self before = self_read();
    struct app app = app_start(only_hide, 0, &inode);
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, app.child.pid, AS_USER_TO_TOUCH);
    ck_assert_unchanged(&before);
    ck_assert(as_user_find_obstacle(app.child.pid, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "is not dumpable (prctl(2)"));
    app_child_end(&app.child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("as_user");
    TCase *all = tcase_create("as_user");
    tcase_set_timeout(all, 20);
    tcase_add_test(all, an_ordinary_user_is_only_himself);
    if (getuid() == 0) {
        tcase_add_test(all, looks_and_is_itself_again);
        tcase_add_test(all, touches_and_is_itself_again);
        tcase_add_loop_test(all, signals, 0, 2);
        tcase_add_loop_test(all, duplicates, 0, 2);
        tcase_add_test(all, one_after_another);
        tcase_add_test(all, one_within_another_changes_nothing);
        tcase_add_test(all, other_threads_stay_who_they_are);
        tcase_add_loop_test(all, half_a_change_is_undone, 0, sizeof calls / sizeof *calls);
        tcase_add_loop_test(all, nothing_changes_where_nothing_helps, 0, 2);
        tcase_add_test(all, says_who_has_executed_nothing_since);
    }
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
