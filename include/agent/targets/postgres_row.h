/* PostgreSQL: what is asked, and a row of the answer made into a session. Pure: no connection, no I/O. */
#ifndef AGENT_TARGETS_POSTGRES_ROW_H
#define AGENT_TARGETS_POSTGRES_ROW_H

#include <stdbool.h>

#include "agent/targets/target.h"

/* The columns of the question, in their order. Text as the server writes it; NULL is SQL's NULL. */
enum postgres_column {
    POSTGRES_PID,
    POSTGRES_BACKEND_TYPE,     /* NULL: no right to see */
    POSTGRES_CLIENT_ADDR,      /* NULL: a unix socket, or no right to see */
    POSTGRES_CLIENT_PORT,      /* -1: a unix socket */
    POSTGRES_STATE,
    POSTGRES_SSL,              /* t, f */
    POSTGRES_BACKEND_START,    /* microseconds of the server's clock */
    POSTGRES_STATE_CHANGE,
    POSTGRES_STATE_AGE,        /* microseconds */
    POSTGRES_TRANSACTION_AGE,  /* NULL: no transaction */
    POSTGRES_WAITS_FOR_CLIENT, /* t, f; NULL: it waits for nothing, or no right to see */
    POSTGRES_APPLICATION_NAME,
    POSTGRES_QUERY,            /* NULL: not asked for */
    POSTGRES_HAS_TRANSACTION,  /* t, f: it holds its own virtual transaction's lock; NULL: the state is told, or not
                                * known */
    POSTGRES_TRANSACTION_START, /* microseconds of the server's clock; NULL: no transaction, or no right to see */
    POSTGRES_COLUMNS
};

/* The question, as a statement with one boolean parameter: with the queries' text? */
extern const char postgres_question[];

/* Fills `session`, a fresh row of a table. Returns true when the row is one of the sessions that count against
 * max_connections (walsenders do not). */
bool postgres_read_row(struct session *session, const char *const values[POSTGRES_COLUMNS]);

#endif
