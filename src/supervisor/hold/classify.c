/* Where one handle stands, by what its session and its socket say. Pure: no I/O.
 *
 * The danger is one-sided: a handle in flight that is taken for idle costs a transaction; the other way costs time. So
 * every doubt is "in flight, not known". What proves that a request was answered is in answered(); equal ages of sent
 * and received never do (README.md beside this file: "Ages are jiffies"). */
#include "supervisor/hold/history.h"

#include <netinet/tcp.h>
#include <stddef.h>

#define UNREAD_LIMIT_US INT64_C(100000)  /* nobody asked for it and nobody reads it: a notification, a FATAL */
#define REPLY_LIMIT_US INT64_C(1000000)  /* nobody reads a reply: an app that pauses (GC, CPU quota) does so for less */
#define NUDGE_AGAIN_US INT64_C(50000)
#define KEPT_LIMIT_US INT64_C(500000)
#define GREETING_US INT64_C(20000)
#define ABSENT_LIMIT_US INT64_C(1000000) /* a connection without a session that does nothing any more */
#define WAITED_LIMIT_US INT64_C(2000000) /* a thread that waits on an idle session so long waits for a notification */
#define ANSWERS_SPAN_US INT64_C(150000)
enum { ANSWERS_LEAST = 3 };

static void stands(struct hold_handle *handle, enum standing standing, bool open, bool unknown)
{
    handle->standing = standing;
    handle->open = open;
    handle->unknown = unknown;
    handle->answered = false;
}

/* Bytes that have left and are not acknowledged yet. */
static bool on_the_way(const struct handle_row *row)
{
    return row->unacked_bytes > row->unsent_bytes;
}

static bool server_closed(const struct handle_row *row)
{
    return row->tcp_state == TCP_CLOSE_WAIT || row->tcp_state == TCP_CLOSE;
}

/* The ages of the last bytes out and in differ. They have the resolution of jiffies: equal ones tell nothing. */
static bool ages_differ(const struct handle_row *row)
{
    return row->has_info && row->last_received_ms != row->last_sent_ms;
}

static bool none_left_since_round(const struct hold_handle *handle, const struct handle_row *row)
{
    return row->has_info && handle->round && row->bytes_sent == handle->sent;
}

/* What has left is whole requests, and they are answered: all was answered and nothing has left since; or since the
 * last step, or the cork, nothing has left by itself (the first part of a long write would) and something came in. */
static bool answered_up_to_step(const struct hold_handle *handle, const struct handle_row *row)
{
    if (none_left_since_round(handle, row) && handle->answered)
        return true;
    if (!row->has_info || !handle->has_base || row->bytes_sent != handle->base_sent)
        return false;
    return row->bytes_received > handle->base_received ||
           (ages_differ(row) && row->last_received_ms < row->last_sent_ms);
}

/* By counters alone, when nothing is queued behind what has left. */
static bool answered_by_counters(const struct hold_handle *handle, const struct handle_row *row)
{
    bool more_came = row->has_info && handle->round && row->bytes_received > handle->received;
    if (answered_up_to_step(handle, row) || (none_left_since_round(handle, row) && more_came))
        return true;
    /* One segment has left since all was answered, something came in, and the session has been busy since and is idle
     * again: it was read. */
    return handle->answered && more_came && row->data_segments_out == handle->segments_out + 1 &&
           handle->state_change && row->state_change > handle->state_change;
}

/* One thread each, and two answers since the look: whatever it had acknowledged by then was read (pgbouncer, Redis).
 * That its reply has arrived is another question: see answered(). */
static bool answered_by_order(const struct hold *hold, const struct handle_row *row)
{
    return hold->kinds[row->target] != TARGET_POSTGRES && row->state_change == 0 && row->known_by == KNOWN_EXACT &&
           row->tcp_state != 0;
}

/* Nobody who holds the socket waits for it, by no thread and by no epoll set, and nobody is about to. */
static bool answered_by_waits(struct hold *hold, const struct handle_row *row, const struct hold_hint *hint)
{
    hold->waited_on = true;
    return hint && hint->waited == WAITED_NOT && !hint->running && row->epoll == 0;
}

static bool answered_by_time(const struct hold_handle *handle, const struct hold_hint *hint, int64_t now_us)
{
    int64_t quiet = now_us - handle->quiet_since_us;
    if (hint && hint->waited == WAITED_ALONE)
        return quiet >= WAITED_LIMIT_US;
    return handle->answers >= ANSWERS_LEAST && now_us - handle->first_answer_us >= ANSWERS_SPAN_US &&
           quiet >= ANSWERS_SPAN_US;
}

