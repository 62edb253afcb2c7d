/* PostgreSQL: one connection, one prepared question over pg_stat_activity, and the command that ends a backend.
 *
 * On connecting: who are we, is this the server itself (a pooler gives out backend numbers of its own), do addresses
 * stay the same on the way; then settings, so that no look can hang on a lock or in a foreign search_path. */
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"
#include "agent/targets/postgres_row.h"
#include "agent/targets/pq_connection.h"
#include "agent/targets/probe.h"

enum step { STEP_IDENTIFY, STEP_PREPARE, STEP_READY, STEP_ASK, STEP_SAY, STEP_END };

struct postgres {
    struct target *target;
    struct pq_connection *connection;
    enum step step;
    int32_t server_max;
    bool want_text;
    struct session_table *into;
    struct end_session ending[WIRE_SESSIONS]; /* the backends that are to be ended */
    size_t end_count;
    bool one_by_one;                          /* the statement for all of them had failed at one of them */
    struct probe_ends ends;
};

enum { SAY = 240, FIRST_VERSION = 100000 };

/* Qualified names: the search_path is the app's still. */
static const char identify[] =
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.host(pg_catalog.inet_client_addr()), pg_catalog.inet_client_port(),"
    " pg_catalog.current_setting('max_connections')::int"
    " - pg_catalog.current_setting('superuser_reserved_connections')::int"
    " - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0)";

static const char settings[] =
    "SET search_path = pg_catalog; SET statement_timeout = '5s'; SET lock_timeout = '1s';"
    " SET default_transaction_isolation = 'read committed'; PREPARE lastcall_look(boolean) AS ";

/* All of them in one statement, each only while pid and backend_start are the named ones: a row a backend, in their
 * order. hidden: no right to see its row. Without a client the cancelled one is often gone before it is terminated. */
static const char end_commands[] =
    "; PREPARE lastcall_end(int[], bigint[]) AS SELECT CASE WHEN a.pid IS NULL THEN 'gone'"
    " WHEN a.backend_start IS NULL THEN 'hidden'"
    " WHEN (CASE WHEN a.state = 'active' THEN pg_cancel_backend(a.pid) ELSE false END)::int"
    " + pg_terminate_backend(a.pid)::int > 0 THEN 'told' ELSE 'gone' END"
    " FROM unnest($1, $2) WITH ORDINALITY AS wanted(pid, start, place)"
    " LEFT JOIN pg_stat_activity a ON a.pid = wanted.pid AND (wanted.start = 0 OR a.backend_start IS NULL"
    " OR (extract(epoch from a.backend_start)*1000000)::bigint = wanted.start) ORDER BY wanted.place";

static const char *postgres_unix_path(const char *params)
{
    const char *host = params_get(params, "host");
    bool is_path = host && (*host == '/' || *host == '@');
    return is_path && !params_get(params, "hostaddr") ? host : NULL;
}

static void postgres_why(const PGresult *result, char why[SAY])
{
    struct text text = text_in(why, SAY);
    pq_format_why(result ? PQresultErrorMessage(result) : "no answer", &text);
}

static bool postgres_is_denied(const PGresult *result)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return code && strcmp(code, "42501") == 0;
}

static void postgres_note_translation(struct postgres *p, const PGresult *result)
{
    struct endpoint local, seen;
    const char *address = pq_value(result, 0, 1), *port = pq_value(result, 0, 2);
    bool inet = probe_local_endpoint(PQsocket(pq_connection_handle(p->connection)), &local);
    if (!inet && !address)
        target_probe_translated(p->target, false);
    else if (inet && address && port && endpoint_parse(&seen, address, (uint16_t)strtoul(port, NULL, 10)) == 0)
        target_probe_translated(p->target, !endpoint_equal(&local, &seen));
    else
        target_probe_translated(p->target, true);
}

