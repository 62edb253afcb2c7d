/* PgBouncer, by its console (the database "pgbouncer"): simple queries only, nothing is set there.
 *
 * A look is SHOW POOLS, then SHOW CLIENTS, then, when a client in session mode has a server, SHOW SERVERS. PgBouncer is
 * one thread: when it answers the second question it has read all that had come before the first. Servers come after
 * clients, and a pair counts only when each names the other, so that what is told belongs together.
 *
 * Ending clients is pgbouncer_end.c's. */
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"
#include "agent/targets/pgbouncer_state.h"

static const char *pgbouncer_unix_path(const char *params)
{
    return postgres_ops.unix_path(params);
}

const char *pgbouncer_field(const PGresult *result, int row, const char *name)
{
    return pq_value(result, row, PQfnumber(result, name));
}

void pgbouncer_why(const PGresult *result, char why[PGBOUNCER_TEXT])
{
    struct text text = text_in(why, PGBOUNCER_TEXT);
    pq_format_why(result ? PQresultErrorMessage(result) : "no answer", &text);
}

void pgbouncer_show(struct pgbouncer *p, enum pgbouncer_step step, const char *sql)
{
    p->step = step;
    pq_connection_query(p->connection, sql);
}

static void pgbouncer_fail(struct pgbouncer *p, const char *why)
{
    p->step = STEP_READY;
    target_probe_failed(p->target, why);
}

static bool pgbouncer_is_table(struct pgbouncer *p, const PGresult *result)
{
    char why[PGBOUNCER_TEXT];
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return true;
    pgbouncer_why(result, why);
    pgbouncer_fail(p, why);
    return false;
}

/* A server that is no PgBouncer has no such setting: then it is not known, which is no reason to give up. */
static void pgbouncer_configured(struct pgbouncer *p, const PGresult *result)
{
    char why[PGBOUNCER_TEXT];
    p->client_max = -1;
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        pgbouncer_why(result, why);
        target_probe_lost(p->target, true, why);
        return;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        const char *key = pgbouncer_field(result, row, "key"), *value = pgbouncer_field(result, row, "value");
        if (key && value && strcmp(key, "max_client_conn") == 0)
            p->client_max = (int32_t)strtol(value, NULL, 10);
    }
    p->step = STEP_READY;
    target_probe_connected(p->target);
}

static void pgbouncer_pooled(struct pgbouncer *p, const PGresult *result)
{
    if (!pgbouncer_is_table(p, result))
        return;
    p->pools.count = 0;
    for (int row = 0; row < PQntuples(result); row++)
        if (pool_list_add(&p->pools, pgbouncer_field(result, row, "database"), pgbouncer_field(result, row, "user"),
                          pgbouncer_field(result, row, "pool_mode")) < 0) {
            pgbouncer_fail(p, "no memory for the answer");
            return;
        }
    pgbouncer_show(p, STEP_CLIENTS, "SHOW CLIENTS");
}

static struct pgbouncer_client pgbouncer_client_row(const PGresult *result, int row)
{
    return (struct pgbouncer_client){
        .user = pgbouncer_field(result, row, "user"),
        .database = pgbouncer_field(result, row, "database"),
        .state = pgbouncer_field(result, row, "state"),
        .addr = pgbouncer_field(result, row, "addr"),
        .port = pgbouncer_field(result, row, "port"),
        .wait = pgbouncer_field(result, row, "wait"),
        .wait_us = pgbouncer_field(result, row, "wait_us"),
        .ptr = pgbouncer_field(result, row, "ptr"),
        .link = pgbouncer_field(result, row, "link"),
        .tls = pgbouncer_field(result, row, "tls"),
        .application_name = pgbouncer_field(result, row, "application_name"),
        .id = pgbouncer_field(result, row, "id"),
    };
}

/* How the row is known to be our own: not at all, by its name, by its address. */
enum own { OWN_NOT, OWN_BY_NAME, OWN_BY_ADDRESS };