/* Is all that has left answered, when the session is idle and nothing is on the way? Equal ages tell nothing. */
static bool answered(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                     const struct hold_hint *hint, int64_t now_us)
{
    if (row->unsent_bytes > 0)
        return answered_up_to_step(handle, row);
    if (answered_by_counters(handle, row))
        return true;
    if (ages_differ(row))
        return row->last_received_ms < row->last_sent_ms;
    return answered_by_order(hold, row) || answered_by_waits(hold, row, hint) || answered_by_time(handle, hint, now_us);
}

/* Under a brake a blocking recv(2) takes the reply and does not return: nothing shows unread,
 * and its thread waits on. */
static bool recv_keeps_reply(const struct hold_handle *handle, const struct handle_row *row,
                             const struct hold_hint *hint)
{
    return handle->blocking && handle->braked && hint && hint->waited == WAITED_ALONE && handle->has_base &&
           row->bytes_received > handle->base_received;
}

/* The brake is off, and the nudge has not got to its thread yet: the reply is as unread as it was. Nudged again after a
 * while; one that goes on waiting all the same waits for something else. */
static bool recv_still_keeps_reply(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                                   const struct hold_hint *hint, int64_t now_us)
{
    bool kept = handle->kept && hint && hint->waited == WAITED_ALONE && none_left_since_round(handle, row) &&
                now_us - handle->unbraked_at_us < KEPT_LIMIT_US;
    if (handle->kept && !kept)
        hold->moved_at_us = now_us; /* no byte shows it, but a reply was read just now */
    handle->kept = kept;
    if (!kept)
        return false;
    hold->waited_on = true;
    if (now_us - handle->nudged_at_us >= NUDGE_AGAIN_US && now_us - handle->unbraked_at_us >= NUDGE_AGAIN_US) {
        hold->nudge = true;
        handle->nudged_at_us = now_us;
    }
    return true;
}

/* For how long the app has left unread what is unread: not while a brake kept it asleep. */
static int64_t unread_age(const struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    int64_t told = row->has_info ? row->last_received_ms * INT64_C(1000) : 0;
    int64_t since = handle->unread_since_us;
    if (now_us - told < since)
        since = now_us - told;
    return now_us - (since > handle->unbraked_at_us ? since : handle->unbraked_at_us);
}

/* It came while the session stood as it had stood since before the last look: a reply is preceded by a change of state,
 * a notification is not. (The last round's state is newer than its look: that change may be this reply's.) */
static bool came_by_itself(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->steady && row->state_change && row->state_change == handle->state_change &&
           row->state == SESSION_IDLE && row->bytes_received > handle->received;
}

/* At the first look: a reply would have come with the session's change of state, and would have lain unread for as long
 * as no reply does; what came last came much later. */
static bool came_long_after(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->round == 0 && row->has_info &&
           row->state_age_us >= row->last_received_ms * INT64_C(1000) + REPLY_LIMIT_US;
}

/* Nothing of what is unread is a reply. That all was answered before does not say so: an answer
 * may have been under way. */
static bool is_unasked(const struct hold_handle *handle, const struct handle_row *row)
{
    bool all_before = handle->unread == 0 || handle->unasked, none_now = row->bytes_received == handle->received;
    if (row->unread_bytes == 0 || came_long_after(handle, row))
        return row->unread_bytes > 0;
    if (!none_left_since_round(handle, row))
        return false;
    return (handle->unasked && handle->answered) || /* nothing was asked since: what comes is no answer */
           (all_before && (came_by_itself(handle, row) || (handle->unread > 0 && none_now)));
}

static void classify_unread(struct hold_handle *handle, const struct handle_row *row, bool all_answered, int64_t now_us)
{
    bool left = unread_age(handle, row, now_us) >= (handle->unasked ? UNREAD_LIMIT_US : REPLY_LIMIT_US);
    if (handle->braked && all_answered)
        stands(handle, STANDING_PARKED, false, false);
    else if (!handle->braked && all_answered && left)
        stands(handle, STANDING_EXEMPT, false, false);
    else
        stands(handle, STANDING_IN_FLIGHT, !all_answered, false);
}

/* The server has closed. What it said before may be a reply that the app is about to read. */
static void classify_closed(struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    bool over = row->unread_bytes == 0 || unread_age(handle, row, now_us) >= UNREAD_LIMIT_US;
    stands(handle, over ? STANDING_EXEMPT : STANDING_IN_FLIGHT, false, false);
}