static void postgres_identified(struct postgres *p, const PGresult *result)
{
    PGconn *conn = pq_connection_handle(p->connection);
    char why[SAY], sql[4096];
    struct text text = text_in(sql, sizeof sql);
    const char *pid = pq_value(result, 0, 0), *max = pq_value(result, 0, 3);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 || !pid) {
        postgres_why(result, why);
        target_probe_lost(p->target, true, why);
        return;
    }
    if (strtol(pid, NULL, 10) != PQbackendPID(conn)) {
        target_probe_is_pooler(p->target);
        return;
    }
    if (PQserverVersion(conn) < FIRST_VERSION) {
        target_probe_lost(p->target, true, "older than PostgreSQL 10, which does not tell sessions apart");
        return;
    }
    postgres_note_translation(p, result);
    p->server_max = max ? (int32_t)strtol(max, NULL, 10) : -1;
    p->step = STEP_PREPARE;
    text_add(&text, "%s%s%s", settings, postgres_question, end_commands);
    pq_connection_query(p->connection, sql);
}

static void postgres_prepared(struct postgres *p, const PGresult *result)
{
    char why[SAY];
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        postgres_why(result, why);
        target_probe_lost(p->target, true, why);
        return;
    }
    p->step = STEP_READY;
    target_probe_connected(p->target);
}

/* Our own session counts for the server, and is no session of the app's. -1: no memory. */
static int32_t postgres_read_rows(struct postgres *p, const PGresult *result)
{
    int32_t sessions = 0;
    uint64_t own = (uint64_t)PQbackendPID(pq_connection_handle(p->connection));
    for (int row = 0; row < PQntuples(result); row++) {
        const char *values[POSTGRES_COLUMNS];
        struct session *session = session_table_add(p->into);
        if (!session)
            return -1;
        for (int column = 0; column < POSTGRES_COLUMNS; column++)
            values[column] = pq_value(result, row, column);
        sessions += postgres_read_row(session, values);
        if (session->id == own)
            p->into->count--;
    }
    return sessions;
}

static void postgres_send_question(struct postgres *p)
{
    const char *value = p->want_text ? "t" : "f";
    p->step = STEP_ASK;
    pq_connection_execute(p->connection, "lastcall_look", 1, &value);
}

/* Text in another database's encoding, which the server cannot convert, must not hide the sessions. */
static bool postgres_text_is_at_fault(const struct postgres *p, const PGresult *result)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return p->want_text && code && strncmp(code, "22", 2) == 0;
}

static void postgres_told(struct postgres *p, const PGresult *result)
{
    char why[SAY];
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == POSTGRES_COLUMNS;
    if (!ok && postgres_text_is_at_fault(p, result)) {
        p->want_text = false;
        postgres_send_question(p);
        return;
    }
    p->step = STEP_READY;
    int32_t sessions = ok ? postgres_read_rows(p, result) : 0;
    if (ok && sessions >= 0) {
        target_probe_answered(p->target, sessions, p->server_max);
        return;
    }
    postgres_why(ok ? NULL : result, why);
    target_probe_failed(p->target, ok ? "no memory for the answer" : why);
}

static void postgres_said(struct postgres *p, const PGresult *result)
{
    char said[SAY];
    p->step = STEP_READY;
    target_probe_said(p->target, pq_first_value(result, said, sizeof said), said);
}

static void postgres_send_end(struct postgres *p)
{
    char pids[WIRE_SESSIONS * 24], starts[WIRE_SESSIONS * 24];
    const char *values[] = {pids, starts};
    struct text pid = text_in(pids, sizeof pids), start = text_in(starts, sizeof starts);
    size_t from = p->ends.count, to = p->one_by_one ? from + 1 : p->end_count;
    for (size_t i = from; i < to; i++) {
        text_add(&pid, "%c%d", i == from ? '{' : ',', (int)p->ending[i].session);
        text_add(&start, "%c%lld", i == from ? '{' : ',', (long long)p->ending[i].session_start);
    }
    text_add(&pid, "}");
    text_add(&start, "}");
    p->step = STEP_END;
    pq_connection_execute(p->connection, "lastcall_end", 2, values);
}

static void postgres_end_was_refused(struct postgres *p, const PGresult *result)
{
    char why[SAY];
    postgres_why(result, why);
    struct text text = {.at = why, .size = sizeof why, .length = strlen(why)};
    if (postgres_is_denied(result))
        text_add(&text, " (GRANT pg_signal_backend to the agent's user)");
    probe_ends_add(&p->ends, ENDED_REFUSED, why);
}

