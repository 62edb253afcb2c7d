/* user: looked up in this machine's own /etc/passwd and /etc/group; become in a child, since there is no way back. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "supervisor/app/user.h"

static struct error error;

/* Stands before the C library's: user.c's two files may be others for a test. */
static const char *passwd_file = "/etc/passwd", *group_file = "/etc/group";

FILE *fopen(const char *path, const char *mode)
{
    const bool is_passwd = strcmp(path, "/etc/passwd") == 0, is_group = strcmp(path, "/etc/group") == 0;
    const int fd = open(is_passwd ? passwd_file : is_group ? group_file : path, O_RDONLY | O_CLOEXEC);

    (void)mode;
    return fd == -1 ? NULL : fdopen(fd, "r");
}

static void write_lines(char name[static 32], const char *lines)
{
    snprintf(name, 32, "/tmp/test-user-XXXXXX");
    const int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
}

static struct user look_up(const char *text)
{
    struct user user;

    ck_assert_msg(user_look_up(&user, text, &error) == 0, "%s: %s", text, error.text);
    return user;
}

static void expect_refusal(const char *text, const char *why)
{
    struct user user;

    error.text[0] = '\0';
    ck_assert_msg(user_look_up(&user, text, &error) == -1, "%s was accepted", text);
    ck_assert_msg(strstr(error.text, why) != NULL, "%s: %s", text, error.text);
}

START_TEST(names_and_numbers_with_an_entry)
{
    const struct user by_name = look_up("daemon"), by_number = look_up("1");

    ck_assert_uint_eq(by_name.uid, 1);
    ck_assert_uint_eq(by_name.gid, 1);
    ck_assert_str_eq(by_name.name, "daemon");
    ck_assert_str_eq(by_name.home, "/usr/sbin");
    ck_assert_int_eq(by_name.groups[0], 1);
    ck_assert_mem_eq(&by_name, &by_number, sizeof by_name);
}
END_TEST

START_TEST(numbers_without_an_entry)
{
    const struct user user = look_up("54321");

    ck_assert_uint_eq(user.uid, 54321);
    ck_assert_uint_eq(user.gid, 54321);
    ck_assert_str_eq(user.home, "/");
    ck_assert_int_eq(user.group_count, 1);
    ck_assert_uint_eq(look_up("54321:7").gid, 7);
    ck_assert_uint_eq(look_up("4294967294").uid, 4294967294U);
}
END_TEST

START_TEST(a_named_group_is_the_only_one)
{
    const struct user user = look_up("daemon:adm");

    ck_assert_uint_eq(user.uid, 1);
    ck_assert_uint_eq(user.gid, 4);
    ck_assert_int_eq(user.group_count, 1);
    ck_assert_uint_eq(user.groups[0], 4);
    ck_assert_uint_eq(look_up("54321:adm").gid, 4);
    ck_assert_uint_eq(look_up("daemon:54321").gid, 54321);
}
END_TEST

START_TEST(memberships_are_those_of_the_file)
{
    char passwd[32], group[32];

    write_lines(passwd, "app:x:700:701::/srv/app:/bin/sh\n900:x:800:801:a name of digits::/bin/sh\n");
    write_lines(group, "app:x:701:\nlog:x:702:other,app\nno:x:703:apple,xapp\napp2:x:701:app\ntls:x:704:app\n");
    passwd_file = passwd;
    group_file = group;
    const struct user all = look_up("app"), one = look_up("app:tls"), digits = look_up("900");
    unlink(passwd);
    unlink(group);
    ck_assert_int_eq(all.group_count, 3);
    ck_assert(all.groups[0] == 701 && all.groups[1] == 702 && all.groups[2] == 704);
    ck_assert_str_eq(all.home, "/srv/app");
    ck_assert_int_eq(one.group_count, 1);
    ck_assert_uint_eq(one.groups[0], 704);
    ck_assert_uint_eq(digits.uid, 800);
}
END_TEST

START_TEST(too_many_groups_are_refused)
{
    char passwd[32], group[32], lines[4096];
    size_t length = 0;

    for (int i = 0; i < 65; i++)
        length += (size_t)snprintf(lines + length, sizeof lines - length, "g%d:x:%d:app\n", i, 1000 + i);
    write_lines(passwd, "app:x:700:1000::/:/bin/sh\n");
    write_lines(group, lines);
    passwd_file = passwd;
    group_file = group;
    expect_refusal("app", "more than 64 groups");
    ck_assert_int_eq(look_up("app:g64").group_count, 1);
    unlink(passwd);
    unlink(group);
}
END_TEST

/* A distroless image: numbers work, and a name says what to do. */
START_TEST(without_the_files_there_are_numbers)
{
    passwd_file = group_file = "/nowhere";
    ck_assert_uint_eq(look_up("1000:1001").gid, 1001);
    expect_refusal("daemon", "give a number");
    expect_refusal("1000:daemon", "give a number");
}
END_TEST

/* Whoever is listed in /etc/group on this machine: by the C library's own answer. */
START_TEST(supplementary_groups_agree_with_the_c_library)
{
    for (struct passwd *entry; (entry = getpwent());) {
        gid_t groups[64];
        int count = 64;
        const struct user user = look_up(entry->pw_name);
        ck_assert_int_ge(getgrouplist(entry->pw_name, entry->pw_gid, groups, &count), 0);
        ck_assert_msg(user.group_count == count, "%s: %d groups, not %d", entry->pw_name, user.group_count, count);
        for (int i = 0; i < count; i++)
            ck_assert_uint_eq(user.groups[i], groups[i]);
    }
    endpwent();
}
END_TEST