/* Joined by name and age only, while another session of the same name is busy: whose it is cannot be told. It is
 * neither held nor parked then, for it may be the one that is in a transaction. Their number is right all the same. */
static bool may_be_mistaken(const struct hold *hold, const struct handle_row *row)
{
    return row->known_by != KNOWN_EXACT && row->told_apart != 1 && row->target < WIRE_TARGETS &&
           hold->mixed[row->target] && (row->unsent_bytes > 0 || row->unread_bytes > 0);
}

static void classify_idle(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                          const struct hold_hint *hint, int64_t now_us)
{
    if (server_closed(row)) {
        classify_closed(handle, row, now_us);
        return;
    }
    if (on_the_way(row) || may_be_mistaken(hold, row)) {
        stands(handle, STANDING_IN_FLIGHT, true, !on_the_way(row));
        return;
    }
    handle->unasked = is_unasked(handle, row);
    bool all_answered = answered(hold, handle, row, hint, now_us);
    bool equal = !ages_differ(row);
    if (row->unsent_bytes > 0)
        stands(handle, handle->corked && handle->has_base && all_answered ? STANDING_HELD : STANDING_IN_FLIGHT,
               !all_answered, false);
    else if (row->unread_bytes > 0)
        classify_unread(handle, row, all_answered, now_us);
    else if (all_answered && recv_keeps_reply(handle, row, hint)) {
        stands(handle, STANDING_PARKED, false, false);
        hold->waited_on = handle->kept = true;
    } else if (all_answered && recv_still_keeps_reply(hold, handle, row, hint, now_us))
        stands(handle, STANDING_IN_FLIGHT, false, false);
    else
        stands(handle, all_answered ? STANDING_IDLE : STANDING_IN_FLIGHT, !all_answered, !all_answered && equal);
    handle->answered = all_answered; /* whether or not its reply was read: it holds until another byte leaves */
}

/* In a transaction, its reply kept back by recv(2): the app must get it to go on. Once for what came in, and again when
 * that did not help. */
static void nudge_if_kept(struct hold_handle *handle, const struct handle_row *row, const struct hold_hint *hint,
                          int64_t now_us)
{
    bool kept = recv_keeps_reply(handle, row, hint) && row->unsent_bytes == 0 && !on_the_way(row);
    bool before = handle->nudged_at_us && handle->nudged_received == row->bytes_received &&
                  now_us - handle->nudged_at_us < NUDGE_AGAIN_US;
    if (!kept || before)
        return;
    handle->nudged_thread = hint->thread;
    handle->nudged_received = row->bytes_received;
    handle->nudged_at_us = now_us;
}

static void classify_busy(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                          const struct hold_hint *hint, int64_t now_us)
{
    /* PgBouncer says "active" for all of a transaction, also while it waits for the app. */
    if (row->target < WIRE_TARGETS && hold->kinds[row->target] == TARGET_PGBOUNCER)
        nudge_if_kept(handle, row, hint, now_us);
    stands(handle, STANDING_IN_FLIGHT, true, false);
}

/* A transaction that its app has left idle for long is a leak: waiting for it would be waiting for ever. */
static void classify_in_transaction(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                                    const struct hold_hint *hint, int64_t now_us)
{
    (void)hold;
    nudge_if_kept(handle, row, hint, now_us);
    bool left = hold->leak_transaction_us > 0 && row->state_age_us >= hold->leak_transaction_us &&
                row->unread_bytes == 0 && row->unsent_bytes == 0 && !on_the_way(row);
    stands(handle, left ? STANDING_GIVEN_UP : STANDING_IN_FLIGHT, !left, false);
}

static void classify_unknown(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                             const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)hint;
    if (server_closed(row))
        classify_closed(handle, row, now_us);
    else
        stands(handle, STANDING_IN_FLIGHT, true, true);
}

/* The server has no session for it: it is starting up, or the server has ended it. */
static void classify_absent(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                            const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)hint;
    bool ended = now_us - handle->quiet_since_us >= ABSENT_LIMIT_US && !on_the_way(row);
    if (server_closed(row))
        classify_closed(handle, row, now_us);
    else
        stands(handle, ended ? STANDING_EXEMPT : STANDING_IN_FLIGHT, !ended, false);
}

static void classify_exempt(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                            const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)row, (void)hint, (void)now_us;
    stands(handle, STANDING_EXEMPT, false, false);
}

