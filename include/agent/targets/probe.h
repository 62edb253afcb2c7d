/* What a kind of target must be able to do (struct probe_ops), and what it reports to target.c while it does it.
 *
 * A probe is one asynchronous connection to one server. It never waits, has no time limits of its own (target.c closes
 * it) and is asked one thing at a time. Reports come from the loop or from within ask() and end(); a report may close
 * the probe, so it is the last thing a probe's function does. */
#ifndef AGENT_TARGETS_PROBE_H
#define AGENT_TARGETS_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/targets/session_table.h"
#include "agent/targets/target.h"

/* What became of the sessions that end() was given, in their order: ENDED_BY_COMMAND the server took the command,
 * ENDED_BY_ITSELF there is no such session any more, ENDED_REFUSED. */
struct probe_ends {
    size_t count;
    uint8_t how[WIRE_SESSIONS];
    char why[240];             /* of the first one that was refused; else empty */
};

struct probe_ops {
    const char *default_port;

    /* The socket directory or path when the target is a unix socket, else NULL. */
    const char *(*unix_path)(const char *params);

    /* Begins to connect to `address` (numeric; NULL: a unix socket, or the library's default). NULL and `why` when that
     * fails at once; nothing is reported from within this call. */
    void *(*open)(struct target *target, const char *address, char *why, size_t why_size);
    void (*close)(void *probe); /* politely, at once; reports nothing */

    /* Fills `into`, then reports target_probe_answered() or target_probe_failed(). */
    void (*ask)(void *probe, bool want_text, struct session_table *into);

    /* Sends one command, then reports target_probe_said(). */
    void (*say)(void *probe, const char *command);

    /* Sends the commands that end these sessions, WIRE_SESSIONS at most and at least one, in as few round trips as the
     * server allows, then reports target_probe_ended() once. `sessions` are the caller's, for this call only. */
    void (*end)(void *probe, const struct end_session *sessions, size_t count);
};

extern const struct probe_ops postgres_ops, pgbouncer_ops, redis_ops;

/* Reports. Connected: ready to be asked. `why` is one line without the place and without a password. */
void target_probe_connected(struct target *target);
/* Not connected, or not any more. `reached`: the server has spoken, another address of it would say the same. */
void target_probe_lost(struct target *target, bool reached, const char *why);
void target_probe_answered(struct target *target, int32_t server_sessions, int32_t server_max);
/* The question was answered by an error; the connection is good. */
void target_probe_failed(struct target *target, const char *why);
/* What say() was answered: the first value, or the server's error. */
void target_probe_said(struct target *target, bool ok, const char *text);
/* All that end() was given is answered. */
void target_probe_ended(struct target *target, const struct probe_ends *ends);
/* The next session's; `why` counts when it was refused. */
void probe_ends_add(struct probe_ends *ends, enum ended_how how, const char *why);
/* The server speaks PostgreSQL's protocol but stands before one: target.c tries the console of a PgBouncer instead. */
void target_probe_is_pooler(struct target *target);

/* Facts on the way. The server has let us in: who is the peer. */
void target_probe_peer(struct target *target, int fd);
/* The server sees another client address than our socket has. */
void target_probe_translated(struct target *target, bool translated);
/* The unix socket's directory, when only the connection knows it (no host was given). */
void target_probe_unix_path(struct target *target, const char *path);

/* What a probe needs of its target. */
struct ev_loop *target_loop(const struct target *target);
const char *target_params(const struct target *target);
const char *target_application_name(const struct target *target);

/* Our end of a connected socket: false when it is none of the internet. */
bool probe_local_endpoint(int fd, struct endpoint *local);

#endif
