/* A predecessor's sessions: see agent/predecessor_rules.h. Pure. Whom it cannot tell from the living it leaves out. */
#include "agent/predecessor_rules.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger/names.h"
#include "common/text.h"

enum { PORTS_MOST = 4096, COMMAND_BYTES = 1024 + 6 * PORTS_MOST };

static bool is_taken(const struct session *session, const char *name)
{
    bool inet = session->client.family == ENDPOINT_INET || session->client.family == ENDPOINT_INET6;
    return inet && session->id && names_match(session->application_name, name);
}

void former_list_fill(struct former_list *list, const struct session *sessions, size_t count, const char *name)
{
    list->count = 0;
    for (size_t i = 0; i < count && list->count < WIRE_SESSIONS; i++) {
        if (!is_taken(&sessions[i], name))
            continue;
        list->sessions[list->count] = (struct end_session){sessions[i].id, sessions[i].start};
        list->clients[list->count++] = sessions[i].client;
    }
}

static bool is_orphan(const struct endpoint *client, const struct socket_table *sockets)
{
    bool ours = false;
    for (size_t i = 0; i < sockets->count; i++) {
        if (!endpoint_same_address(&sockets->at[i].local, client))
            continue;
        ours = true;
        if (sockets->at[i].local.port == client->port)
            return false;
    }
    return ours;
}

void former_list_choose(struct former_list *list, const struct socket_table *sockets)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (is_orphan(&list->clients[i], sockets)) {
            list->sessions[kept] = list->sessions[i];
            list->clients[kept++] = list->clients[i];
        }
    list->count = kept;
}

/* It stands within quotes in a statement. */
static bool is_plain(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    return *name && name[strspn(name, letters)] == 0;
}

char *former_command(const char *name, int64_t began_before, const struct socket_table *sockets)
{
    char *command = is_plain(name) && sockets->count <= PORTS_MOST ? malloc(COMMAND_BYTES) : NULL;
    if (!command)
        return NULL;
    struct text text = text_in(command, COMMAND_BYTES);
    text_add(&text,
             "SELECT count(pg_catalog.pg_terminate_backend(a.pid)) FROM pg_catalog.pg_stat_activity a,"
             " pg_catalog.pg_stat_activity me WHERE me.pid = pg_catalog.pg_backend_pid() AND a.pid <> me.pid"
             " AND a.backend_type = 'client backend' AND a.usesysid = me.usesysid AND a.client_addr = me.client_addr"
             " AND (a.application_name = '%s' OR left(a.application_name, %zu) = '%s - ')"
             " AND (extract(epoch from a.backend_start)*1000000)::bigint < %" PRId64
             " AND a.client_port <> ALL ('{",
             name, strlen(name) + 3, name, began_before);
    for (size_t i = 0; i < sockets->count; i++)
        text_add(&text, "%s%u", i ? "," : "", sockets->at[i].local.port);
    text_add(&text, "}'::int[])");
    return command;
}
