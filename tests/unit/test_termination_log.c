/* The termination message: whole, in place, or not at all. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/platform/termination_log.h"

static char directory[] = "/tmp/test_termlog.XXXXXX", path[64], content[4096];
static struct error error;

static void enter(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    error.text[0] = 0;
}

static void leave(void)
{
    char other[80];
    snprintf(other, sizeof other, "%s/other", directory);
    unlink(other);
    unlink(path);
    rmdir(directory);
}

static void make_file(const char *at, const char *text)
{
    int fd = open(at, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static const char *content_of(const char *at)
{
    ck_assert_int_ge(fd_read_file(AT_FDCWD, at, content, sizeof content), 0);
    return content;
}

START_TEST(it_is_written_in_place)
{
    struct stat before, after;
    make_file(path, "an older and longer message");
    ck_assert_int_eq(stat(path, &before), 0);
    ck_assert_int_eq(termination_log_write(path, "{\"a\":1}", &error), 1);
    ck_assert_str_eq(content_of(path), "{\"a\":1}");
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(as_much_as_allowed_and_no_more)
{
    char text[TERMINATION_LOG_SIZE + 2];
    memset(text, 'x', sizeof text);
    text[TERMINATION_LOG_SIZE] = 0;
    make_file(path, "");
    ck_assert_int_eq(termination_log_write(path, text, &error), 1);
    ck_assert_uint_eq(strlen(content_of(path)), TERMINATION_LOG_SIZE);
    text[TERMINATION_LOG_SIZE] = 'x';
    text[TERMINATION_LOG_SIZE + 1] = 0;
    make_file(path, "before");
    ck_assert_int_eq(termination_log_write(path, text, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "1025 bytes are more than the 1024"));
    ck_assert_str_eq(content_of(path), "before");
}
END_TEST

START_TEST(no_file_is_no_failure_and_none_is_made)
{
    ck_assert_int_eq(termination_log_write(path, "x", &error), 0);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(termination_log_write("/nowhere/at/all", "x", &error), 0);
    ck_assert_int_eq(termination_log_write(directory, "x", &error), 0);
    ck_assert_str_eq(error.text, "");
}
END_TEST

START_TEST(a_link_is_not_followed)
{
    char other[80];
    snprintf(other, sizeof other, "%s/other", directory);
    make_file(other, "untouched");
    ck_assert_int_eq(symlink(other, path), 0);
    ck_assert_int_eq(termination_log_write(path, "x", &error), 0);
    ck_assert_str_eq(content_of(other), "untouched");
}
END_TEST

/* A pipe without a reader (ENXIO), and one with a reader that it must not write to. */
START_TEST(a_pipe_is_left_alone)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(termination_log_write(path, "x", &error), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    ck_assert_int_eq(termination_log_write(path, "x", &error), 0);
    ck_assert_int_eq(read(reader, content, 1), 0);
    close(reader);
}
END_TEST

/* No room for all of it: then nothing of it. */
START_TEST(half_a_message_is_taken_back)
{
    struct rlimit few = {10, RLIM_INFINITY};
    make_file(path, "");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
    ck_assert_int_eq(termination_log_write(path, "more than ten bytes", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot be written"));
    ck_assert_str_eq(content_of(path), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("termination_log");
    TCase *tcase = tcase_create("termination_log");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, it_is_written_in_place);
    tcase_add_test(tcase, as_much_as_allowed_and_no_more);
    tcase_add_test(tcase, no_file_is_no_failure_and_none_is_made);
    tcase_add_test(tcase, a_link_is_not_followed);
    tcase_add_test(tcase, a_pipe_is_left_alone);
    tcase_add_test(tcase, half_a_message_is_taken_back);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
