/* The join of sockets and sessions: see agent/ledger/ledger.h. Pure: no I/O, no verdict.
 *
 * Three passes: to which target each socket belongs; which session it is, exactly; which by name, where addresses
 * change on the way. What is not found is ABSENT only where the server would have shown it. */
#include "agent/ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "agent/ledger/index.h"
#include "agent/ledger/names.h"

/* A target with its sessions made findable. */
struct view {
    const struct ledger_target *target;
    struct session_index by_client, by_named_client, by_id;
    bool hides;  /* some sessions show no client: one that is not found may be among them (agent/ledger/hidden.h) */
};

/* What is known of one socket so far. */
struct match {
    int target; /* -1: no target's */
    const struct session *session;
    uint8_t known_by;
};

struct join {
    const struct ledger_input *input;
    struct view views[WIRE_TARGETS];
    struct match *matches; /* one a socket */
};

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

static void view_finish(struct view *view)
{
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
    match->known_by = match->session ? KNOWN_EXACT : KNOWN_SOCKET_ONLY;
}

/* The third pass: sessions that bear the app's name, for the sockets that are left. */

static bool is_taken(const struct join *join, const struct session *session)
{
    for (size_t i = 0; i < join->input->socket_count; i++)
        if (join->matches[i].session == session)
            return true;
    return false;
}

static bool is_candidate(const struct join *join, const struct view *view, const struct session *session)
{
    struct endpoint client;
    bool local = session->client.family == ENDPOINT_UNIX;
    if (local != (view->target->path >= 0) || !names_match(session->application_name, join->input->application_name))
        return false;
    return !client_in_name(join->input->application_name, session, &client) && !is_taken(join, session);
}

static int compare_ages(const struct session *x, const struct session *y)
{
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_by_work(const void *a, const void *b)
{
    const struct session *x = *(const struct session *const *)a, *y = *(const struct session *const *)b;
    bool x_works = x->state != SESSION_IDLE, y_works = y->state != SESSION_IDLE;
    return x_works != y_works ? y_works - x_works : compare_ages(x, y);
}

static int compare_by_age(const void *a, const void *b)
{
    return compare_ages(*(const struct session *const *)a, *(const struct session *const *)b);
}

/* The sessions that the sockets are paired with: with more of them than sockets none that is at work is left out.
 * Oldest first, as the sockets are: their inodes were given out in order, more or less. */
static size_t choose(const struct session **candidates, size_t count, size_t sockets)
{
    qsort(candidates, count, sizeof *candidates, compare_by_work);
    count = count < sockets ? count : sockets;
    qsort(candidates, count, sizeof *candidates, compare_by_age);
    return count;
}

static bool is_left(const struct join *join, size_t socket, int target)
{
    return join->matches[socket].target == target && !join->matches[socket].session;
}

static size_t count_left(const struct join *join, int target)
{
    size_t count = 0;
    for (size_t i = 0; i < join->input->socket_count; i++)
        count += is_left(join, i, target);
    return count;
}

static int join_by_name(struct join *join, int target)
{
    const struct view *view = &join->views[target];
    size_t sessions = view->target->answered ? view->target->session_count : 0, count = 0, next = 0;
    const struct session **candidates = calloc(sessions + 1, sizeof *candidates);
    if (!candidates)
        return -1;
    for (size_t i = 0; i < sessions; i++)
        if (is_candidate(join, view, &view->target->sessions[i]))
            candidates[count++] = &view->target->sessions[i];
    count = choose(candidates, count, count_left(join, target));
    for (size_t i = 0; i < join->input->socket_count && next < count; i++)
        if (is_left(join, i, target)) {
            join->matches[i].session = candidates[next++];
            join->matches[i].known_by = KNOWN_BY_NAME;
        }
    free(candidates);
    return 0;
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
    copy_socket(row, socket);
    if (match->session)
        copy_session(join, row, match);
    else if (absence_is_known(&join->views[match->target], socket))
        row->state = SESSION_ABSENT;
}

static int match_all(struct join *join)
{
    const struct ledger_input *input = join->input;
    for (size_t i = 0; i < input->target_count; i++)
        if (view_init(&join->views[i], &input->targets[i], input->application_name) < 0)
            return -1;
    for (size_t i = 0; i < input->socket_count; i++)
        join_exactly(join, &input->sockets[i], &join->matches[i]);
    for (size_t i = 0; i < input->target_count; i++)
        if (addresses_may_change(&input->targets[i]) && join_by_name(join, (int)i) < 0)
            return -1;
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
