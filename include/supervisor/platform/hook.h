/* One hook's process: started beside the app, bounded by its timeout, ended with all of its process group.
 *
 * It reads nothing (/dev/null), prints to our standard error, is in a process group of its own, and is left out of the
 * app's tree (process_leave_out()) as long as it is there. Starting it waits for nothing and allocates nothing; whether
 * it could be executed is known when it has ended. One that lastcall-agent is the program of says on a channel what it
 * found. */
#ifndef SUPERVISOR_PLATFORM_HOOK_H
#define SUPERVISOR_PLATFORM_HOOK_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "supervisor/app/reap.h"
#include "wire/message.h"

enum hook_outcome {
    HOOK_NOT_RUN,
    HOOK_RUNNING,
    HOOK_OK,
    HOOK_FAILED,      /* it ended with another code than 0, or by a signal */
    HOOK_NOT_STARTED, /* it is missing, may not be executed, or there was no room for it */
    HOOK_TIMED_OUT,   /* it was killed */
    HOOK_CUT_SHORT,   /* it was killed before its time was over: the stop was */
    HOOK_OUTCOMES
};

struct hook {
    enum hook_outcome outcome;
    int64_t began_us, took_us; /* took_us: -1: not known yet */
    char why[256];             /* one line, for people, unless the outcome is OK; else empty */
    pid_t pid;                 /* until it is reaped: it may outlive its outcome when it cannot be killed; 0: none */

    /* for its starter to set, before hook_start() */
    void *context;
    void (*ended)(void *context, struct hook *hook); /* once, from the loop or from within hook_start() */
    void (*heard)(void *context, const struct message_found *found); /* NULL: the text of the last NO is its why */

    /* its own */
    struct ev_loop *loop;
    ev_timer timer;
    ev_io io;
    int exec_outcome, channel; /* -1: none */
    int64_t timeout_us;
    char told[200];
};

struct hook_order {
    char *const *argv, *const *envp; /* as for spawn_process() */
    char **room;
    const struct rlimit *descriptors;
    uint64_t still_ignored;
    bool with_channel;               /* on its descriptor 3 */
    int64_t timeout_us;              /* more than 0 */
};

/* Once, before the first start. */
void hook_init(struct hook *hook, struct ev_loop *loop);

/* Starts it, again when it has run before; one that runs still is left as it is. `ended` is called in any case. */
void hook_start(struct hook *hook, const struct hook_order *order);

/* It may take so long from now on, if that is sooner than its timeout. */
void hook_hurry(struct hook *hook, int64_t left_us);

/* Signals all of its group. */
void hook_signal(const struct hook *hook, int signo);

/* Ends it now, if it runs: HOOK_CUT_SHORT and this reason. */
void hook_cut(struct hook *hook, const char *why);

/* True when it was this hook's process. */
bool hook_reaped(struct hook *hook, const struct reaped *reaped);

/* "ok", "failed", "not started", "timed out", "cut short", "running", "not run". */
const char *hook_outcome_name(enum hook_outcome outcome);

#endif
