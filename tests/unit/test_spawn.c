/* spawn: real children, looked at through what they say of themselves (/proc/self/status, /proc/self/fd, env). */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/signals.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/spawn.h"
#include "waiting.h"

static char directory[64];

static char *const plain_environment[] = { (char *)"PATH=/usr/bin:/bin", NULL };

static struct spawn_request request_for(char *const *argv)
{
    return (struct spawn_request){
        .argv = argv, .envp = plain_environment, .terminal = -1, .keep_fd = -1, .keep_as = -1,
    };
}

static int exit_status(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs it with its standard output in a pipe of ours, and returns what it wrote. */
static const char *output_of(struct spawn_request request)
{
    static char output[65536];
    struct spawn_failure failure;
    size_t length = 0;
    ssize_t size;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    request.keep_fd = ends[1];
    request.keep_as = 1;
    const pid_t pid = spawn_process(&request, &failure);
    ck_assert_msg(pid > 0, "%s: %s", spawn_step_name(failure.step), strerror(failure.error));
    close(ends[1]);
    while ((size = read(ends[0], output + length, sizeof output - 1 - length)) > 0)
        length += (size_t)size;
    close(ends[0]);
    output[length] = '\0';
    exit_status(pid);
    return output;
}

static void expect_failure(const struct spawn_request *request, int error, int code)
{
    struct spawn_failure failure = { SPAWN_OK, 0 };

    ck_assert_int_eq(spawn_process(request, &failure), -1);
    ck_assert_int_eq(failure.step, SPAWN_EXEC);
    ck_assert_msg(failure.error == error, "%s instead of %s", strerror(failure.error), strerror(error));
    ck_assert_int_eq(spawn_exit_code(&failure), code);
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "the failed child was not reaped");
}

static void expect_command_failure(const char *command, int error, int code)
{
    char *const argv[] = { (char *)command, NULL };
    const struct spawn_request request = request_for(argv);

    expect_failure(&request, error, code);
}

/* A file in a directory of its own: "DIRECTORY/sub/name". */
static void write_file(const char *sub, const char *name, const void *bytes, size_t size, mode_t mode)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", directory, sub);
    ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/%s", directory, sub, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void write_script(const char *sub, const char *name, const char *text, mode_t mode)
{
    write_file(sub, name, text, strlen(text), mode);
}

static void make_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/test-spawn-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char *const argv[] = { (char *)"rm", (char *)"-rf", directory, NULL };
    const struct spawn_request request = request_for(argv);
    struct spawn_failure failure;
    const pid_t pid = spawn_process(&request, &failure);

    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(exit_status(pid), 0);
}

static unsigned long long status_bits(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    ck_assert_msg(at != NULL, "no %s in %s", name, status);
    return strtoull(at + strlen(name), NULL, 16);
}

/* All signals blocked and, as far as the kernel allows, ignored: the worst that a parent could hand down. */
static void block_and_ignore_everything(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } ignore = {.handler = SIG_IGN};

    for (int signo = 1; signo <= SIGNAL_LAST; signo++)
        if (signo != SIGCHLD)
            syscall(SYS_rt_sigaction, signo, &ignore, NULL, sizeof(uint64_t));
    ck_assert_int_eq(signals_set_mask(~UINT64_C(0), NULL), 0);
}

START_TEST(signals_are_clean)
{
    char *const argv[] = { (char *)"cat", (char *)"/proc/self/status", NULL };

    block_and_ignore_everything();
    const char *status = output_of(request_for(argv));
    ck_assert_uint_eq(status_bits(status, "\nSigBlk:"), 0);
    ck_assert_uint_eq(status_bits(status, "\nSigIgn:"), 0);
    ck_assert_uint_eq(status_bits(status, "\nSigCgt:"), 0);
}
END_TEST

START_TEST(still_ignored_stays)
{
    char *const argv[] = { (char *)"cat", (char *)"/proc/self/status", NULL };
    struct spawn_request request = request_for(argv);

    block_and_ignore_everything();
    request.still_ignored = SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(33);
    ck_assert_uint_eq(status_bits(output_of(request), "\nSigIgn:"), SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(33));
}
END_TEST

