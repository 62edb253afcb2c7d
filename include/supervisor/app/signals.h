/* The supervisor's own signals: all of them blocked, and read from a signalfd(2). No handler ever runs.
 *
 * Every signal is taken, also 32 and 33, which the C library keeps for itself, and those that a fault would raise
 * (the kernel ends a process that faults with the signal blocked, so nothing is hidden). SIGPIPE and SIGXFSZ that a
 * write of our own caused are dropped: nobody sent them. */
#ifndef SUPERVISOR_APP_SIGNALS_H
#define SUPERVISOR_APP_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct taken_signal {
    int signo;
    pid_t from;      /* 0: from the kernel, or from outside this pid namespace */
    bool by_kernel;  /* si_code SI_KERNEL: the terminal's ^C, ^Z, ^\ */
};

/* Blocks every signal and returns the signalfd (non-blocking, close-on-exec), or -1 and errno. `ignored` gets the bits
 * of the signals that were SIG_IGN when lastcall was started. */
int signals_open(uint64_t *ignored);

/* The next signal. 1: one was taken; 0: none is there; -1 and errno. */
int signals_take(int fd, struct taken_signal *signal);

/* Every signal's disposition becomes the default, and "ignore" for the bits in `still_ignored`. Replaces the signal
 * mask (`before`: the former one; NULL is fine). Both raw, all 64 bits, async-signal-safe.
 * Return 0, or -1 and errno. */
int signals_reset(uint64_t still_ignored);
int signals_set_mask(uint64_t mask, uint64_t *before);

#endif
