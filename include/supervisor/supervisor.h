/* The supervisor: launches the app, follows it through a stop, and returns what lastcall exits with. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include <stdint.h>

#include "config/config.h"

struct supervisor_start {
    const struct config *config;
    const char *agent_path;   /* of agent_keeper_find(); empty: none could be found */
    int signal_fd;            /* of signals_open() */
    uint64_t ignored;         /* signals that were ignored when lastcall was started */
};

/* Runs the app until it has ended and its handles are answered for. Returns the exit code: the app's, 128 + n, or
 * spawn_exit_code() when it could not be started. Every signal must be blocked. Never waits but in its event loop. */
int supervisor_run(const struct supervisor_start *start);

#endif
