/* What a round is for the record: what was in flight at the signal, what became of it, and what the app closed
 * meanwhile. Only writes down what was seen; changes nothing else. */
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "common/as_user.h"
#include "common/process.h"
#include "supervisor/state.h"

enum { HIDDEN_LOOKS = 3 };

static bool is_busy(const struct handle_row *row)
{
    return row->state == SESSION_ACTIVE || row->state == SESSION_IN_TRANSACTION ||
           row->state == SESSION_IN_FAILED_TRANSACTION || row->state == SESSION_WAITING;
}

/* No session of an answering server belongs to it: it is starting up, or was ended. That is not "not to be seen". Where
 * addresses change on the way, it may belong to any of those that nobody else's are. */
static bool may_be_busy(const struct supervisor *s, const struct handle_row *row)
{
    bool closed = row->tcp_state == TCP_CLOSE_WAIT || row->tcp_state == TCP_CLOSE;
    return !closed && (row->known_by != KNOWN_SOCKET_ONLY || !s->answered[row->target] || s->translated[row->target]);
}

/* What was in flight at the signal. A session whose state cannot be seen may have been: that is not known, and said. */
static void note_start(struct supervisor *s, struct recorded_handle *handle, const struct handle_row *row)
{
    bool unseen = row->state == SESSION_UNKNOWN && may_be_busy(s, row);
    handle->in_flight_at_start = is_busy(row) || unseen;
    handle->unseen_at_start = unseen;
}

/* Now it is seen: it is at work since then, as far as anybody can tell; or idle, for longer than
 * the stop lasts or since. */
static void note_seen(const struct supervisor *s, struct recorded_handle *handle, const struct handle_row *row,
                      int64_t now_us)
{
    bool aged = row->state_age_us >= 0;
    if (row->state == SESSION_UNKNOWN || !(is_busy(row) || aged))
        return;
    handle->unseen_at_start = false;
    handle->in_flight_at_start = is_busy(row) || row->state_age_us <= now_us - s->record.stop_began_us;
}

static void record_row(struct supervisor *s, const struct handle_row *row, enum standing standing, int64_t now_us)
{
    bool flying = standing == STANDING_IN_FLIGHT || standing == STANDING_GIVEN_UP;
    bool first_look = s->hold.round == 1 && (s->lifecycle.phase == PHASE_DRAINING || !s->intake_looked);
    char query[WIRE_QUERY];
    struct recorded_handle *handle = record_handle(&s->record, row);
    if (!handle)
        return;
    memcpy(query, handle->last.query, sizeof query);
    handle->last = *row;
    if (!row->query[0]) /* this look was asked without texts */
        memcpy(handle->last.query, query, sizeof query);
    if (first_look && !s->lifecycle.signalled)
        note_start(s, handle, row);
    else if (handle->unseen_at_start && !s->lifecycle.signalled)
        note_seen(s, handle, row, now_us);
    if (handle->in_flight_at_start && !handle->unseen_at_start && handle->transaction == TRANSACTION_NONE && !flying)
        handle->transaction = TRANSACTION_FINISHED;
    record_timeline(handle, standing_name(standing), now_us);
}

static bool is_in(const struct facts *facts, const struct recorded_handle *handle)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->rows[i].inode == handle->last.inode && endpoint_equal(&facts->rows[i].local, &handle->last.local))
            return true;
    return false;
}

static bool is_seen(const struct handle_row *row)
{
    return row->state != SESSION_ABSENT && row->state != SESSION_UNKNOWN;
}

/* Closed by an app that had not been told to stop, on a connection that the server had not closed: what it had open
 * there it has ended by itself, as it always does, and what it closed first is gone from the server already. After the
 * signal, or after the server's own end, nobody knows. */
static bool ended_as_always(const struct supervisor *s, const struct recorded_handle *handle)
{
    bool lived = is_seen(&handle->first) || is_seen(&handle->last);
    return !s->lifecycle.signalled && handle->last.tcp_state == TCP_ESTABLISHED && (lived || handle->unseen_at_start);
}

/* What nobody had seen of it by then was nothing that a stop could have aborted. */
static void transaction_vanished(struct supervisor *s, struct recorded_handle *handle)
{
    bool as_always = ended_as_always(s, handle);
    if (as_always && handle->unseen_at_start)
        handle->in_flight_at_start = handle->unseen_at_start = false;
    else if (handle->in_flight_at_start && handle->transaction == TRANSACTION_NONE)
        handle->transaction = as_always ? TRANSACTION_FINISHED : TRANSACTION_UNKNOWN;
    else if (s->lifecycle.signalled && s->kinds[handle->last.target] != TARGET_REDIS)
        handle->unseen_later = true;
}

/* A handle that went away while the app lives, without a duplicate of ours that would tell how. */
static void record_vanished(struct supervisor *s, const struct facts *facts, int64_t now_us)
{
    for (unsigned i = 0; i < s->record.handle_count; i++) {
        struct recorded_handle *handle = &s->record.handles[i];
        if (handle->outcome != OUTCOME_OPEN || s->main_ended || is_in(facts, handle) ||
            adopted_find(&s->adopted, handle->last.inode, &handle->last.local))
            continue;
        record_outcome(handle, OUTCOME_CLOSED_UNSEEN, now_us);
        transaction_vanished(s, handle);
    }
}

static void note_targets(struct supervisor *s, const struct facts *facts)
{
    for (size_t i = 0; i < facts->target_count; i++) {
        const struct message_target_state *target = &facts->targets[i];
        if (!target->answered && s->lifecycle.phase == PHASE_LOOKING)
            record_unknown(&s->record, s->config->targets[target->target].name, "did not answer: %s", target->why);
    }
}

/* A process that nobody may look at (it changed its uid) may have connections to any target. One is so for a moment
 * when it is about to execute a program as another user: that is not worth a word. */
static void note_hidden(struct supervisor *s)
{
    char why[160] = "a process of the app lets nobody see its descriptors";
    struct process_tree tree = {0};
    if (++s->record.hidden_looks != HIDDEN_LOOKS || process_tree_read(&tree, getpid(), children_agent(s)) < 0)
        return;
    for (size_t i = 0; i < tree.count && !as_user_find_obstacle(tree.pids[i], why, sizeof why); i++)
        continue;
    process_tree_finish(&tree);
    record_unknown(&s->record, "some of the app's connections", "%s", why);
}

void looks_record(struct supervisor *s, const struct facts *facts, int64_t now_us)
{
    for (size_t i = 0; i < facts->count; i++)
        record_row(s, &facts->rows[i], (enum standing)s->hold.standings[i], now_us);
    bool all_seen = facts->sockets_seen && facts->owners_seen;
    for (size_t i = 0; all_seen && i < facts->target_count; i++)
        s->record.targets[facts->targets[i].target].unseen = false;
    if (all_seen) {
        record_vanished(s, facts, now_us);
        s->record.hidden_looks = 0;
    } else if (facts->sockets_seen) {
        note_hidden(s);
    }
    note_targets(s, facts);
}
