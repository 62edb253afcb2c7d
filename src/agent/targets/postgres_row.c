/* PostgreSQL's rows: see agent/targets/postgres_row.h. What the server does not show is unknown here, never idle. */
#include "agent/targets/postgres_row.h"

#include <stdlib.h>
#include <string.h>

#include "agent/targets/session_table.h"

#define MICROSECONDS(of) "(extract(epoch from " of ")*1000000)::bigint"

/* Rows of other roles, without pg_read_all_stats, have neither type nor state (monitoring-stats, "pg_stat_activity");
 * usesysid and datid tell sessions from the server's own workers there. With track_activities off the state is
 * "disabled"; but each transaction holds a lock on its own virtual id from its beginning to its end
 * ("pg_locks", virtualxid). */
const char postgres_question[] =
    "SELECT a.pid, a.backend_type, host(a.client_addr), a.client_port, a.state, s.ssl"
    ", " MICROSECONDS("a.backend_start") ", " MICROSECONDS("a.state_change")
    ", " MICROSECONDS("clock_timestamp() - a.state_change")
    ", " MICROSECONDS("clock_timestamp() - a.xact_start")
    ", a.wait_event_type = 'Client' AND a.wait_event = 'ClientRead', a.application_name"
    ", CASE WHEN $1 THEN left(a.query, 127) END"
    ", CASE WHEN a.state = 'disabled' THEN a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks l"
    " WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL) END"
    ", " MICROSECONDS("a.xact_start")
    " FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = a.pid"
    " WHERE a.backend_type IN ('client backend', 'walsender')"
    " OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL";

static int64_t number_or(const char *text, int64_t otherwise)
{
    return text ? strtoll(text, NULL, 10) : otherwise;
}

/* Two readings of a clock that may have been set back between them. */
static int64_t age_or_unknown(const char *text)
{
    int64_t age = number_or(text, -1);
    return text && age < 0 ? 0 : age;
}

static uint8_t postgres_state(const char *backend_type, const char *state)
{
    static const struct { const char *name; uint8_t state; } states[] = {
        {"idle", SESSION_IDLE},
        {"active", SESSION_ACTIVE},
        {"fastpath function call", SESSION_ACTIVE},
        {"idle in transaction", SESSION_IN_TRANSACTION},
        {"idle in transaction (aborted)", SESSION_IN_FAILED_TRANSACTION},
        {"starting", SESSION_STARTING}, /* PostgreSQL 18: authenticating */
        {"disabled", SESSION_UNKNOWN},  /* track_activities is off: postgres_read_untold() */
    };
    if (!backend_type)
        return SESSION_UNKNOWN;
    if (strcmp(backend_type, "walsender") == 0)
        return SESSION_REPLICATION;
    if (!state)
        return SESSION_STARTING;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(state, states[i].name) == 0)
            return states[i].state;
    return SESSION_UNKNOWN;
}

static struct endpoint postgres_client(const char *address, const char *port)
{
    struct endpoint client = {0};
    int64_t number = number_or(port, 0);
    if (address && number >= 0 && number <= 65535)
        (void)endpoint_parse(&client, address, (uint16_t)number);
    else if (!address && number == -1)
        client.family = ENDPOINT_UNIX;
    return client;
}

/* No wait event at all is an answer, too: it works. */
static uint8_t postgres_waits_for_client(const char *const values[POSTGRES_COLUMNS])
{
    const char *waits = values[POSTGRES_WAITS_FOR_CLIENT];
    return !values[POSTGRES_BACKEND_TYPE] ? 255 : waits && *waits == 't';
}

/* track_activities is off. What waits for the client is idle, or idle in a transaction; whatever
 * else it is at, it works. */
static void postgres_read_untold(struct session *session, const char *has_transaction)
{
    bool waits = session->waits_for_client == 1;
    if (has_transaction)
        session->state = !waits ? SESSION_ACTIVE : *has_transaction == 't' ? SESSION_IN_TRANSACTION : SESSION_IDLE;
    session->state_change = 0; /* these two are not kept any more */
    session->state_age_us = -1;
}

bool postgres_read_row(struct session *session, const char *const values[POSTGRES_COLUMNS])
{
    const char *type = values[POSTGRES_BACKEND_TYPE], *ssl = values[POSTGRES_SSL];
    const char *name = values[POSTGRES_APPLICATION_NAME], *query = values[POSTGRES_QUERY];
    session->id = (uint64_t)number_or(values[POSTGRES_PID], 0);
    session->state = postgres_state(type, values[POSTGRES_STATE]);
    session->client = postgres_client(values[POSTGRES_CLIENT_ADDR], values[POSTGRES_CLIENT_PORT]);
    session->waits_for_client = postgres_waits_for_client(values);
    session->tls = !ssl ? 255 : *ssl == 't';
    session->start = number_or(values[POSTGRES_BACKEND_START], 0);
    session->state_change = number_or(values[POSTGRES_STATE_CHANGE], 0);
    session->state_age_us = age_or_unknown(values[POSTGRES_STATE_AGE]);
    session->transaction_age_us = age_or_unknown(values[POSTGRES_TRANSACTION_AGE]);
    session->transaction_start = number_or(values[POSTGRES_TRANSACTION_START], 0);
    if (values[POSTGRES_STATE] && strcmp(values[POSTGRES_STATE], "disabled") == 0)
        postgres_read_untold(session, values[POSTGRES_HAS_TRANSACTION]);
    if (name)
        session_copy_text(session->application_name, sizeof session->application_name, name, strlen(name));
    if (query && type)
        session_copy_text(session->query, sizeof session->query, query, strlen(query));
    return session->state != SESSION_REPLICATION;
}
