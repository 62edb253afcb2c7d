/* One asynchronous libpq connection on the agent's loop, shared by postgres.c and pgbouncer.c.
 *
 * Never calls a function of libpq that may wait (PQexec, PQconnectdb, PQgetResult while busy) or that looks a name up
 * (hostaddr is always given). No time limits: the caller closes. Handlers come from the loop, as the last thing. */
#ifndef AGENT_TARGETS_PQ_CONNECTION_H
#define AGENT_TARGETS_PQ_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

struct ev_loop;
struct pq_connection;

struct pq_handlers {
    void (*ready)(void *context);
    /* The connection is gone (not closed yet). `reached`: the server has accepted the connection before. */
    void (*lost)(void *context, bool reached, const char *why);
    /* The last result of what was sent, or the first error; valid during the call. */
    void (*answered)(void *context, const PGresult *result);
};

struct pq_start {
    const char *params;           /* as in struct message_target; libpq's keywords go through, but for those of ours */
    const char *address;          /* numeric; NULL: a unix socket or libpq's default */
    const char *port;             /* when the params have none */
    const char *dbname;           /* instead of the params' one; NULL: theirs */
    bool console;                 /* PgBouncer's console: no startup option that it would refuse */
    const char *application_name;
};

/* Begins to connect. NULL and `why` when that fails at once. */
struct pq_connection *pq_connection_open(struct ev_loop *loop, const struct pq_start *start,
                                         const struct pq_handlers *handlers, void *context, char *why, size_t why_size);
void pq_connection_close(struct pq_connection *connection); /* sends Terminate; NULL is fine */

/* Sends one simple query, or executes a prepared statement with text parameters. What fails is told by lost(), from
 * within this call. One at a time: answered() comes first. */
void pq_connection_query(struct pq_connection *connection, const char *sql);
void pq_connection_execute(struct pq_connection *connection, const char *statement, int count,
                           const char *const *values);

PGconn *pq_connection_handle(const struct pq_connection *connection);

/* libpq's message as one line: its own prefix ("connection to server … failed:"), its advice and its line ends go. */
void pq_format_why(const char *message, struct text *text);

/* NULL for SQL's NULL or a column that is not there (-1). */
const char *pq_value(const PGresult *result, int row, int column);

/* Writes the first value of an answer that went well ("" for none) and returns true; else the error, and false. */
bool pq_first_value(const PGresult *result, char *at, size_t size);

#endif
