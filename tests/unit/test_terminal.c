/* terminal: an interactive bash on a pseudo-terminal, a small supervisor made of the modules under test, and an app
 * that tells what reaches it. The test types, and reads the screen.
 *
 * The same program is all three: `test_terminal supervise app` (or `eager`), `test_terminal app`. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/process.h"
#include "common/signals.h"
#include "supervisor/app/reap.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/spawn.h"
#include "supervisor/app/terminal.h"
#include "waiting.h"

extern char **environ;

/* ---- the app: says what comes, line by line ---- */

static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (write(1, line, (size_t)length) != length)
        _exit(1);
}

/* Returns true when it is told to read now (SIGUSR1). */
static bool app_take(int signals)
{
    struct taken_signal taken;
    bool reads_now = false;

    while (signals_take(signals, &taken) == 1)
        if (taken.signo == SIGUSR1)
            reads_now = true;
        else
            say("app-got-%d\n", taken.signo);
    return reads_now;
}

static bool app_is_in_front(void)
{
    return !isatty(0) || tcgetpgrp(0) == getpgrp();
}

/* Returns false at the end. */
static bool app_read(void)
{
    char line[256];
    const ssize_t size = read(0, line, sizeof line - 1);

    if (size <= 0)
        return false;
    line[size] = '\0';
    line[strcspn(line, "\n")] = '\0';
    say("app-read-%s\n", line);
    return strcmp(line, "exit") != 0;
}

/* These are read from a signalfd; the stop signals have their default effect. It reads its input when it is in the
 * foreground; an eager one begins with a read, wherever it is. */
static int run_app(bool is_eager)
{
    uint64_t ignored;
    const int signals = signals_open(&ignored);
    struct pollfd input = { .fd = 0, .events = POLLIN };
    bool goes_on = true;

    signals_set_mask(SIGNAL_BIT(SIGINT) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGUSR1), NULL);
    say("app-ready\n");
    if (is_eager)
        goes_on = app_read();
    while (goes_on) {
        const bool reads_now = app_take(signals);
        if (reads_now || (poll(&input, app_is_in_front(), 2) == 1))
            goes_on = app_read();
    }
    return 42;
}

/* ---- the supervisor: as the loop does it ---- */

struct supervisor {
    struct terminal terminal;
    pid_t app;
    int exit_code;
};

static void supervisor_reap(struct supervisor *supervisor)
{
    for (struct reaped reaped; (reaped = reap_next()).how != REAPED_NONE;) {
        if (reaped.pid != supervisor->app)
            continue;
        if (reaped.how == REAPED_STOPPED && reaped.value != SIGSTOP)
            terminal_app_stopped(&supervisor->terminal);
        else if (reaped.how == REAPED_EXITED || reaped.how == REAPED_SIGNALED)
            supervisor->exit_code = reap_exit_code(&reaped);
    }
}

/* Typed at the terminal, though the app's group should have it: a shell's fg of a running job says nothing to us. */
static void supervisor_forward(struct supervisor *supervisor, const struct taken_signal *taken)
{
    if (taken->by_kernel)
        terminal_continued(&supervisor->terminal);
    kill(taken->by_kernel ? -supervisor->app : supervisor->app, taken->signo);
}

static void supervisor_handle(struct supervisor *supervisor, const struct taken_signal *taken)
{
    switch (taken->signo) {
    case SIGCHLD:
        supervisor_reap(supervisor);
        break;
    case SIGCONT:
        terminal_continued(&supervisor->terminal);
        kill(-supervisor->app, SIGCONT);
        break;
    default:
        supervisor_forward(supervisor, taken);
    }
}

static int run_supervisor(char *kind_of_app)
{
    char *const argv[] = { (char *)"/proc/self/exe", kind_of_app, NULL };
    struct supervisor supervisor = { .exit_code = -1 };
    struct spawn_failure failure;
    struct taken_signal taken;
    uint64_t ignored;
    const int signals = signals_open(&ignored);

    terminal_open(&supervisor.terminal);
    const struct spawn_request request = {
        .argv = argv, .envp = environ, .own_group = true, .keep_fd = -1, .keep_as = -1,
        .terminal = supervisor.terminal.fd,
    };
    supervisor.app = supervisor.terminal.app_group = spawn_process(&request, &failure);
    if (supervisor.app == -1)
        return spawn_exit_code(&failure);
    while (supervisor.exit_code == -1) {
        struct pollfd waited = { .fd = signals, .events = POLLIN };
        poll(&waited, 1, -1);
        while (supervisor.exit_code == -1 && signals_take(signals, &taken) == 1)
            supervisor_handle(&supervisor, &taken);
    }
    terminal_take_back(&supervisor.terminal);
    terminal_close(&supervisor.terminal);
    return supervisor.exit_code;
}