static enum own pgbouncer_is_own(const struct pgbouncer *p, const struct session *session, const char *database,
                                 const struct endpoint *local)
{
    if (!database || strcmp(database, "pgbouncer") != 0)
        return OWN_NOT;
    if (local->family != ENDPOINT_NONE && endpoint_equal(&session->client, local))
        return OWN_BY_ADDRESS;
    const char *name = target_application_name(p->target);
    size_t length = strlen(name);
    bool ours = strncmp(session->application_name, name, length) == 0;
    const char *rest = session->application_name + length; /* with application_name_add_host " - ADDRESS:PORT" */
    return ours && (*rest == 0 || strncmp(rest, " - ", 3) == 0) ? OWN_BY_NAME : OWN_NOT;
}

static int pgbouncer_note_link(struct pgbouncer *p, size_t at, uint64_t link)
{
    if (at >= p->links_room) {
        size_t room = p->links_room ? p->links_room * 2 : 64;
        uint64_t *links = reallocarray(p->links, room, sizeof *links);
        if (!links)
            return -1;
        p->links = links;
        p->links_room = room;
    }
    p->links[at] = link;
    return 0;
}

static bool pgbouncer_needs_server(const struct pgbouncer *p, size_t at)
{
    return p->links[at] && (p->want_servers || p->into->rows[at].state == SESSION_UNKNOWN);
}

/* One row of SHOW CLIENTS. Returns 0, or -1: no memory. */
static int pgbouncer_read_row(struct pgbouncer *p, const PGresult *result, int row, const struct endpoint *local,
                              enum own *known)
{
    struct pgbouncer_client client = pgbouncer_client_row(result, row);
    const char *database = client.database ? client.database : "", *user = client.user ? client.user : "";
    enum pool_mode mode = pool_list_mode(&p->pools, database, user);
    struct session *session = session_table_add(p->into);
    uint64_t link;
    if (!session)
        return -1;
    pgbouncer_read_client(session, &client, mode, &link);
    enum own own = pgbouncer_is_own(p, session, client.database, local);
    if (own > *known)
        *known = own;
    if (own != OWN_NOT)
        p->into->count--;
    return own != OWN_NOT ? 0 : pgbouncer_note_link(p, p->into->count - 1, link);
}

static void pgbouncer_note_translation(struct pgbouncer *p, const struct endpoint *local, enum own known)
{
    if (local->family == ENDPOINT_NONE || known == OWN_BY_ADDRESS)
        target_probe_translated(p->target, false);
    else if (known == OWN_BY_NAME)
        target_probe_translated(p->target, true);
}

static void pgbouncer_finish(struct pgbouncer *p)
{
    p->step = STEP_READY;
    target_probe_answered(p->target, p->clients, p->client_max);
}

static void pgbouncer_told_clients(struct pgbouncer *p, const PGresult *result)
{
    struct endpoint local = {0};
    enum own known = OWN_NOT;
    bool need_servers = false;
    if (!pgbouncer_is_table(p, result))
        return;
    (void)probe_local_endpoint(PQsocket(pq_connection_handle(p->connection)), &local);
    p->clients = PQntuples(result);
    for (int row = 0; row < PQntuples(result); row++)
        if (pgbouncer_read_row(p, result, row, &local, &known) < 0) {
            pgbouncer_fail(p, "no memory for the answer");
            return;
        }
    pgbouncer_note_translation(p, &local, known);
    for (size_t i = 0; i < p->into->count; i++)
        need_servers |= pgbouncer_needs_server(p, i);
    if (need_servers)
        pgbouncer_show(p, STEP_SERVERS, "SHOW SERVERS");
    else
        pgbouncer_finish(p);
}

static void pgbouncer_join_server(struct pgbouncer *p, uint64_t server, uint64_t client, const char *pid)
{
    for (size_t i = 0; i < p->into->count; i++)
        if (p->into->rows[i].id == client && p->links[i] == server && pgbouncer_needs_server(p, i)) {
            p->into->rows[i].linked_pid = pid ? strtoull(pid, NULL, 10) : 0;
            if (p->into->rows[i].state == SESSION_UNKNOWN)
                p->into->rows[i].server_pid = p->into->rows[i].linked_pid;
        }
}

