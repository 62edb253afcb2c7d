/* The supervisor: launches the app, follows it through a stop, and returns what lastcall exits with. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "config/config.h"

/* Becomes the user, takes all signals, runs the app until it has ended and its handles are answered for. Never waits
 * but in its event loop. Returns the exit code: the app's, 128 + n, spawn_exit_code() when the app could not be
 * started, 125 when lastcall itself could not. */
int supervisor_start(const struct config *config);

/* Has this machine what the configuration asks for: the user, a place for the report, the agent? Starts nothing and
 * writes nothing, but becomes config->user for good where it can: the last thing to do. Calls `say` with one line for
 * each that is missing; `key` is the configuration key that it is about, or NULL. Returns how many. */
unsigned supervisor_check(const struct config *config,
                          void (*say)(void *context, const char *key, const char *text), void *context);

#endif
