/* The agent's file: where it is looked for, and what is said when it could not be run. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/platform/agent_program.h"

static char directory[] = "/tmp/test_program.XXXXXX", path[128];
static struct error error;

static void enter(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/agent", directory);
}

static void leave(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void make_file(mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void expect_story(const char *program, const char *why)
{
    ck_assert_int_eq(agent_program_check(program, &error), -1);
    ck_assert_msg(strstr(error.text, program) && strstr(error.text, why), "%s", error.text);
    ck_assert_ptr_nonnull(strstr(error.text, "LASTCALL_AGENT"));
}

START_TEST(it_is_beside_us_or_where_the_environment_says)
{
    char found[4096], self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(length, 0);
    self[length] = 0;
    unsetenv("LASTCALL_AGENT");
    ck_assert_int_eq(agent_program_find(found, sizeof found), 0);
    ck_assert_int_eq(strncmp(found, self, (size_t)(strrchr(self, '/') - self)), 0);
    ck_assert_str_eq(strrchr(found, '/'), "/lastcall-agent");
    ck_assert_int_eq(agent_program_find(found, 5), -1);
    setenv("LASTCALL_AGENT", "/elsewhere/agent", 1);
    ck_assert_int_eq(agent_program_find(found, sizeof found), 0);
    ck_assert_str_eq(found, "/elsewhere/agent");
}
END_TEST

START_TEST(what_can_be_executed_is_fine)
{
    make_file(0700);
    ck_assert_int_eq(agent_program_check(path, &error), 0);
}
END_TEST

START_TEST(what_cannot_is_said)
{
    expect_story(path, "No such file or directory");
    make_file(0600);
    expect_story(path, "Permission denied");
    expect_story(directory, "Permission denied");
}
END_TEST

START_TEST(a_name_is_looked_up_in_path)
{
    char search[256];
    snprintf(search, sizeof search, "/nowhere:%s", directory);
    setenv("PATH", search, 1);
    expect_story("agent", "No such file or directory");
    make_file(0600);
    expect_story("agent", "Permission denied");
    ck_assert_int_eq(chmod(path, 0700), 0);
    ck_assert_int_eq(agent_program_check("agent", &error), 0);
    setenv("PATH", "", 1); /* the working directory */
    expect_story("agent", "No such file or directory");
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(agent_program_check("agent", &error), 0);
    ck_assert_int_eq(chdir("/"), 0);
    unsetenv("PATH");
    ck_assert_int_eq(agent_program_check("true", &error), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("agent_program");
    TCase *tcase = tcase_create("agent_program");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, it_is_beside_us_or_where_the_environment_says);
    tcase_add_test(tcase, what_can_be_executed_is_fine);
    tcase_add_test(tcase, what_cannot_is_said);
    tcase_add_test(tcase, a_name_is_looked_up_in_path);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