START_TEST(our_own_mask_is_kept)
{
    char *const argv[] = { (char *)"true", NULL };
    const struct spawn_request request = request_for(argv);
    struct spawn_failure failure;
    uint64_t now = 0;

    ck_assert_int_eq(signals_set_mask(SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(32), NULL), 0);
    ck_assert_int_eq(exit_status(spawn_process(&request, &failure)), 0);
    ck_assert_int_eq(signals_set_mask(0, &now), 0);
    ck_assert_uint_eq(now, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(32));
}
END_TEST

START_TEST(failures_have_the_shells_exit_code)
{
    static const char elf_of_nobody[64] = "\177ELF\2\1\1\0nobody's machine";
    char path[256];

    write_script("a", "plain", "echo no", 0644);
    write_file("a", "foreign", elf_of_nobody, sizeof elf_of_nobody, 0755);
    expect_command_failure("there-is-no-such-command", ENOENT, 127);
    expect_command_failure("/there/is/no/such/command", ENOENT, 127);
    expect_command_failure("", ENOENT, 127);
    expect_command_failure("/etc/passwd/x", ENOTDIR, 127);
    expect_command_failure("/etc/passwd", EACCES, 126);
    expect_command_failure("/etc", EACCES, 126);
    snprintf(path, sizeof path, "%s/a/plain", directory);
    expect_command_failure(path, EACCES, 126);
    snprintf(path, sizeof path, "%s/a/foreign", directory);
    expect_command_failure(path, ENOEXEC, 126);
}
END_TEST

START_TEST(not_executable_beats_not_found)
{
    char first[300], last[300];
    char *const argv[] = { (char *)"plain", NULL };
    struct spawn_request request = request_for(argv);

    write_script("a", "plain", "echo no", 0644);
    snprintf(first, sizeof first, "PATH=%s/a:/nowhere:/etc/passwd", directory);
    snprintf(last, sizeof last, "PATH=/nowhere:/etc/passwd:%s/a", directory);
    request.envp = (char *const[]){ first, NULL };
    expect_failure(&request, EACCES, 126);
    request.envp = (char *const[]){ last, NULL };
    expect_failure(&request, EACCES, 126);
}
END_TEST

START_TEST(an_executable_one_is_found_behind)
{
    char path[512];
    char *const argv[] = { (char *)"tool", NULL };
    struct spawn_request request = request_for(argv);

    write_script("a", "tool", "#!/bin/sh\necho first", 0644);
    write_script("b", "tool", "#!/bin/sh\necho second", 0755);
    snprintf(path, sizeof path, "PATH=/nowhere:%s/a:%s/b", directory, directory);
    request.envp = (char *const[]){ path, NULL };
    ck_assert_str_eq(output_of(request), "second\n");
}
END_TEST

START_TEST(the_path_is_the_childs)
{
    char path[300], file[300];
    char *const argv[] = { (char *)"tool", NULL };
    struct spawn_request request = request_for(argv);

    write_script("a", "tool", "#!/bin/sh\necho ours", 0755);
    snprintf(path, sizeof path, "%s/a", directory);
    setenv("PATH", path, 1);
    expect_failure(&request, ENOENT, 127);

    ck_assert_int_eq(chdir(path), 0); /* an empty element is the working directory */
    request.envp = (char *const[]){ (char *)"PATH=/nowhere:", NULL };
    ck_assert_str_eq(output_of(request), "ours\n");

    snprintf(file, sizeof file, "%s/a/tool", directory);
    request.envp = (char *const[]){ NULL };
    expect_failure(&request, ENOENT, 127);
    request.argv = (char *const[]){ (char *)"echo", (char *)"by the default path", NULL };
    ck_assert_str_eq(output_of(request), "by the default path\n");
}
END_TEST

