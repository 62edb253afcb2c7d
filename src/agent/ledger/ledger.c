/* The join of sockets and sessions: see agent/ledger/ledger.h. Pure: no I/O, no verdict.
 *
 * Three passes: to which target each socket belongs; which session it is, exactly; which by other ways, where addresses
 * change on the way (by_name.c). What is not found is ABSENT only where the server would have shown it. */
#include "agent/ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "agent/ledger/join.h"
#include "agent/ledger/names.h"

static bool client_as_reported(const void *context, const struct session *session, struct endpoint *client)
{
    (void)context;
    *client = session->client;
    return client->family == ENDPOINT_INET || client->family == ENDPOINT_INET6;
}

static bool client_in_name(const void *prefix, const struct session *session, struct endpoint *client)
{
    return names_read_client(session->application_name, prefix, client);
}

static bool client_in_any_name(const void *context, const struct session *session, struct endpoint *client)
{
    (void)context;
    return names_read_any_client(session->application_name, client);
}

static bool addresses_may_change(const struct ledger_target *target)
{
    return target->translated != 0 || target->path >= 0;
}

static int view_init(struct view *view, const struct ledger_target *target, const char *application_name)
{
    size_t count = target->answered ? target->session_count : 0;
    *view = (struct view){.target = target};
    for (size_t i = 0; i < count; i++)
        view->hides |= target->sessions[i].client.family == ENDPOINT_NONE;
    if (index_build_by_id(&view->by_id, target->sessions, count) < 0)
        return -1;
    if (target->translated != 1 && target->path < 0 &&
        index_build_by_client(&view->by_client, target->sessions, count, client_as_reported, NULL) < 0)
        return -1;
    if (!addresses_may_change(target))
        return 0;
    return index_build_by_client(&view->by_named_client, target->sessions, count, client_in_name, application_name);
}

/* A pooler that is not asked, or lets nobody look, still says by its server connections' names whose they are: those of
 * the client that is linked, or was last. */
static int view_look_through(struct join *join, int target, const char *application_name)
{
    struct view *view = &join->views[target];
    int server = view->target->server;
    if (view->target->answered || server < 0 || (size_t)server >= join->input->target_count ||
        !join->input->targets[server].answered)
        return 0;
    const struct ledger_target *behind = &join->input->targets[server];
    for (size_t i = 0; i < behind->session_count; i++)
        view->some_cut |= names_may_be_cut(behind->sessions[i].application_name);
    if (index_build_by_client(&view->through_any, behind->sessions, behind->session_count, client_in_any_name,
                              NULL) < 0)
        return -1;
    return index_build_by_client(&view->through, behind->sessions, behind->session_count, client_in_name,
                                 application_name);
}

static void view_finish(struct view *view)
{
    index_finish(&view->through);
    index_finish(&view->through_any);
    index_finish(&view->by_client);
    index_finish(&view->by_named_client);
    index_finish(&view->by_id);
}

/* The first pass: whose socket is it? */

enum belongs { BELONGS_NOT, BELONGS_BY_DEFAULT, BELONGS_BY_SESSION, BELONGS_BY_ADDRESS, BELONGS_BY_BOTH };

static bool is_address_of(const struct ledger_target *target, const struct endpoint *remote)
{
    for (size_t i = 0; i < target->address_count; i++) {
        uint16_t port = target->addresses[i].port ? target->addresses[i].port : target->port;
        if (port == remote->port && endpoint_same_address(&target->addresses[i], remote))
            return true;
    }
    return false;
}

static enum belongs belongs_to(const struct view *view, const struct socket_fact *socket)
{
    const struct ledger_target *target = view->target;
    if (socket->path >= 0 || target->path >= 0)
        return socket->path == target->path ? BELONGS_BY_ADDRESS : BELONGS_NOT;
    bool joins = index_find_client(&view->by_client, &socket->local) ||
                 index_find_client(&view->by_named_client, &socket->local);
    if (is_address_of(target, &socket->remote))
        return joins ? BELONGS_BY_BOTH : BELONGS_BY_ADDRESS;
    if (target->port != socket->remote.port)
        return BELONGS_NOT;
    if (joins)
        return BELONGS_BY_SESSION;
    return target->address_count == 0 ? BELONGS_BY_DEFAULT : BELONGS_NOT;
}

