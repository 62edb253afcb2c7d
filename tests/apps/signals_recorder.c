/* Records every signal it gets, one byte-sized line each, and how it was started: its signal mask and which signals it
 * found ignored, and its open descriptors. SIGUSR2 ends nothing. A line "stop" on SIGTERM, then exit 7.
 *
 * Handlers only write(2) to a pipe to itself: no signal may get lost by a slow handler. Standard signals that come
 * twice while one is pending are one signal to the kernel: the test sends them one by one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int self_pipe[2];
static FILE *out;

/* The kernel's struct: the C library's sigaction() refuses 32 and 33, which it keeps for itself. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static void on_signal(int signo)
{
    int error = errno;
    unsigned char byte = (unsigned char)signo;
    if (write(self_pipe[1], &byte, 1) != 1)
        abort();
    errno = error;
}

static void take_all(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigfillset(&action.sa_mask);
    for (int signo = 1; signo <= 64; signo++)
        if (signo != SIGKILL && signo != SIGSTOP && sigaction(signo, &action, NULL) != 0 && signo != 32 && signo != 33)
            abort();
    /* 32 and 33: the handler of another signal, as the kernel keeps it, with the C library's restorer. */
    struct kernel_sigaction raw;
    if (syscall(SYS_rt_sigaction, SIGUSR1, NULL, &raw, 8) != 0)
        abort();
    for (int signo = 32; signo <= 33; signo++)
        if (syscall(SYS_rt_sigaction, signo, &raw, NULL, 8) != 0)
            abort();
}

static void print_status(const char *key)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[512];
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, key, strlen(key)) == 0)
            fputs(line, out);
    if (status)
        fclose(status);
}

static void print_descriptors(int own)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    fputs("fds", out);
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir) && atoi(entry->d_name) != own)
            fprintf(out, " %s", entry->d_name);
    fputc('\n', out);
    if (dir)
        closedir(dir);
}

int main(int argc, char **argv)
{
    out = fopen(argc > 1 ? argv[1] : "/dev/stdout", "we");
    if (!out)
        return 2;
    setvbuf(out, NULL, _IOLBF, 0);
    print_status("SigBlk");
    print_status("SigIgn");
    print_status("SigCgt");
    print_descriptors(fileno(out));
    fprintf(out, "ids pid %d pgid %d sid %d uid %d\n", getpid(), getpgrp(), getsid(0), getuid());
    if (pipe2(self_pipe, O_CLOEXEC) != 0)
        return 2;
    take_all();
    fprintf(out, "ready %d\n", getpid());
    for (;;) {
        unsigned char signo;
        ssize_t got = read(self_pipe[0], &signo, 1);
        if (got == 1)
            fprintf(out, "signal %d\n", signo);
        if (got == 1 && signo == SIGTERM)
            return 7;
        if (got < 0 && errno != EINTR)
            return 2;
    }
}