typedef void classify_fn(struct hold *, struct hold_handle *, const struct handle_row *, const struct hold_hint *,
                         int64_t);

static classify_fn *const by_state[] = {
    [SESSION_UNKNOWN] = classify_unknown,
    [SESSION_ABSENT] = classify_absent,
    [SESSION_STARTING] = classify_busy,
    [SESSION_IDLE] = classify_idle,
    [SESSION_ACTIVE] = classify_busy,
    [SESSION_IN_TRANSACTION] = classify_in_transaction,
    [SESSION_IN_FAILED_TRANSACTION] = classify_in_transaction,
    [SESSION_WAITING] = classify_busy,
    [SESSION_BLOCKED] = classify_exempt,
    [SESSION_SUBSCRIBED] = classify_exempt,
    [SESSION_MONITORING] = classify_exempt,
    [SESSION_REPLICATION] = classify_exempt,
};

static bool is_new(const struct hold_handle *handle, int64_t now_us)
{
    return handle->appeared && now_us - handle->first_seen_us < ABSENT_LIMIT_US;
}

/* A server does not show a session of whose role it is not sure yet: a handle that appeared a
 * moment ago is such a one. */
static bool is_starting(const struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    bool greeting = row->state == SESSION_IDLE && is_new(handle, now_us) && !handle->greeted;
    return row->state == SESSION_STARTING || row->state == SESSION_ABSENT || greeting ||
           (row->state == SESSION_UNKNOWN && is_new(handle, now_us));
}

/* The app has read the last message of the start-up: from then on it may write. A thread that connects waits for it,
 * and may have others to serve (libpq's blocking PQconnectdb in an event loop). The session is idle before that message
 * arrives: nothing unread says so only when nothing has come for a while. */
static void note_greeting(struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    bool silent = row->state == SESSION_STARTING || row->state == SESSION_ABSENT || row->state == SESSION_UNKNOWN;
    bool quiet = now_us - handle->quiet_since_us >= GREETING_US + 2 * (int64_t)row->rtt_us;
    bool read = (row->unread_bytes == 0 && quiet) || !is_new(handle, now_us);
    handle->greeted |= !silent && (read || row->unsent_bytes > 0 || row->state != SESSION_IDLE);
}

static bool has_no_session(const struct handle_row *row)
{
    return row->state == SESSION_STARTING || row->state == SESSION_ABSENT;
}

/* It had no session when its writes were kept back already: a request can have left only by a step, and no step was due
 * once it had one. */
static void note_fresh(struct hold_handle *handle, const struct handle_row *row)
{
    if (has_no_session(row))
        handle->fresh = handle->corked && handle->has_base && !handle->greeted;
    else
        handle->fresh &= row->state == SESSION_IDLE && row->unsent_bytes == 0 && row->bytes_sent == handle->base_sent;
}

/* The server waits for the app's next word: it makes no session by itself. */
static bool start_up_rests(const struct handle_row *row)
{
    bool app_turn = row->unread_bytes > 0 && !on_the_way(row);
    return row->has_info && (row->unsent_bytes > 0 || app_turn || row->bytes_sent == 0);
}

/* PostgreSQL and PgBouncer take no request from a client that has no session yet, so nothing of it can be lost: neither
 * while it starts up, nor while the last word of the start-up lies unread. Redis takes requests before it shows a
 * client. What is seen for the first time with something unread may have had a session until a moment ago. */
static bool has_asked_nothing(const struct hold *hold, const struct hold_handle *handle, const struct handle_row *row)
{
    bool by_session = row->target < WIRE_TARGETS && hold->kinds[row->target] != TARGET_REDIS;
    bool starts = has_no_session(row) && !handle->greeted && (handle->round > 0 || row->unread_bytes == 0);
    return by_session && ((starts && start_up_rests(row)) || handle->fresh);
}

void classify_handle(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                     const struct hold_hint *hint, int64_t now_us)
{
    handle->nudged_thread = 0;
    unsigned state = row->state < sizeof by_state / sizeof *by_state ? row->state : SESSION_UNKNOWN;
    by_state[state](hold, handle, row, hint, now_us);
    note_greeting(handle, row, now_us);
    note_fresh(handle, row);
    handle->starting = is_starting(handle, row, now_us);
    if (handle->standing == STANDING_IN_FLIGHT && has_asked_nothing(hold, handle, row))
        stands(handle, STANDING_IDLE, false, false);
    if (handle->given_up && handle->standing == STANDING_IN_FLIGHT)
        handle->standing = STANDING_GIVEN_UP;
}