/* The target that the socket fits best; of equals one that the app uses by itself, then the first. */
static int target_of(const struct join *join, const struct socket_fact *socket)
{
    int best = -1, best_rank = 0;
    for (size_t i = 0; i < join->input->target_count; i++) {
        enum belongs belongs = belongs_to(&join->views[i], socket);
        int rank = (int)belongs * 2 + !join->views[i].target->look_only;
        if (belongs != BELONGS_NOT && rank > best_rank) {
            best = (int)i;
            best_rank = rank;
        }
    }
    return best;
}

/* The second pass: the session with exactly this client. */
static void join_exactly(const struct join *join, const struct socket_fact *socket, struct match *match)
{
    match->target = target_of(join, socket);
    if (match->target < 0 || socket->path >= 0)
        return;
    const struct view *view = &join->views[match->target];
    match->session = index_find_client(&view->by_client, &socket->local);
    if (!match->session)
        match->session = index_find_client(&view->by_named_client, &socket->local);
    if (!match->session)
        match->session = index_find_client(&view->through, &socket->local);
    match->known_by = match->session ? KNOWN_EXACT : KNOWN_SOCKET_ONLY;
}

/* Rows. */

static void copy_socket(struct handle_row *row, const struct socket_fact *socket)
{
    row->inode = socket->inode;
    row->pid = socket->pid;
    row->fd = socket->fd;
    row->local = socket->local;
    row->remote = socket->remote;
    row->tcp_state = socket->tcp_state;
    row->has_info = socket->has_info;
    row->holders = socket->holders;
    row->descriptors = socket->descriptors;
    memcpy(row->others, socket->others, sizeof row->others);
    row->unread_bytes = socket->unread_bytes;
    row->unacked_bytes = socket->unacked_bytes;
    row->unsent_bytes = socket->unsent_bytes;
    row->last_sent_ms = socket->last_sent_ms;
    row->last_received_ms = socket->last_received_ms;
    row->rtt_us = socket->rtt_us;
    row->bytes_sent = socket->bytes_sent;
    row->bytes_acked = socket->bytes_acked;
    row->bytes_received = socket->bytes_received;
    row->data_segments_out = socket->data_segments_out;
    row->data_segments_in = socket->data_segments_in;
    row->timer = socket->timer;
    row->timer_ms = socket->timer_ms;
    row->epoll = socket->epoll;
    row->looked_at_us = socket->looked_at_us;
}

/* What the session does, by its own server's word; `query_text`: with the query. */
static void copy_activity(struct handle_row *row, const struct session *session, bool query_text)
{
    row->state = session->state;
    row->waits_for_client = session->waits_for_client;
    row->state_change = session->state_change;
    row->state_age_us = session->state_age_us;
    row->transaction_age_us = session->transaction_age_us;
    row->transaction_start = session->transaction_start;
    if (query_text)
        memcpy(row->query, session->query, sizeof row->query);
    row->query[sizeof row->query - 1] = 0;
}

/* In PgBouncer's session mode the link stays as long as the client: PostgreSQL knows what the linked backend does. If
 * it cannot be asked, nobody does. */
static void copy_linked_activity(const struct join *join, struct handle_row *row, const struct view *pooler,
                                 const struct session *client)
{
    int server = pooler->target->server;
    const struct session *backend = NULL;
    if (server >= 0 && (size_t)server < join->input->target_count)
        backend = index_find_id(&join->views[server].by_id, client->server_pid);
    if (backend)
        copy_activity(row, backend, join->input->query_text);
}

/* In transaction mode the link is the transaction. Whether it is the app's turn in it, PostgreSQL knows: in a block it
 * is, and while the backend works it is not. An idle backend is not believed: it may have been linked, or let go,
 * between the two answers. */
