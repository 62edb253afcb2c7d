/* One small app with many ways to behave: `behave WAY [argument]`. Each prints "ready PID" on stdout when it stands,
 * and those that handle SIGTERM in ordinary code print "stopping" when it came.
 *
 *   sleep               no handler: waits for ever
 *   ignore              SIGTERM is ignored
 *   good                exits with 0 on SIGTERM
 *   exit N              exits with N on SIGTERM, 50 ms later, from ordinary code
 *   slow MS             exits with 0, MS after SIGTERM
 *   dies                its handler of SIGTERM dies of SIGSEGV
 *   fork-twice          a grandchild in a session of its own lives on, the child between is gone; both wait for ever
 *   fork-twice-ignore   the same, and the grandchild ignores SIGTERM
 *   orphans N           N grandchildren that end as orphans, then waits for ever; prints "made N" first
 *   wait-orphan MS      ends at once with 3; an orphan of it lives for MS
 *   crowd N             N children that ignore SIGTERM, and no handler: they are left when it ends
 *   fill                writes to stdout and stderr until both are full, then waits (blocking write in a child)
 *   terminal            prints a line for every line it reads; default job control */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_term(int signo)
{
    stop = signo;
}

static void on_term_die(int signo)
{
    (void)signo;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void ready(void)
{
    printf("ready %d\n", getpid());
    fflush(stdout);
}

static void wait_for_ever(void)
{
    ready();
    for (;;)
        pause();
}

static void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

/* Blocks SIGTERM but while it waits, so that the signal cannot come between the look and the wait. */
static void wait_for_term(void)
{
    sigset_t block, open;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &open);
    signal(SIGTERM, on_term);
    ready();
    while (!stop)
        sigsuspend(&open);
    sigprocmask(SIG_SETMASK, &open, NULL);
    printf("stopping\n");
    fflush(stdout);
}

static int be_sleep(const char *argument)
{
    (void)argument;
    wait_for_ever();
    return 0;
}

static int be_ignore(const char *argument)
{
    (void)argument;
    signal(SIGTERM, SIG_IGN);
    wait_for_ever();
    return 0;
}

static int be_good(const char *argument)
{
    (void)argument;
    wait_for_term();
    return 0;
}

static int be_exit(const char *argument)
{
    wait_for_term();
    sleep_ms(50);
    return atoi(argument);
}

static int be_slow(const char *argument)
{
    wait_for_term();
    sleep_ms(atol(argument));
    return 0;
}

static int be_dies(const char *argument)
{
    (void)argument;
    signal(SIGTERM, on_term_die);
    wait_for_ever();
    return 0;
}

static int fork_twice(int ignoring)
{
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        if (ignoring)
            signal(SIGTERM, SIG_IGN);
        printf("grandchild %d\n", getpid());
        wait_for_ever();
    }
    waitpid(child, NULL, 0);
    wait_for_ever();
    return 0;
}

static int be_fork_twice(const char *argument)
{
    (void)argument;
    return fork_twice(0);
}

static int be_fork_twice_ignore(const char *argument)
{
    (void)argument;
    return fork_twice(1);
}

/* In lots of 100, so that no more than 100 live at the same time. */
static int be_orphans(const char *argument)
{
    int wanted = atoi(argument), made = 0;
    while (made < wanted) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 100; i++)
                if (fork() == 0)
                    _exit(0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        made += 100;
    }
    printf("made %d\n", made);
    wait_for_ever();
    return 0;
}

static int be_wait_orphan(const char *argument)
{
    if (fork() == 0) {
        sleep_ms(atol(argument));
        _exit(0);
    }
    ready();
    return 3;
}

static int be_crowd(const char *argument)
{
    signal(SIGTERM, SIG_IGN);
    for (int left = atoi(argument); left > 0; left--)
        if (fork() == 0)
            for (;;)
                pause();
    signal(SIGTERM, SIG_DFL);
    wait_for_ever();
    return 0;
}

static int be_fill(const char *argument)
{
    char line[4096];
    (void)argument;
    ready();
    memset(line, '.', sizeof line);
    for (int fd = 1; fd <= 2; fd++)
        if (fork() == 0)
            for (;;)
                if (write(fd, line, sizeof line) < 0)
                    _exit(1);
    for (;;)
        pause();
}

static int be_terminal(const char *argument)
{
    char line[256];
    (void)argument;
    ready();
    while (fgets(line, sizeof line, stdin)) {
        printf("read %s", line);
        fflush(stdout);
    }
    return 4;
}

static const struct way {
    const char *name;
    int (*be)(const char *argument);
} ways[] = {
    {"sleep", be_sleep},
    {"ignore", be_ignore},
    {"good", be_good},
    {"exit", be_exit},
    {"slow", be_slow},
    {"dies", be_dies},
    {"fork-twice", be_fork_twice},
    {"fork-twice-ignore", be_fork_twice_ignore},
    {"orphans", be_orphans},
    {"wait-orphan", be_wait_orphan},
    {"crowd", be_crowd},
    {"fill", be_fill},
    {"terminal", be_terminal},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, argv[1]) == 0)
            return ways[i].be(argc > 2 ? argv[2] : "0");
    fprintf(stderr, "behave: no such way; see behave.c\n");
    return 2;
}