START_TEST(a_script_without_its_line_is_the_shells)
{
    char path[300], file[300];
    char *const by_name[] = { (char *)"script", (char *)"one", (char *)"two words", NULL };
    struct spawn_request request = request_for(by_name);

    write_script("a", "script", "echo \"$0 $# $2\"\n", 0755);
    snprintf(path, sizeof path, "PATH=%s/a:/usr/bin:/bin", directory);
    request.envp = (char *const[]){ path, NULL };
    snprintf(file, sizeof file, "%s/a/script 2 two words\n", directory);
    ck_assert_str_eq(output_of(request), file);
}
END_TEST

START_TEST(own_group_is_there_on_return)
{
    char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;

    request.own_group = true;
    const pid_t own = spawn_process(&request, &failure);
    ck_assert_int_eq(getpgid(own), own);
    request.own_group = false;
    const pid_t same = spawn_process(&request, &failure);
    ck_assert_int_eq(getpgid(same), getpgrp());
    kill(own, SIGKILL);
    kill(same, SIGKILL);
    ck_assert_int_eq(exit_status(own), 128 + SIGKILL);
    ck_assert_int_eq(exit_status(same), 128 + SIGKILL);
}
END_TEST

START_TEST(inherited_descriptors_pass_and_ours_do_not)
{
    static const char script[] = "for f in /proc/$$/fd/*; do test -e $f && echo \"fd ${f##*/};\"; done";
    char *const argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
    const int theirs = fcntl(0, F_DUPFD, 20), ours = fcntl(0, F_DUPFD_CLOEXEC, 30);
    const char *open_ones = output_of(request_for(argv));

    ck_assert_int_eq(theirs, 20);
    ck_assert_int_eq(ours, 30);
    ck_assert_ptr_nonnull(strstr(open_ones, "fd 20;"));
    ck_assert_ptr_null(strstr(open_ones, "fd 30;"));
    for (int fd = 3; fd < 20; fd++) { /* nothing but what this process itself inherited */
        char name[16];
        snprintf(name, sizeof name, "fd %d;", fd);
        const int flags = fcntl(fd, F_GETFD);
        ck_assert_msg(!strstr(open_ones, name) || flags == 0, "%s leaked", name);
    }
}
END_TEST

static int lowest_free_descriptor(void)
{
    const int fd = dup(0);

    close(fd);
    return fd;
}

static void expect_kept(int keep_fd, int keep_as)
{
    char script[64];
    char *const argv[] = { (char *)"sh", (char *)"-c", script, NULL };
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;

    snprintf(script, sizeof script, "test \"$(readlink /proc/$$/fd/%d)\" = /etc/passwd", keep_as);
    request.keep_fd = keep_fd;
    request.keep_as = keep_as;
    const pid_t pid = spawn_process(&request, &failure);
    ck_assert_msg(pid > 0, "%s: %s", spawn_step_name(failure.step), strerror(failure.error));
    ck_assert_int_eq(exit_status(pid), 0);
}

