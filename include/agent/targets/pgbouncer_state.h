/* What pgbouncer.c (the connection, the questions) and pgbouncer_end.c (ending clients) share of one console. Nobody
 * else includes this.
 *
 * One command is under way at a time: `step` says which, and so who takes its answer. In READY there is none. */
#ifndef AGENT_TARGETS_PGBOUNCER_STATE_H
#define AGENT_TARGETS_PGBOUNCER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/targets/pgbouncer_rows.h"
#include "agent/targets/pq_connection.h"
#include "agent/targets/probe.h"

enum pgbouncer_step {
    STEP_CONFIG,
    STEP_READY,
    STEP_POOLS,
    STEP_CLIENTS,
    STEP_SERVERS,
    STEP_SAY,
    STEP_END_FIND,
    STEP_END_KILL
};

struct pgbouncer {
    struct target *target;
    struct pq_connection *connection;
    enum pgbouncer_step step;
    int32_t clients, client_max;
    struct pool_list pools;
    struct session_table *into;
    uint64_t *links; /* heap: of each session in `into`, the server connection it is linked to, 0 for none */
    size_t links_room;
    bool want_servers;
    struct end_session ending[WIRE_SESSIONS]; /* the clients that are to be ended */
    char end_ids[WIRE_SESSIONS][24];          /* of these, as KILL_CLIENT wants them; empty: there is none */
    size_t end_count;
    struct probe_ends ends;
};

enum { PGBOUNCER_TEXT = 240 }; /* a reason for people, or what a command said */

/* -- pgbouncer.c -------------------------------------------------------------------------------------------------- */

/* Sends the command; its answer goes to the step's handler. */
void pgbouncer_show(struct pgbouncer *p, enum pgbouncer_step step, const char *sql);
/* The value in the column of that name. NULL: it is NULL, or this version has no such column. Lives as the result. */
const char *pgbouncer_field(const PGresult *result, int row, const char *name);
/* Why the command was refused, one line; `result` NULL: there was no answer. */
void pgbouncer_why(const PGresult *result, char why[PGBOUNCER_TEXT]);

/* -- pgbouncer_end.c ---------------------------------------------------------------------------------------------- */

/* struct probe_ops' `end`; the answers to its two steps. */
void pgbouncer_end(void *probe, const struct end_session *sessions, size_t count);
void pgbouncer_end_found(struct pgbouncer *p, const PGresult *result);
void pgbouncer_end_killed(struct pgbouncer *p, const PGresult *result);

#endif
