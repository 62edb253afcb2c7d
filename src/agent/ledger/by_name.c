/* Sessions for sockets that have none by address: by what moves together (agent/ledger/pairs.h), then by the app's name
 * and their ages, and what is true of all that are left. Pure: no I/O, no verdict. */
#include "agent/ledger/join.h"

#include <stdlib.h>

#include "agent/ledger/names.h"

enum { TO_BE_TOLD = 255 };

static bool is_taken(const struct join *join, const struct session *session)
{
    for (size_t i = 0; i < join->input->socket_count; i++)
        if (join->matches[i].session == session)
            return true;
    return false;
}

/* May it be some socket's that is left? Of what the server hides nobody can tell. */
static bool is_candidate(const struct join *join, const struct view *view, const struct session *session)
{
    struct endpoint client;
    bool local = session->client.family == ENDPOINT_UNIX;
    if (local != (view->target->path >= 0) || session->client.family == ENDPOINT_NONE || is_taken(join, session))
        return false;
    return !names_read_client(session->application_name, join->input->application_name, &client) ||
           endpoint_equal(&client, &session->client); /* the pooler's own list: it saw a translated one, too */
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

static bool bears_name(const struct join *join, const struct session *session)
{
    return names_match(session->application_name, join->input->application_name);
}

static size_t list_candidates(const struct join *join, const struct view *view, bool named,
                              const struct session **candidates)
{
    size_t sessions = view->target->answered ? view->target->session_count : 0, count = 0;
    for (size_t i = 0; i < sessions; i++)
        if (is_candidate(join, view, &view->target->sessions[i]) &&
            (!named || bears_name(join, &view->target->sessions[i])))
            candidates[count++] = &view->target->sessions[i];
    return count;
}

static void tell_apart(struct join *join, size_t socket, const struct session *const *candidates, size_t count)
{
    struct match *match = &join->matches[socket];
    uint64_t id = pairs_session_of(join->views[match->target].target->pairs, join->input->sockets[socket].inode);
    match->told_apart = join->input->sockets[socket].has_info ? TO_BE_TOLD : 0;
    for (size_t k = 0; id && k < count; k++)
        if (candidates[k]->id == id) {
            match->session = candidates[k];
            match->known_by = bears_name(join, candidates[k]) ? KNOWN_BY_NAME : KNOWN_SOCKET_ONLY;
            match->told_apart = 1;
        }
}

/* Behind a pooler what a client does its backend tells, while it is linked. */
static struct pair_session activity_of(const struct join *join, const struct view *view, const struct session *session)
{
    int server = view->target->server;
    const struct session *teller = NULL;
    if (server >= 0 && (size_t)server < join->input->target_count && session->linked_pid)
        teller = index_find_id(&join->views[server].by_id, session->linked_pid);
    teller = teller ? teller : session;
    return (struct pair_session){session->id, session->start, teller->state_change, teller->state};
}

static void note_pairs(const struct join *join, int target, const struct session *const *candidates, size_t count,
                       bool all, const struct socket_fact **sockets, struct pair_session *sessions)
{
    const struct view *view = &join->views[target];
    size_t left = 0, named = 0, wanted = count_left(join, target); /* a name is the app's own: none of its is hidden */
    for (size_t i = 0; i < count; i++)
        named += bears_name(join, candidates[i]);
    bool all_there = named >= wanted || (all && !view->hides && count >= wanted);
    for (size_t i = 0; i < join->input->socket_count; i++)
        if (is_left(join, i, target))
            sockets[left++] = &join->input->sockets[i];
    for (size_t i = 0; i < count; i++)
        sessions[i] = activity_of(join, view, candidates[i]);
    pairs_note(view->target->pairs, sockets, left, sessions, count, all_there);
}

/* Those that moved together in this look and the ones before; whatever they are called, unless these are too many. */
static int join_by_movement(struct join *join, int target, const struct session **candidates)
{
    size_t count = list_candidates(join, &join->views[target], false, candidates), left = count_left(join, target);
    bool too_many = count > PAIRS_MOST;
    if (too_many)
        count = list_candidates(join, &join->views[target], true, candidates);
    const struct socket_fact **sockets = calloc(left + 1, sizeof *sockets);
    struct pair_session *sessions = calloc(count + 1, sizeof *sessions);
    if (sockets && sessions)
        note_pairs(join, target, candidates, count, !too_many, sockets, sessions);
    for (size_t i = 0; left <= PAIRS_MOST && count <= PAIRS_MOST && i < join->input->socket_count; i++)
        if (is_left(join, i, target))
            tell_apart(join, i, candidates, count);
    int result = sockets && sessions ? 0 : -1;
    free(sockets);
    free(sessions);
    return result;
}

int join_by_name(struct join *join, int target)
{
    const struct view *view = &join->views[target];
    size_t next = 0;
    const struct session **candidates = calloc(view->target->session_count + 1, sizeof *candidates);
    if (!candidates)
        return -1;
    if (view->target->pairs && !view->target->answered)
        pairs_break(view->target->pairs);
    else if (view->target->pairs && join_by_movement(join, target, candidates) < 0)
        pairs_break(view->target->pairs);
    size_t count = list_candidates(join, view, true, candidates);
    count = choose(candidates, count, count_left(join, target));
    for (size_t i = 0; i < join->input->socket_count && next < count; i++)
        if (is_left(join, i, target)) {
            join->matches[i].session = candidates[next++];
            join->matches[i].known_by = KNOWN_BY_NAME;
        }
    free(candidates);
    return 0;
}

static bool is_at_rest(const struct session *session)
{
    return session->state == SESSION_IDLE;
}

/* There are enough of them for the sockets without one, and all are idle. */
void join_find_rest(struct join *join, int target)
{
    struct view *view = &join->views[target];
    size_t count = 0;
    view->all_rest = view->target->answered && !view->hides;
    for (size_t i = 0; view->all_rest && i < view->target->session_count; i++) {
        const struct session *session = &view->target->sessions[i];
        if (!is_candidate(join, view, session))
            continue;
        view->all_rest = is_at_rest(session);
        count++;
    }
    view->all_rest &= count > 0 && count >= count_left(join, target);
}