START_TEST(bad_ones_are_refused_with_what_to_do)
{
    expect_refusal("", "not of the form");
    expect_refusal(":adm", "not of the form");
    expect_refusal("daemon:", "not of the form");
    expect_refusal("nobody-knows", "give a number");
    expect_refusal("nobody-knows:adm", "not in /etc/passwd");
    expect_refusal("daemon:nobody-knows", "not in /etc/group");
    expect_refusal("daemon:adm:x", "not in /etc/group");
    expect_refusal("4294967295", "not in /etc/passwd"); /* (uid_t)-1 would change nothing */
    expect_refusal("99999999999999999999999", "not in /etc/passwd");
    expect_refusal("-1", "not in /etc/passwd");
    expect_refusal("0x1", "not in /etc/passwd");
    expect_refusal("1000:-1", "not in /etc/group");
}
END_TEST

static void expect_no_way_back(void)
{
    ck_assert_int_eq(setresuid(0, 0, 0), -1);
    ck_assert_int_eq(setresgid(0, 0, 0), -1);
    ck_assert_int_eq(setgroups(0, NULL), -1);
}

START_TEST(becomes_it_for_good)
{
    const struct user user = { .uid = 54321, .gid = 54322, .groups = { 54322, 54323 }, .group_count = 2, .name = "x" };
    uid_t ids[3];
    gid_t groups[8];

    if (getuid() != 0) {
        ck_assert_int_eq(user_become(&user, &error), -1);
        ck_assert_ptr_nonnull(strstr(error.text, "start it as root"));
        return;
    }
    ck_assert_msg(user_become(&user, &error) == 0, "%s", error.text);
    ck_assert_int_eq(getresuid(&ids[0], &ids[1], &ids[2]), 0);
    ck_assert(ids[0] == 54321 && ids[1] == 54321 && ids[2] == 54321);
    ck_assert_int_eq(getresgid(&ids[0], &ids[1], &ids[2]), 0);
    ck_assert(ids[0] == 54322 && ids[1] == 54322 && ids[2] == 54322);
    ck_assert_int_eq(getgroups(8, groups), 2);
    ck_assert_uint_eq(groups[1], 54323);
    expect_no_way_back();
    ck_assert_int_eq(user_become(&user, &error), 0); /* nothing to do */
}
END_TEST

/* The kernel has made us undumpable, so that the app, of the same user, can't trace us; our own descriptors are
 * ours. */
START_TEST(still_reads_its_own_descriptors)
{
    const struct user user = { .uid = 54321, .gid = 54321, .groups = { 54321 }, .group_count = 1, .name = "x" };
    char link[64];

    if (getuid() == 0)
        ck_assert_int_eq(user_become(&user, &error), 0);
    DIR *own = opendir("/proc/self/fd");
    ck_assert_msg(own != NULL, "%s", strerror(errno));
    closedir(own);
    ck_assert_int_gt(readlink("/proc/self/fd/2", link, sizeof link), 0);
}
END_TEST

START_TEST(a_way_back_is_refused)
{
    const struct user user = { .uid = 54321, .gid = 54321, .groups = { 54321 }, .group_count = 1, .name = "x" };

    if (getuid() == 0)
        ck_assert_int_eq(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), 0);
    ck_assert_int_eq(user_become(&user, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, getuid() == 54321 || getuid() == 0 ? "root again" : "start it as root"));
}
END_TEST

START_TEST(who_we_are_is_nothing_to_do)
{
    const struct user user = { .uid = getuid(), .gid = getgid(), .name = "self" };
    const int before = getgroups(0, NULL);

    ck_assert_int_eq(user_become(&user, &error), 0);
    ck_assert_int_eq(getgroups(0, NULL), before);
}
END_TEST

START_TEST(an_ordinary_user_is_told_what_to_do)
{
    const struct user first = { .uid = 54321, .gid = 54321, .name = "first" };
    const struct user second = { .uid = 54322, .gid = 54322, .name = "second" };

    if (getuid() == 0)
        ck_assert_int_eq(user_become(&first, &error), 0);
    ck_assert_int_eq(user_become(&second, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "can't become second (uid 54322, gid 54322)"));
    ck_assert_ptr_nonnull(strstr(error.text, "start it as root"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("user");
    TCase *cases = tcase_create("user");
    SRunner *runner = srunner_create(suite);

    tcase_add_test(cases, names_and_numbers_with_an_entry);
    tcase_add_test(cases, numbers_without_an_entry);
    tcase_add_test(cases, a_named_group_is_the_only_one);
    tcase_add_test(cases, memberships_are_those_of_the_file);
    tcase_add_test(cases, too_many_groups_are_refused);
    tcase_add_test(cases, without_the_files_there_are_numbers);
    tcase_add_test(cases, supplementary_groups_agree_with_the_c_library);
    tcase_add_test(cases, bad_ones_are_refused_with_what_to_do);
    tcase_add_test(cases, becomes_it_for_good);
    tcase_add_test(cases, still_reads_its_own_descriptors);
    tcase_add_test(cases, a_way_back_is_refused);
    tcase_add_test(cases, who_we_are_is_nothing_to_do);
    tcase_add_test(cases, an_ordinary_user_is_told_what_to_do);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
