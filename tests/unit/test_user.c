/* user: looked up in this machine's own /etc/passwd and /etc/group; become in a child, since there is no way back. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "supervisor/app/user.h"

static struct error error;

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

START_TEST(still_reads_its_own_proc_files)
{
    const struct user user = { .uid = 54321, .gid = 54321, .groups = { 54321 }, .group_count = 1, .name = "x" };

    if (getuid() == 0)
        ck_assert_int_eq(user_become(&user, &error), 0);
    DIR *own = opendir("/proc/self/fd");
    ck_assert_msg(own != NULL, "%s", strerror(errno));
    closedir(own);
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
    tcase_add_test(cases, supplementary_groups_agree_with_the_c_library);
    tcase_add_test(cases, bad_ones_are_refused_with_what_to_do);
    tcase_add_test(cases, becomes_it_for_good);
    tcase_add_test(cases, still_reads_its_own_proc_files);
    tcase_add_test(cases, a_way_back_is_refused);
    tcase_add_test(cases, who_we_are_is_nothing_to_do);
    tcase_add_test(cases, an_ordinary_user_is_told_what_to_do);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
