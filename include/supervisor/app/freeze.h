/* Freezing the app tree for a last look: SIGSTOP to all, verified by state, bounded, and undone in the right order.
 *
 * SIGSTOP is asynchronous: all processes are seen stopped after 2–4 ms, up to 78 ms under a CPU quota. So a freeze is
 * begun, then asked again until it is complete or given up. Processes that were stopped before stay stopped after. */
#ifndef SUPERVISOR_APP_FREEZE_H
#define SUPERVISOR_APP_FREEZE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/process.h"

struct freeze {
    struct process_tree tree;   /* whom we stopped */
    pid_t *stopped_before;      /* heap: those left alone */
    unsigned stopped_before_count;
    bool on;
    int64_t began_us, complete_us; /* complete_us: when all were first seen stopped; 0: not yet */
    int64_t pass_us, pass_cpu_us;  /* of the last pass over procfs: by the clock, and of the processor */
};

/* Sends SIGSTOP to every descendant of `root` except `except`'s. Returns 0, or -1 and errno. */
int freeze_begin(struct freeze *freeze, pid_t root, pid_t except, int64_t now_us);

/* Are all stopped (T, t, or gone; every thread of them)? Also stops processes that were forked meanwhile. A process in
 * D is not stopped. 1: yes; 0: not yet; -1 and errno. One pass over procfs, no waiting. */
int freeze_is_complete(struct freeze *freeze, pid_t root, pid_t except, int64_t now_us);

/* The last pass took over 20 ms, and over 5 ms of the processor (so it is not we who had to wait for one): with so many
 * processes a freeze would not complete in time, and keep them stopped meanwhile. */
bool freeze_is_too_slow(const struct freeze *freeze);

/* SIGCONT, leaves first. Safe to call when nothing is frozen. */
void freeze_end(struct freeze *freeze);

/* SIGCONT to one of them only: the rest stays frozen. */
void freeze_release(struct freeze *freeze, pid_t pid);
void freeze_finish(struct freeze *freeze); /* frees; thaws first */

#endif