static void pgbouncer_told_servers(struct pgbouncer *p, const PGresult *result)
{
    if (!pgbouncer_is_table(p, result))
        return;
    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t client = pgbouncer_pointer(pgbouncer_field(result, row, "link"));
        if (client)
            pgbouncer_join_server(p, pgbouncer_pointer(pgbouncer_field(result, row, "ptr")), client,
                                  pgbouncer_field(result, row, "remote_pid"));
    }
    pgbouncer_finish(p);
}

static void pgbouncer_said(struct pgbouncer *p, const PGresult *result)
{
    char said[PGBOUNCER_TEXT];
    p->step = STEP_READY;
    target_probe_said(p->target, pq_first_value(result, said, sizeof said), said);
}

static void pgbouncer_unexpected(struct pgbouncer *p, const PGresult *result)
{
    (void)result;
    target_probe_lost(p->target, true, "an answer to no question");
}

static void pgbouncer_answered(void *context, const PGresult *result)
{
    static void (*const steps[])(struct pgbouncer *, const PGresult *) = {
        [STEP_CONFIG] = pgbouncer_configured, [STEP_READY] = pgbouncer_unexpected, [STEP_POOLS] = pgbouncer_pooled,
        [STEP_CLIENTS] = pgbouncer_told_clients, [STEP_SERVERS] = pgbouncer_told_servers,
        [STEP_SAY] = pgbouncer_said, [STEP_END_FIND] = pgbouncer_end_found,
        [STEP_END_KILL] = pgbouncer_end_killed};
    struct pgbouncer *p = context;
    steps[p->step](p, result);
}

static void pgbouncer_ready(void *context)
{
    struct pgbouncer *p = context;
    PGconn *conn = pq_connection_handle(p->connection);
    const char *host = PQhost(conn);
    target_probe_peer(p->target, PQsocket(conn));
    if (!target_unix_path(p->target) && host && *host == '/')
        target_probe_unix_path(p->target, host);
    pgbouncer_show(p, STEP_CONFIG, "SHOW CONFIG");
}

static void pgbouncer_lost(void *context, bool reached, const char *why)
{
    struct pgbouncer *p = context;
    char line[PGBOUNCER_TEXT];
    struct text text = text_in(line, sizeof line);
    text_add(&text, "%s", why);
    if (strstr(why, "not allowed"))
        text_add(&text, " (name the agent's user in PgBouncer's stats_users)");
    target_probe_lost(p->target, reached, line);
}

static void pgbouncer_close(void *probe)
{
    struct pgbouncer *p = probe;
    pq_connection_close(p->connection);
    pool_list_finish(&p->pools);
    free(p->links);
    free(p);
}

static void *pgbouncer_open(struct target *target, const char *address, char *why, size_t why_size)
{
    static const struct pq_handlers handlers = {.ready = pgbouncer_ready, .lost = pgbouncer_lost,
                                                .answered = pgbouncer_answered};
    struct pq_start start = {.params = target_params(target), .address = address, .port = pgbouncer_ops.default_port,
                             .dbname = "pgbouncer", .console = true,
                             .application_name = target_application_name(target)};
    struct pgbouncer *p = calloc(1, sizeof *p);
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

static void pgbouncer_ask(void *probe, bool want_text, struct session_table *into)
{
    struct pgbouncer *p = probe;
    /* It has no texts; but it is asked who is behind a client when that is to be told, or the server can be asked. */
    p->want_servers = want_text || target_message(p->target)->server >= 0;
    p->into = into;
    pgbouncer_show(p, STEP_POOLS, "SHOW POOLS");
}

static void pgbouncer_say(void *probe, const char *command)
{
    pgbouncer_show(probe, STEP_SAY, command);
}

const struct probe_ops pgbouncer_ops = {.default_port = "5432", .unix_path = pgbouncer_unix_path,
                                        .open = pgbouncer_open, .close = pgbouncer_close, .ask = pgbouncer_ask,
                                        .say = pgbouncer_say, .end = pgbouncer_end};