static void refine_linked_state(const struct join *join, struct handle_row *row, const struct view *pooler,
                                const struct session *client)
{
    int server = pooler->target->server;
    const struct session *backend = NULL;
    if (row->state == SESSION_ACTIVE && client->linked_pid && server >= 0 && (size_t)server < join->input->target_count)
        backend = index_find_id(&join->views[server].by_id, client->linked_pid);
    bool in_block =
        backend && (backend->state == SESSION_IN_TRANSACTION || backend->state == SESSION_IN_FAILED_TRANSACTION);
    if (backend && backend->state == SESSION_ACTIVE)
        row->waits_for_client = backend->waits_for_client;
    if (backend && (in_block || backend->state == SESSION_ACTIVE))
        row->transaction_start = backend->transaction_start;
    if (!in_block)
        return;
    row->state = backend->state;
    row->state_age_us = backend->state_age_us;
    row->transaction_age_us = backend->transaction_age_us;
}

static void copy_session(const struct join *join, struct handle_row *row, const struct match *match)
{
    const struct view *view = &join->views[match->target];
    const struct session *session = match->session;
    row->session = session->id;
    row->tls = session->tls;
    row->known_by = match->known_by;
    row->session_start = session->start;
    row->server_session = session->linked_pid;
    if (session->server_pid)
        copy_linked_activity(join, row, view, session);
    else
        copy_activity(row, session, join->input->query_text);
    refine_linked_state(join, row, view, session);
}

/* True when the server would have shown the session of this socket, had there been one. */
static bool absence_is_known(const struct view *view, const struct socket_fact *socket)
{
    bool is_hidden = view->hides && view->target->hidden_since_us >= socket->absent_at_us;
    return view->target->answered && view->target->translated == 0 && !is_hidden && socket->path < 0;
}

/* A pooler that names its clients names this one on no server connection: it is linked to none. What it may have asked
 * the pooler for, its socket shows. */
static bool is_unlinked(const struct view *view, const struct socket_fact *socket)
{
    return view->through.count > 0 && !view->some_cut && !index_find_client(&view->through_any, &socket->local);
}

static void make_row_alone(const struct view *view, const struct socket_fact *socket, struct handle_row *row)
{
    bool unlinked = is_unlinked(view, socket);
    if (unlinked)
        row->known_by = KNOWN_BY_NAME;
    if (unlinked || view->all_rest)
        row->state = SESSION_IDLE;
    else if (absence_is_known(view, socket))
        row->state = SESSION_ABSENT;
}

static void make_row(const struct join *join, size_t i, struct handle_row *row)
{
    const struct socket_fact *socket = &join->input->sockets[i];
    const struct match *match = &join->matches[i];
    *row = (struct handle_row){.target = (uint16_t)match->target,
                               .tls = 255,
                               .waits_for_client = 255,
                               .known_by = KNOWN_SOCKET_ONLY,
                               .state = SESSION_UNKNOWN,
                               .state_age_us = -1,
                               .transaction_age_us = -1};
    row->told_apart = match->told_apart;
    copy_socket(row, socket);
    if (match->session)
        copy_session(join, row, match);
    else
        make_row_alone(&join->views[match->target], socket, row);
}

static int match_all(struct join *join)
{
    const struct ledger_input *input = join->input;
    for (size_t i = 0; i < input->target_count; i++)
        if (view_init(&join->views[i], &input->targets[i], input->application_name) < 0)
            return -1;
    for (size_t i = 0; i < input->target_count; i++)
        if (view_look_through(join, (int)i, input->application_name) < 0)
            return -1;
    for (size_t i = 0; i < input->socket_count; i++)
        join_exactly(join, &input->sockets[i], &join->matches[i]);
    for (size_t i = 0; i < input->target_count; i++)
        if (addresses_may_change(&input->targets[i])) {
            if (join_by_name(join, (int)i) < 0)
                return -1;
            join_find_rest(join, (int)i);
        }
    return 0;
}

long ledger_join(const struct ledger_input *input, struct handle_row *rows)
{
    struct join join = {.input = input, .matches = calloc(input->socket_count + 1, sizeof(struct match))};
    long count = 0;
    int result = join.matches ? match_all(&join) : -1;
    for (size_t i = 0; result == 0 && i < input->socket_count; i++)
        if (join.matches[i].target >= 0)
            make_row(&join, i, &rows[count++]);
    for (size_t i = 0; i < input->target_count; i++)
        view_finish(&join.views[i]);
    free(join.matches);
    return result < 0 ? -1 : count;
}
