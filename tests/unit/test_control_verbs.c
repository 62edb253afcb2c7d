/* `lastcall drain`, `resume` and `status` against a supervisor that the test plays: a listening socket, one accepted
 * connection, replies by hand. The verb runs in a child; its exit code and its two outputs are looked at. Runs as a
 * user of its own when it is root, so that nobody else's instances are found. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "common/log.h"
#include "supervisor/platform/control_place.h"
#include "wire/control.h"

enum { PLACES = 3 };
static struct control_place places[PLACES];
static struct error error;
static char outputs[2][4096], own_directory[256], socket_path[300];
static pid_t child;
static int out_fd, err_fd;

static void enter(void)
{
    uid_t uid = 40000 + (uid_t)getpid() % 20000;
    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(uid, uid, uid), 0);
    unsetenv("LASTCALL_SOCKET");
    unsetenv("TERM");
    for (int i = 0; i < PLACES; i++)
        places[i].fd = -1;
    ck_assert_int_eq(control_socket_directory(1, geteuid(), own_directory, sizeof own_directory), 0);
}

static void leave(void)
{
    for (int i = 0; i < PLACES; i++)
        control_place_close(&places[i]);
    if (geteuid() != 0)
        rmdir(own_directory);
}

static void open_instance(int i, const char *name)
{
    ck_assert_int_eq(control_place_prepare_directory(own_directory, &error), 0);
    snprintf(socket_path, sizeof socket_path, "%s/%s.sock", own_directory, name);
    ck_assert_msg(control_place_bind(&places[i], socket_path, &error) == 0, "%s", error.text);
    ck_assert_int_eq(fcntl(places[i].fd, F_SETFL, 0), 0); /* the test may wait for the verb */
}

/* ---- the verb, in a child ---- */