START_TEST(one_descriptor_is_kept)
{
    const int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    expect_kept(fd, fd);
    expect_kept(fd, 9);
    expect_kept(fd, lowest_free_descriptor());     /* the report pipe's read end, in the parent */
    expect_kept(fd, lowest_free_descriptor() + 1); /* its write end: the child needs it on */
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(a_failure_is_told_when_the_number_is_the_pipes)
{
    char *const argv[] = { (char *)"/nowhere/at/all", NULL };
    struct spawn_request request = request_for(argv);

    request.keep_fd = 0;
    request.keep_as = lowest_free_descriptor() + 1;
    expect_failure(&request, ENOENT, 127);
}
END_TEST

START_TEST(a_bad_descriptor_is_a_start_failure)
{
    char *const argv[] = { (char *)"true", NULL };
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;

    request.keep_fd = 999;
    request.keep_as = 9;
    ck_assert_int_eq(spawn_process(&request, &failure), -1);
    ck_assert_int_eq(failure.step, SPAWN_PIPE);
    ck_assert_int_eq(failure.error, EBADF);
    ck_assert_int_eq(spawn_exit_code(&failure), 125);
}
END_TEST

START_TEST(no_descriptors_left_is_a_start_failure)
{
    char *const argv[] = { (char *)"true", NULL };
    const struct spawn_request request = request_for(argv);
    struct rlimit before, none;
    struct spawn_failure failure;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ (rlim_t)lowest_free_descriptor(), before.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(spawn_process(&request, &failure), -1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(failure.step, SPAWN_PIPE);
    ck_assert_int_eq(failure.error, EMFILE);
    ck_assert_int_eq(spawn_exit_code(&failure), 125);
}
END_TEST

static const char *environment_of_child(const char *listen_pid, const char *watchdog_pid)
{
    char *const argv[] = { (char *)"sh", (char *)"-c", (char *)"echo \"self=$$\"; exec env", NULL };
    struct spawn_request request = request_for(argv);

    request.envp = (char *const[]){ (char *)"PATH=/usr/bin:/bin", (char *)"LISTEN_PIDFDID=77", (char *)listen_pid,
                                    (char *)"LISTEN_FDS=2", (char *)watchdog_pid, (char *)"LAST=1", NULL };
    return output_of(request);
}

START_TEST(what_is_meant_for_us_is_meant_for_the_child)
{
    char listen_pid[40], watchdog_pid[40], expected[64];
    pid_t self = 0;

    snprintf(listen_pid, sizeof listen_pid, "LISTEN_PID=%d", getpid());
    snprintf(watchdog_pid, sizeof watchdog_pid, "WATCHDOG_PID=%d", getpid());
    const char *environment = environment_of_child(listen_pid, watchdog_pid);
    ck_assert_int_eq(sscanf(environment, "self=%d", &self), 1);
    snprintf(expected, sizeof expected, "\nLISTEN_PID=%d\n", self);
    ck_assert_ptr_nonnull(strstr(environment, expected));
    snprintf(expected, sizeof expected, "\nWATCHDOG_PID=%d\n", self);
    ck_assert_ptr_nonnull(strstr(environment, expected));
    ck_assert_ptr_null(strstr(environment, "PIDFDID"));
    ck_assert_ptr_nonnull(strstr(environment, "\nLISTEN_FDS=2\n"));
    ck_assert_ptr_nonnull(strstr(environment, "\nLAST=1\n"));
    ck_assert_int_eq(atoi(listen_pid + strlen("LISTEN_PID=")), getpid()); /* our own strings are untouched */
}
END_TEST

START_TEST(what_is_meant_for_another_stays)
{
    const char *environment = environment_of_child("LISTEN_PID=1", "WATCHDOG_PID=12x");

    ck_assert_ptr_nonnull(strstr(environment, "\nLISTEN_PID=1\n"));
    ck_assert_ptr_nonnull(strstr(environment, "\nWATCHDOG_PID=12x\n"));
    ck_assert_ptr_nonnull(strstr(environment, "LISTEN_PIDFDID=77\n"));
}
END_TEST

/* A process in the middle spawns a sleeper with a death signal, says its pid, and ends. */
static void run_middle(int report)
{
    char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;

    request.death_signal = SIGKILL;
    const pid_t pid = spawn_process(&request, &failure);
    _exit(write(report, &pid, sizeof pid) == sizeof pid ? 0 : 1);
}

START_TEST(death_signal_ends_it_with_us)
{
    int ends[2], status = 0;
    pid_t sleeper = 0;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t middle = fork();
    if (middle == 0)
        run_middle(ends[1]);
    ck_assert_int_eq(read(ends[0], &sleeper, sizeof sleeper), sizeof sleeper);
    ck_assert_int_eq(exit_status(middle), 0);
    ck_assert(wait_until(waitpid(sleeper, &status, WNOHANG) == sleeper));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
END_TEST

/* Not waited for: the outcome is read when the child has ended. */
static pid_t spawn_without_waiting(const char *command, int *outcome)
{
    char *const argv[] = { (char *)command, NULL };
    static char *room[SPAWN_ROOM(1, 1)];
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;

    request.room = room;
    request.outcome = outcome;
    const pid_t pid = spawn_process(&request, &failure);
    ck_assert_int_gt(pid, 0);
    return pid;
}

START_TEST(the_outcome_can_be_read_later)
{
    struct spawn_failure failure = { SPAWN_OK, 0 };
    int outcome = -1;

    ck_assert_int_eq(exit_status(spawn_without_waiting("true", &outcome)), 0);
    ck_assert(spawn_read_outcome(&outcome, &failure));
    ck_assert_int_eq(outcome, -1);
    ck_assert_int_eq(exit_status(spawn_without_waiting("/nonexistent", &outcome)), 127);
    ck_assert(!spawn_read_outcome(&outcome, &failure));
    ck_assert_int_eq(failure.step, SPAWN_EXEC);
    ck_assert_int_eq(failure.error, ENOENT);
    ck_assert_int_eq(outcome, -1);
}
END_TEST

START_TEST(a_script_without_its_line_fits_into_the_room)
{
    char path[128];
    struct spawn_failure failure;
    int outcome = -1;

    snprintf(path, sizeof path, "%s/script", directory);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ck_assert_int_eq(write(fd, "exit 42\n", 8), 8);
    close(fd);
    ck_assert_int_eq(exit_status(spawn_without_waiting(path, &outcome)), 42);
    ck_assert(spawn_read_outcome(&outcome, &failure));
    unlink(path);
}
END_TEST

START_TEST(output_goes_to_our_error)
{
    char *const argv[] = { (char *)"readlink", (char *)"/proc/self/fd/1", NULL };
    struct spawn_request request = request_for(argv);
    struct spawn_failure failure;
    char output[256] = "";
    int ends[2], before = dup(STDERR_FILENO);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    request.output_to_error = true;
    dup2(ends[1], STDERR_FILENO);
    const pid_t pid = spawn_process(&request, &failure);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ck_assert_int_eq(exit_status(pid), 0);
    ck_assert_int_gt(read(ends[0], output, sizeof output - 1), 0);
    ck_assert_ptr_nonnull(strstr(output, "pipe:["));
    close(ends[0]);
}
END_TEST

START_TEST(steps_have_names)
{
    for (int step = SPAWN_OK; step <= SPAWN_EXEC; step++)
        ck_assert_str_ne(spawn_step_name((enum spawn_step)step), "an unknown step");
    ck_assert_str_eq(spawn_step_name((enum spawn_step)99), "an unknown step");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spawn");
    TCase *cases = tcase_create("spawn");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 30);
    tcase_add_checked_fixture(cases, make_directory, remove_directory);
    tcase_add_test(cases, signals_are_clean);
    tcase_add_test(cases, still_ignored_stays);
    tcase_add_test(cases, our_own_mask_is_kept);
    tcase_add_test(cases, failures_have_the_shells_exit_code);
    tcase_add_test(cases, not_executable_beats_not_found);
    tcase_add_test(cases, an_executable_one_is_found_behind);
    tcase_add_test(cases, the_path_is_the_childs);
    tcase_add_test(cases, a_script_without_its_line_is_the_shells);
    tcase_add_test(cases, own_group_is_there_on_return);
    tcase_add_test(cases, inherited_descriptors_pass_and_ours_do_not);
    tcase_add_test(cases, one_descriptor_is_kept);
    tcase_add_test(cases, a_failure_is_told_when_the_number_is_the_pipes);
    tcase_add_test(cases, a_bad_descriptor_is_a_start_failure);
    tcase_add_test(cases, what_is_meant_for_us_is_meant_for_the_child);
    tcase_add_test(cases, what_is_meant_for_another_stays);
    tcase_add_test(cases, death_signal_ends_it_with_us);
    tcase_add_test(cases, the_outcome_can_be_read_later);
    tcase_add_test(cases, a_script_without_its_line_fits_into_the_room);
    tcase_add_test(cases, output_goes_to_our_error);
    tcase_add_test(cases, steps_have_names);
    TCase *bare = tcase_create("without a fixture");
    tcase_add_test(bare, no_descriptors_left_is_a_start_failure);
    suite_add_tcase(suite, cases);
    suite_add_tcase(suite, bare);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