/* ---- the test: a screen and a keyboard ---- */

static int keyboard = -1;
static pid_t shell;
static char screen[1 << 16];
static size_t screen_length, seen; /* what was expected already lies before `seen` */
static char self[256];

static void read_screen(void)
{
    struct pollfd waited = { .fd = keyboard, .events = POLLIN };

    while (poll(&waited, 1, 0) == 1 && screen_length < sizeof screen - 1) {
        const ssize_t size = read(keyboard, screen + screen_length, sizeof screen - 1 - screen_length);
        if (size <= 0)
            return;
        screen_length += (size_t)size;
        screen[screen_length] = '\0';
    }
}

static bool shows(const char *text)
{
    read_screen();
    const char *at = strstr(screen + seen, text);
    if (at)
        seen = (size_t)(at - screen) + strlen(text);
    return at != NULL;
}

static void type(const char *text)
{
    ck_assert_int_eq(write(keyboard, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect(const char *text)
{
    ck_assert_msg(wait_until(shows(text)), "no \"%s\" on the screen; it shows:\n%s", text, screen);
}

/* After this everything that was under way has been shown: the shell answers in turn. */
static void expect_prompt(void)
{
    static int number;
    char command[64], answer[64];

    number++;
    snprintf(command, sizeof command, "echo an\"\"swer-%d\n", number);
    snprintf(answer, sizeof answer, "answer-%d", number);
    type(command);
    expect(answer);
}

static int count_on_screen(size_t from, const char *text)
{
    int count = 0;

    for (const char *at = screen + from; (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

/* The app reads what is typed: it has the terminal. */
static void expect_app_reads(const char *word)
{
    char line[64], answer[64];

    snprintf(line, sizeof line, "%s\n", word);
    snprintf(answer, sizeof answer, "app-read-%s", word);
    type(line);
    expect(answer);
}

static void start_on_terminal(char *const argv[])
{
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    ck_assert_int_gt(length, 0);
    self[length] = '\0';
    shell = forkpty(&keyboard, NULL, NULL, NULL);
    if (shell == 0) {
        signals_reset(0);
        signals_set_mask(0, NULL);
        setenv("PS1", "$ ", 1);
        setenv("L", self, 1);
        setenv("TERM", "dumb", 1);
        setenv("HISTFILE", "", 1);
        execvp(argv[0], argv);
        _exit(127);
    }
}

static void start_bash(void)
{
    char *const argv[] = { (char *)"bash", (char *)"--norc", (char *)"--noprofile", (char *)"--noediting", (char *)"-i",
                           NULL };

    start_on_terminal(argv);
    expect_prompt();
}

/* The terminal hangs up: whoever is left in its session gets SIGHUP, stopped ones SIGCONT too. */
static void hang_up(void)
{
    close(keyboard);
    kill(shell, SIGKILL);
    waitpid(shell, NULL, 0);
}

static void start_supervised(void)
{
    start_bash();
    type("$L supervise app\n");
    expect("app-ready");
}

/* ---- tests ---- */

START_TEST(foreground_app_reads_and_its_exit_code_comes_back)
{
    start_supervised();
    expect_app_reads("hello");
    type("exit\n");
    expect("$ ");
    type("echo code-$?\n");
    expect("code-42");
    expect_prompt();
}
END_TEST

START_TEST(ctrl_c_reaches_the_app_once)
{
    start_supervised();
    const size_t before = seen;
    type("\003");
    expect("app-got-2");
    expect_app_reads("on");
    ck_assert_int_eq(count_on_screen(before, "app-got-2"), 1);
}
END_TEST

START_TEST(ctrl_z_and_fg)
{
    start_supervised();
    for (int round = 0; round < 3; round++) {
        const size_t before = seen;
        type("\032");
        expect("Stopped");
        expect_prompt();
        type("fg\n");
        expect("app-got-18");
        expect_app_reads("again");
        ck_assert_int_eq(count_on_screen(before, "app-got-18"), 1);
        type("\003");
        expect("app-got-2");
    }
    type("exit\n");
    expect("$ ");
    type("echo code-$?\n");
    expect("code-42");
}
END_TEST

/* The first process that the shell started, and what it started. */
static pid_t child_of(pid_t pid)
{
    struct process_tree tree = { 0 };

    ck_assert_int_eq(process_tree_read(&tree, pid, 0), 0);
    ck_assert_uint_gt(tree.count, 0);
    const pid_t child = tree.pids[0];
    process_tree_finish(&tree);
    return child;
}

static pid_t job(void)
{
    return child_of(shell);
}

static pid_t app_pid(void)
{
    return child_of(job());
}

static char state_of_job(void)
{
    struct process_stat stat = { 0 };

    ck_assert_int_eq(process_read_stat(job(), &stat), 0);
    return stat.state;
}

static void continue_in_background(void)
{
    start_supervised();
    type("\032");
    expect("Stopped");
    type("bg\n");
    expect("app-got-18");
    expect_prompt(); /* the terminal is the shell's */
}

/* The shell does not continue a job that runs, so nobody tells us: the app's first read does (SIGTTIN). */
START_TEST(ctrl_z_bg_and_fg)
{
    continue_in_background();
    kill(app_pid(), SIGUSR1); /* read now, wherever you are */
    ck_assert(wait_until(state_of_job() == 'T'));
    expect_prompt();
    type("fg\n");
    expect("supervise");
    expect_app_reads("front");
    expect_app_reads("and again");
}
END_TEST

/* It reads when we have the terminal already: it gets it, and nobody stops. */
START_TEST(ctrl_z_bg_fg_and_a_read)
{
    continue_in_background();
    type("fg\n");
    ck_assert(wait_until(tcgetpgrp(keyboard) == job()));
    const size_t before = seen;
    kill(app_pid(), SIGUSR1);
    expect_app_reads("front");
    ck_assert_int_eq(count_on_screen(before, "Stopped"), 0);
}
END_TEST

/* Or what is typed does: it comes to our group, by the kernel. */
START_TEST(ctrl_z_bg_fg_and_ctrl_c)
{
    continue_in_background();
    type("fg\n");
    ck_assert(wait_until(tcgetpgrp(keyboard) == job()));
    type("\003");
    expect("app-got-2");
    expect_app_reads("front");
}
END_TEST

START_TEST(ctrl_z_bg_fg_and_ctrl_z)
{
    continue_in_background();
    type("fg\n");
    ck_assert(wait_until(tcgetpgrp(keyboard) == job()));
    type("\032");
    expect("Stopped");
    expect_prompt();
    type("fg\n");
    expect("app-got-18");
    expect_app_reads("front");
}
END_TEST

/* The app reads at once and is stopped for it (SIGTTIN), and we are with it. */
START_TEST(started_in_the_background)
{
    start_bash();
    type("$L supervise eager &\n");
    expect("app-ready");
    ck_assert(wait_until(state_of_job() == 'T'));
    expect_prompt(); /* answered by the shell: the app has not taken the terminal */
    type("fg\n");
    expect_app_reads("front"); /* the read(2) that it was stopped in goes on */
    expect("app-got-18");
    type("\003");
    expect("app-got-2");
    type("exit\n");
    expect("$ ");
    type("echo code-$?\n");
    expect("code-42");
}
END_TEST

START_TEST(a_pipeline_stops_whole)
{
    start_bash();
    type("$L supervise app | sed -u s/app/sed/\n");
    expect("sed-ready");
    type("one\n");
    expect("sed-read-one");
    type("\032");
    expect("Stopped");
    type("jobs -l\n");
    expect("Stopped");
    expect("supervise");
    expect_prompt();
    type("fg\n");
    expect("sed-got-18");
    type("two\n");
    expect("sed-read-two");
    type("exit\n");
    expect_prompt();
}
END_TEST

/* The script's shell is in our group: it stops with us, and the next command has the terminal after us. */
START_TEST(in_a_script)
{
    start_bash();
    type("sh -c '$L supervise app; echo status-$?; read word; echo script-read-$word'\n");
    expect("app-ready");
    expect_app_reads("one");
    type("\032");
    expect("Stopped");
    expect_prompt();
    type("fg\n");
    expect("app-got-18");
    expect_app_reads("two");
    type("exit\n");
    expect("status-42");
    type("word\n");
    expect("script-read-word");
}
END_TEST

START_TEST(with_standard_input_from_elsewhere)
{
    start_bash();
    type("mkfifo /tmp/fifo-$$; $L supervise app <>/tmp/fifo-$$\n");
    expect("app-ready");
    type("\032");
    expect("Stopped");
    expect_prompt();
    type("fg\n");
    expect("app-got-18");
    type("\003");
    expect("app-got-2");
    type("\032");
    expect("Stopped");
    type("rm /tmp/fifo-$$\n");
    expect_prompt();
}
END_TEST

static pid_t parent_of(pid_t pid)
{
    struct process_stat stat = { 0 };

    ck_assert_int_eq(process_read_stat(pid, &stat), 0);
    return stat.ppid;
}

/* kill -STOP of us alone, then fg: the terminal, which the shell had taken meanwhile, goes to the app again. */
START_TEST(stopped_by_another)
{
    start_supervised();
    kill(parent_of(tcgetpgrp(keyboard)), SIGSTOP);
    expect("Stopped");
    type("fg\n");
    expect("supervise");
    expect_app_reads("again");
    expect_app_reads("and again");
}
END_TEST

/* As a container's PID 1 with a terminal: we lead the session, and nobody could continue us. */
START_TEST(session_leader_is_never_stopped)
{
    start_on_terminal((char *const[]){ (char *)"/proc/self/exe", (char *)"supervise", (char *)"app", NULL });
    expect("app-ready");
    expect_app_reads("one");
    for (int round = 0; round < 3; round++) {
        type("\032");
        expect("app-got-18");
        expect_app_reads("on");
    }
    type("\003");
    expect("app-got-2");
    type("exit\n");
    int status = 0;
    ck_assert(wait_until(waitpid(shell, &status, WNOHANG) == shell));
    ck_assert_int_eq(WEXITSTATUS(status), 42);
}
END_TEST

static _Noreturn void run_without_terminal(void)
{
    struct terminal terminal;

    if (setsid() == -1)
        _exit(1);
    terminal_open(&terminal);
    if (terminal.fd != -1 || terminal.can_stop || terminal.own_group != getpgrp())
        _exit(2);
    terminal.app_group = getpgrp();
    terminal_app_stopped(&terminal);
    terminal_continued(&terminal);
    terminal_take_back(&terminal);
    terminal_close(&terminal);
    _exit(0);
}

START_TEST(without_a_terminal_nothing_happens)
{
    int status = -1;
    const pid_t pid = fork();

    if (pid == 0)
        run_without_terminal();
    ck_assert(wait_until(waitpid(pid, &status, WNOHANG) == pid));
    ck_assert_int_eq(status, 0);
}
END_TEST

static int run_tests(void)
{
    Suite *suite = suite_create("terminal");
    TCase *cases = tcase_create("on a terminal"), *bare = tcase_create("without one");
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, NULL, hang_up);
    tcase_add_test(cases, foreground_app_reads_and_its_exit_code_comes_back);
    tcase_add_test(cases, ctrl_c_reaches_the_app_once);
    tcase_add_test(cases, ctrl_z_and_fg);
    tcase_add_test(cases, ctrl_z_bg_and_fg);
    tcase_add_test(cases, ctrl_z_bg_fg_and_a_read);
    tcase_add_test(cases, ctrl_z_bg_fg_and_ctrl_c);
    tcase_add_test(cases, ctrl_z_bg_fg_and_ctrl_z);
    tcase_add_test(cases, started_in_the_background);
    tcase_add_test(cases, a_pipeline_stops_whole);
    tcase_add_test(cases, in_a_script);
    tcase_add_test(cases, with_standard_input_from_elsewhere);
    tcase_add_test(cases, stopped_by_another);
    tcase_add_test(cases, session_leader_is_never_stopped);
    tcase_add_test(bare, without_a_terminal_nothing_happens);
    suite_add_tcase(suite, cases);
    suite_add_tcase(suite, bare);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "supervise") == 0)
        return run_supervisor(argv[2]);
    if (argc > 1)
        return run_app(strcmp(argv[1], "eager") == 0);
    return run_tests();
}