static void run_verb(int (*verb)(int, char **), const char *const *words)
{
    char *argv[8] = {(char *)"verb"};
    int out[2], err[2], argc = 1;
    for (; words && words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    ck_assert(pipe(out) == 0 && pipe(err) == 0);
    child = fork();
    if (child == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int i = 0; i < PLACES; i++)
            if (places[i].fd != -1)
                close(places[i].fd);
        int code = verb(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    close(out[1]);
    close(err[1]);
    out_fd = out[0];
    err_fd = err[0];
}

static void read_all(int fd, char *at, size_t size)
{
    size_t length = 0;
    for (ssize_t n; (n = read(fd, at + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    at[length] = 0;
    close(fd);
}

/* The exit code; what it printed is then in outputs[]. */
static int end_of_verb(void)
{
    int status;
    read_all(out_fd, outputs[0], sizeof outputs[0]);
    read_all(err_fd, outputs[1], sizeof outputs[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_text(int stream, const char *text)
{
    ck_assert_msg(strstr(outputs[stream], text) != NULL, "no \"%s\" in: %s / %s", text, outputs[0], outputs[1]);
}

static void expect_no_text(int stream, const char *text)
{
    ck_assert_msg(strstr(outputs[stream], text) == NULL, "\"%s\" in: %s", text, outputs[stream]);
}

/* ---- the supervisor, by hand ---- */

static int accept_request(int i, enum control_verb verb, unsigned flags)
{
    struct control_request request;
    int fd = accept(places[i].fd, NULL, NULL);
    ck_assert_int_eq(recv(fd, &request, sizeof request, 0), sizeof request);
    ck_assert(request.magic == CONTROL_MAGIC && request.version == CONTROL_VERSION);
    ck_assert(request.verb == verb && request.flags == flags);
    return fd;
}

static void reply(int fd, enum control_reply_kind kind, unsigned exit_code, const char *phase, const char *text)
{
    struct control_reply message = {.magic = CONTROL_MAGIC, .kind = (uint16_t)kind, .exit_code = (uint16_t)exit_code,
                                    .state = {.instance = "web", .app_pid = 7, .handles = 8, .in_flight = -1,
                                              .since_stop_us = 1500000, .left_us = 8500000}};
    strcpy(message.state.phase, phase);
    strcpy(message.text, text);
    ck_assert_int_eq(send(fd, &message, sizeof message, MSG_NOSIGNAL), sizeof message);
}

/* ---- finding ---- */

START_TEST(nobody_there)
{
    run_verb(verb_status, NULL);
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "lastcall: no lastcall is running here");
    ck_assert_str_eq(outputs[0], "");
}
END_TEST

START_TEST(several_there_are_listed)
{
    open_instance(0, "web");
    open_instance(1, "worker");
    run_verb(verb_drain, NULL);
    ck_assert_int_eq(end_of_verb(), 2);
    expect_text(1, "several are running here; say which one:\n  web ");
    expect_text(1, "\n  worker ");
}
END_TEST

START_TEST(the_named_one_is_asked)
{
    open_instance(0, "web");
    open_instance(1, "worker");
    run_verb(verb_resume, (const char *const[]){"worker", NULL});
    reply(accept_request(1, CONTROL_RESUME, 0), CONTROL_DONE, 0, "running", "called off");
    ck_assert_int_eq(end_of_verb(), 0);
    expect_text(0, "called off");
    run_verb(verb_status, (const char *const[]){"nobody", NULL});
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "no lastcall called \"nobody\" is running here");
}
END_TEST

START_TEST(the_only_living_one_is_found)
{
    open_instance(0, "web");
    open_instance(1, "dead");
    close(places[1].fd); /* the file stays */
    places[1].fd = open("/dev/null", O_RDONLY);
    run_verb(verb_status, NULL);
    reply(accept_request(0, CONTROL_STATUS, 0), CONTROL_DONE, 0, "running", "");
    ck_assert_int_eq(end_of_verb(), 0);
    expect_text(0, "web: running");
}
END_TEST

START_TEST(the_environment_names_a_path)
{
    open_instance(0, "web");
    open_instance(1, "worker");
    setenv("LASTCALL_SOCKET", places[1].path, 1);
    run_verb(verb_status, NULL);
    reply(accept_request(1, CONTROL_STATUS, 0), CONTROL_DONE, 0, "running", "");
    ck_assert_int_eq(end_of_verb(), 0);
    setenv("LASTCALL_SOCKET", "/nowhere/at.sock", 1);
    run_verb(verb_status, NULL);
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "no lastcall answers at /nowhere/at.sock: No such file or directory");
}
END_TEST

/* Root looks into other users' directories; an instance of ours is found by it. Ends as root again. */
START_TEST(root_finds_other_users_instances)
{
    uid_t uid = 40000 + (uid_t)getpid() % 20000;
    char name[32];
    snprintf(name, sizeof name, "unit-%d", (int)getpid());
    for (int i = 0; i < PLACES; i++)
        places[i].fd = -1;
    unsetenv("LASTCALL_SOCKET");
    ck_assert_int_eq(seteuid(uid), 0);
    ck_assert_int_eq(control_socket_directory(1, uid, own_directory, sizeof own_directory), 0);
    open_instance(0, name);
    ck_assert_int_eq(seteuid(0), 0);
    run_verb(verb_status, (const char *const[]){name, NULL});
    reply(accept_request(0, CONTROL_STATUS, 0), CONTROL_DONE, 0, "running", "");
    ck_assert_int_eq(end_of_verb(), 0);
    control_place_close(&places[0]);
    rmdir(own_directory);
}
END_TEST

/* Somebody else's socket in our place would be believed when it says "still". */
START_TEST(a_socket_of_another_user_is_not_believed)
{
    uid_t uid = 40000 + (uid_t)getpid() % 20000;
    char path[] = "/tmp/test_verbs.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(path));
    chmod(path, 0755);
    snprintf(socket_path, sizeof socket_path, "%s/web.sock", path);
    ck_assert_int_eq(control_place_bind(&places[0], socket_path, &error), 0);
    chmod(socket_path, 0666);
    ck_assert_int_eq(seteuid(uid), 0);
    run_verb(verb_drain, (const char *const[]){socket_path, NULL});
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "Operation not permitted");
    ck_assert_int_eq(seteuid(0), 0);
    control_place_close(&places[0]);
    rmdir(path);
}
END_TEST

/* ---- drain ---- */

START_TEST(a_drain_shows_what_changes_and_ends_with_the_code)
{
    open_instance(0, "web");
    run_verb(verb_drain, NULL);
    int fd = accept_request(0, CONTROL_DRAIN, 0);
    reply(fd, CONTROL_PROGRESS, 0, "draining", "3 of 8");
    reply(fd, CONTROL_PROGRESS, 0, "draining", "3 of 8");
    reply(fd, CONTROL_PROGRESS, 0, "holding", "");
    reply(fd, CONTROL_DONE, 0, "holding", "still");
    ck_assert_int_eq(end_of_verb(), 0);
    ck_assert_str_eq(outputs[0], "web: draining, 8.5 s left: 3 of 8\n"
                                 "web: holding, in flight: unknown, 8.5 s left\n"
                                 "web: holding, 8.5 s left: still\n");
}
END_TEST

START_TEST(now_is_passed_on)
{
    open_instance(0, "web");
    run_verb(verb_drain, (const char *const[]){"web", "--now", NULL});
    reply(accept_request(0, CONTROL_DRAIN, CONTROL_NOW), CONTROL_DONE, 5, "holding", "not still");
    ck_assert_int_eq(end_of_verb(), 5);
    expect_text(1, "not still"); /* a failure goes to standard error */
}
END_TEST

START_TEST(a_refusal_is_told)
{
    open_instance(0, "web");
    run_verb(verb_drain, NULL);
    reply(accept_request(0, CONTROL_DRAIN, 0), CONTROL_REFUSED, 1, "", "another version");
    ck_assert_int_eq(end_of_verb(), 1);
    ck_assert_str_eq(outputs[1], "lastcall: another version\n");
}
END_TEST

static const struct {
    const char *phase;
    int code;
} ends[] = {{"announcing", 1}, {"draining", 1}, {"holding", 1}, {"stopping", 0},
            {"killing", 0},    {"sweeping", 0}, {"done", 0}};

/* The supervisor ends while the drain waits: well only if the stop had gone beyond "still". */
START_TEST(an_end_before_still_is_a_failure)
{
    open_instance(0, "web");
    run_verb(verb_drain, NULL);
    int fd = accept_request(0, CONTROL_DRAIN, 0);
    reply(fd, CONTROL_PROGRESS, 0, ends[_i].phase, "");
    close(fd);
    ck_assert_int_eq(end_of_verb(), ends[_i].code);
    expect_text(ends[_i].code ? 1 : 0, ends[_i].code ? "ended before it was still" : "was stopped meanwhile");
}
END_TEST

START_TEST(an_end_without_a_word_is_a_failure)
{
    open_instance(0, "web");
    run_verb(verb_drain, (const char *const[]){"-o", "json", NULL});
    close(accept_request(0, CONTROL_DRAIN, 0));
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(0, "\"result\":\"lost\"");
    expect_text(0, "\"phase\":null");
    expect_text(0, "\"in_flight\":null");
}
END_TEST

START_TEST(what_is_no_reply_is_refused)
{
    open_instance(0, "web");
    run_verb(verb_drain, NULL);
    ck_assert_int_eq(send(accept_request(0, CONTROL_DRAIN, 0), "hello", 5, 0), 5);
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "the answer is not lastcall's");
}
END_TEST

START_TEST(a_reply_cannot_write_on_the_terminal)
{
    open_instance(0, "web");
    run_verb(verb_drain, NULL);
    reply(accept_request(0, CONTROL_DRAIN, 0), CONTROL_DONE, 0, "\033[2J", "\033]0;title\a\nfake line");
    ck_assert_int_eq(end_of_verb(), 0);
    expect_no_text(0, "\033");
    expect_no_text(0, "\nfake");
    expect_text(0, "\\x1b]0;title\\x07\\x0afake line");
}
END_TEST

START_TEST(json_is_one_object_at_the_end)
{
    open_instance(0, "web");
    run_verb(verb_drain, (const char *const[]){"-o", "json", NULL});
    int fd = accept_request(0, CONTROL_DRAIN, 0);
    reply(fd, CONTROL_PROGRESS, 0, "draining", "3 of 8");
    reply(fd, CONTROL_DONE, 0, "holding", "still");
    ck_assert_int_eq(end_of_verb(), 0);
    ck_assert_str_eq(outputs[0],
                     "{\"schema\":\"lastcall.control/1\",\"verb\":\"drain\",\"result\":\"done\",\"exit_code\":0,"
                     "\"instance\":\"web\",\"phase\":\"holding\",\"app_pid\":7,\"handles\":8,\"in_flight\":null,"
                     "\"restarts\":0,\"since_stop_seconds\":1.5,\"left_seconds\":8.5,\"text\":\"still\"}\n");
}
END_TEST

/* ---- status ---- */

START_TEST(status_prints_what_is_known)
{
    open_instance(0, "web");
    run_verb(verb_status, NULL);
    reply(accept_request(0, CONTROL_STATUS, 0), CONTROL_DONE, 0, "draining", "");
    ck_assert_int_eq(end_of_verb(), 0);
    ck_assert_str_eq(outputs[0], "web: draining\n  app pid     7\n  handles     8\n  in flight   unknown\n"
                                 "  stop began  1.5 s ago\n  time left   8.5 s\n");
}
END_TEST

START_TEST(ready_means_running)
{
    static const char *const phases[] = {"running", "announcing", "draining", "holding", "stopping", ""};
    open_instance(0, "web");
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        run_verb(verb_status, (const char *const[]){"--ready", NULL});
        reply(accept_request(0, CONTROL_STATUS, 0), CONTROL_DONE, 0, phases[i], "");
        ck_assert_int_eq(end_of_verb(), i == 0 ? 0 : 1);
    }
}
END_TEST

START_TEST(a_status_without_an_answer_fails)
{
    open_instance(0, "web");
    run_verb(verb_status, NULL);
    close(accept_request(0, CONTROL_STATUS, 0));
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "closed the connection without an answer");
}
END_TEST

START_TEST(a_stuck_supervisor_is_not_waited_for)
{
    open_instance(0, "web");
    run_verb(verb_status, NULL);
    ck_assert_int_eq(end_of_verb(), 1);
    expect_text(1, "no answer within 5 s");
}
END_TEST

START_TEST(wrong_usage_is_two)
{
    run_verb(verb_status, (const char *const[]){"--no-such", NULL});
    ck_assert_int_eq(end_of_verb(), 2);
    run_verb(verb_drain, (const char *const[]){"a", "b", NULL});
    ck_assert_int_eq(end_of_verb(), 2);
    run_verb(verb_resume, (const char *const[]){"-o", "xml", NULL});
    ck_assert_int_eq(end_of_verb(), 2);
}
END_TEST

static TCase *as_root(void)
{
    TCase *tcase = tcase_create("root");
    tcase_add_test(tcase, root_finds_other_users_instances);
    tcase_add_test(tcase, a_socket_of_another_user_is_not_believed);
    return tcase;
}

static TCase *as_user(void)
{
    TCase *tcase = tcase_create("user");
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_test(tcase, nobody_there);
    tcase_add_test(tcase, several_there_are_listed);
    tcase_add_test(tcase, the_named_one_is_asked);
    tcase_add_test(tcase, the_only_living_one_is_found);
    tcase_add_test(tcase, the_environment_names_a_path);
    tcase_add_test(tcase, a_drain_shows_what_changes_and_ends_with_the_code);
    tcase_add_test(tcase, now_is_passed_on);
    tcase_add_test(tcase, a_refusal_is_told);
    tcase_add_loop_test(tcase, an_end_before_still_is_a_failure, 0, sizeof ends / sizeof ends[0]);
    tcase_add_test(tcase, an_end_without_a_word_is_a_failure);
    tcase_add_test(tcase, what_is_no_reply_is_refused);
    tcase_add_test(tcase, a_reply_cannot_write_on_the_terminal);
    tcase_add_test(tcase, json_is_one_object_at_the_end);
    tcase_add_test(tcase, status_prints_what_is_known);
    tcase_add_test(tcase, ready_means_running);
    tcase_add_test(tcase, a_status_without_an_answer_fails);
    tcase_add_test(tcase, a_stuck_supervisor_is_not_waited_for);
    tcase_add_test(tcase, wrong_usage_is_two);
    return tcase;
}

int main(void)
{
    log_init("test_control_verbs", LOG_LEVEL_ERROR);
    Suite *suite = suite_create("control_verbs");
    suite_add_tcase(suite, as_user());
    if (geteuid() == 0)
        suite_add_tcase(suite, as_root());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