static void postgres_take_end(struct postgres *p, const char *said)
{
    static const char hidden[] = "no right to see it (GRANT pg_monitor, pg_signal_backend)";
    bool told = said && strcmp(said, "told") == 0, seen = said && strcmp(said, "hidden") != 0;
    enum ended_how gone = p->one_by_one ? ENDED_BY_COMMAND : ENDED_BY_ITSELF;
    probe_ends_add(&p->ends, told ? ENDED_BY_COMMAND : seen ? gone : ENDED_REFUSED, hidden);
}

/* One that may not be ended (a superuser's) makes an error of the whole statement: then each has its own. Who is gone
 * by then had its turn before the error. */
static void postgres_ended(struct postgres *p, const PGresult *result)
{
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok && !p->one_by_one && p->end_count > 1)
        p->one_by_one = true;
    else if (!ok)
        postgres_end_was_refused(p, result);
    for (int row = 0; ok && row < PQntuples(result) && p->ends.count < p->end_count; row++)
        postgres_take_end(p, pq_value(result, row, 0));
    if (p->one_by_one && p->ends.count < p->end_count) {
        postgres_send_end(p);
        return;
    }
    p->step = STEP_READY;
    target_probe_ended(p->target, &p->ends);
}

static void postgres_ready(void *context)
{
    struct postgres *p = context;
    PGconn *conn = pq_connection_handle(p->connection);
    const char *host = PQhost(conn);
    target_probe_peer(p->target, PQsocket(conn));
    if (!target_unix_path(p->target) && host && *host == '/')
        target_probe_unix_path(p->target, host);
    p->step = STEP_IDENTIFY;
    pq_connection_query(p->connection, identify);
}

static void postgres_lost(void *context, bool reached, const char *why)
{
    struct postgres *p = context;
    target_probe_lost(p->target, reached, why);
}

static void postgres_unexpected(struct postgres *p, const PGresult *result)
{
    (void)result;
    target_probe_lost(p->target, true, "an answer to no question");
}

static void postgres_answered(void *context, const PGresult *result)
{
    static void (*const steps[])(struct postgres *, const PGresult *) = {
        [STEP_IDENTIFY] = postgres_identified, [STEP_PREPARE] = postgres_prepared, [STEP_READY] = postgres_unexpected,
        [STEP_ASK] = postgres_told, [STEP_SAY] = postgres_said, [STEP_END] = postgres_ended};
    struct postgres *p = context;
    steps[p->step](p, result);
}

static void postgres_close(void *probe)
{
    struct postgres *p = probe;
    pq_connection_close(p->connection);
    free(p);
}

static void *postgres_open(struct target *target, const char *address, char *why, size_t why_size)
{
    static const struct pq_handlers handlers = {.ready = postgres_ready, .lost = postgres_lost,
                                                .answered = postgres_answered};
    struct pq_start start = {.params = target_params(target), .address = address, .port = postgres_ops.default_port,
                             .application_name = target_application_name(target)};
    struct postgres *p = calloc(1, sizeof *p);
    if (!p) {
        text_copy(why, why_size, "no memory");
        return NULL;
    }
    p->target = target;
    p->connection = pq_connection_open(target_loop(target), &start, &handlers, p, why, why_size);
    if (!p->connection) {
        free(p);
        return NULL;
    }
    return p;
}

static void postgres_ask(void *probe, bool want_text, struct session_table *into)
{
    struct postgres *p = probe;
    p->want_text = want_text;
    p->into = into;
    postgres_send_question(p);
}

static void postgres_say(void *probe, const char *command)
{
    struct postgres *p = probe;
    p->step = STEP_SAY;
    pq_connection_query(p->connection, command);
}

static void postgres_end(void *probe, const struct end_session *sessions, size_t count)
{
    struct postgres *p = probe;
    memcpy(p->ending, sessions, count * sizeof *sessions);
    p->end_count = count;
    p->one_by_one = false;
    p->ends = (struct probe_ends){0};
    postgres_send_end(p);
}

const struct probe_ops postgres_ops = {.default_port = "5432", .unix_path = postgres_unix_path, .open = postgres_open,
                                       .close = postgres_close, .ask = postgres_ask, .say = postgres_say,
                                       .end = postgres_end};
