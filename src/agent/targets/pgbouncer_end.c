/* Ending PgBouncer's clients by its console: SHOW CLIENTS tells who is still there, then a KILL_CLIENT each, one after
 * the other. KILL_CLIENT takes the number in SHOW CLIENTS' column id, which came with it (PgBouncer 1.24).
 *
 * Never ends a client that was not named, and never takes a refused command for an end. */
#include <stdlib.h>
#include <string.h>

#include "agent/targets/pgbouncer_state.h"

static void pgbouncer_refuse_rest(struct pgbouncer *p, const char *why)
{
    p->step = STEP_READY;
    while (p->ends.count < p->end_count)
        probe_ends_add(&p->ends, ENDED_REFUSED, why);
    target_probe_ended(p->target, &p->ends);
}

static void pgbouncer_refuse_old(struct pgbouncer *p)
{
    char why[PGBOUNCER_TEXT];
    struct text text = text_in(why, sizeof why);
    const char *version = PQparameterStatus(pq_connection_handle(p->connection), "server_version");
    text_add(&text, "PgBouncer ");
    text_add_escaped(&text, version ? version : "(version unknown)", version ? strcspn(version, "/") : 17);
    text_add(&text, " cannot end one client (KILL_CLIENT: 1.24 and later)");
    pgbouncer_refuse_rest(p, why);
}

/* Commands the next one that is there; when there is none: all are answered. */
static void pgbouncer_kill_next(struct pgbouncer *p)
{
    char sql[64];
    while (p->ends.count < p->end_count && !*p->end_ids[p->ends.count])
        probe_ends_add(&p->ends, ENDED_BY_ITSELF, "");
    if (p->ends.count == p->end_count) {
        p->step = STEP_READY;
        target_probe_ended(p->target, &p->ends);
        return;
    }
    struct text text = text_in(sql, sizeof sql);
    text_add(&text, "KILL_CLIENT %s", p->end_ids[p->ends.count]);
    pgbouncer_show(p, STEP_END_KILL, sql);
}

/* Notes the ids of those that are there. False: this version has none to give. */
static bool pgbouncer_note_ids(struct pgbouncer *p, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t client = pgbouncer_pointer(pgbouncer_field(result, row, "ptr"));
        const char *id = pgbouncer_field(result, row, "id");
        for (size_t i = 0; i < p->end_count; i++) {
            if (p->ending[i].session != client)
                continue;
            if (!id)
                return false;
            struct text text = text_in(p->end_ids[i], sizeof p->end_ids[i]);
            text_add(&text, "%llu", strtoull(id, NULL, 10));
        }
    }
    return true;
}

void pgbouncer_end_found(struct pgbouncer *p, const PGresult *result)
{
    char why[PGBOUNCER_TEXT];
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        pgbouncer_why(result, why);
        pgbouncer_refuse_rest(p, why);
        return;
    }
    if (pgbouncer_note_ids(p, result))
        pgbouncer_kill_next(p);
    else
        pgbouncer_refuse_old(p);
}

void pgbouncer_end_killed(struct pgbouncer *p, const PGresult *result)
{
    char why[PGBOUNCER_TEXT];
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok) {
        pgbouncer_why(result, why);
        struct text text = {.at = why, .size = sizeof why, .length = strlen(why)};
        if (strstr(why, "admin access"))
            text_add(&text, " (name the agent's user in admin_users)");
    }
    probe_ends_add(&p->ends, ok ? ENDED_BY_COMMAND : ENDED_REFUSED, ok ? "" : why);
    pgbouncer_kill_next(p);
}

void pgbouncer_end(void *probe, const struct end_session *sessions, size_t count)
{
    struct pgbouncer *p = probe;
    memcpy(p->ending, sessions, count * sizeof *sessions);
    memset(p->end_ids, 0, sizeof p->end_ids);
    p->end_count = count;
    p->ends = (struct probe_ends){0};
    pgbouncer_show(p, STEP_END_FIND, "SHOW CLIENTS");
}
