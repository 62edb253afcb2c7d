/* The supervisor: launches the app, follows it through a stop, and returns what lastcall exits with. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "config/config.h"

/* Becomes the user, takes all signals, runs the app until it has ended and its handles are answered for. Never waits but
 * in its event loop. Returns the exit code: the app's, 128 + n, spawn_exit_code() when the app could not be started, 125
 * when lastcall itself could not. */
int supervisor_start(const struct config *config);

#endif
