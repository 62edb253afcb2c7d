/* The supervisor's own signals, and the raw calls behind them.
 *
 * Everything here speaks to the kernel directly, with all 64 bits: the C library refuses signals 32 and 33 and would
 * quietly leave them out of the mask, the signalfd and the child's dispositions. This file never installs a handler. */
#include "supervisor/app/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/signals.h"

/* The kernel's own struct sigaction (x86-64 and aarch64 have the restorer, asm/signal.h). */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static int set_disposition(int signo, void (*handler)(int))
{
    const struct kernel_sigaction action = { .handler = handler };
    return (int)syscall(SYS_rt_sigaction, signo, &action, NULL, sizeof action.mask);
}

static bool is_ignored(int signo)
{
    struct kernel_sigaction action = { 0 };
    return syscall(SYS_rt_sigaction, signo, NULL, &action, sizeof action.mask) == 0 && action.handler == SIG_IGN;
}

int signals_reset(uint64_t still_ignored)
{
    for (int signo = 1; signo <= SIGNAL_LAST; signo++) {
        if (signo == SIGKILL || signo == SIGSTOP)
            continue;
        if (set_disposition(signo, still_ignored & SIGNAL_BIT(signo) ? SIG_IGN : SIG_DFL) == -1)
            return -1;
    }
    return 0;
}

int signals_set_mask(uint64_t mask, uint64_t *before)
{
    return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, before, sizeof mask);
}

int signals_open(uint64_t *ignored)
{
    const uint64_t all = ~UINT64_C(0);

    *ignored = 0;
    for (int signo = 1; signo <= SIGNAL_LAST; signo++)
        if (is_ignored(signo))
            *ignored |= SIGNAL_BIT(signo);
    if (signals_set_mask(all, NULL) == -1)
        return -1;
    /* With SIGCHLD ignored the kernel would reap our children itself, and the app's exit code were lost. The others
     * stay as they are: a blocked signal is never thrown away, also when it is ignored (signal.c, sig_ignored). */
    if (set_disposition(SIGCHLD, SIG_DFL) == -1)
        return -1;
    return (int)syscall(SYS_signalfd4, -1, &all, sizeof all, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* A write of ours to a closed pipe, or beyond RLIMIT_FSIZE, was refused: the errno said so already, and the signal that
 * the kernel sent us with it is not one that anybody wants forwarded. */
static bool is_of_our_own_making(const struct signalfd_siginfo *info)
{
    return (info->ssi_signo == SIGPIPE || info->ssi_signo == SIGXFSZ) && info->ssi_pid == (uint32_t)getpid();
}

int signals_take(int fd, struct taken_signal *signal)
{
    struct signalfd_siginfo info;
    ssize_t size;

    do
        size = read(fd, &info, sizeof info);
    while ((size == -1 && errno == EINTR) || (size == sizeof info && is_of_our_own_making(&info)));
    if (size == -1)
        return errno == EAGAIN ? 0 : -1;
    if (size != sizeof info) {
        errno = EIO;
        return -1;
    }
    *signal = (struct taken_signal){
        .signo = (int)info.ssi_signo,
        .from = (pid_t)info.ssi_pid,
        .by_kernel = info.ssi_code == SI_KERNEL,
    };
    return 1;
}
