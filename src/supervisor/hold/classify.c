/* Where one handle stands, by what its session and its socket say. Pure: no I/O.
 *
 * The danger is one-sided: a handle in flight that is taken for idle costs a transaction; the other way costs time. So
 * every doubt is "in flight, not known". What proves that a request was answered is in answered(); DESIGN "Seeing" 5. */
#include "supervisor/hold/history.h"

#include <netinet/tcp.h>
#include <stddef.h>

#define UNREAD_LIMIT_US INT64_C(100000)  /* nobody reads it: a notification, a FATAL */
#define ABSENT_LIMIT_US INT64_C(1000000) /* a connection without a session that does nothing any more */
#define WAITED_LIMIT_US INT64_C(2000000) /* a thread that waits on an idle session for this long waits for a notification */
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

/* By counters alone: nothing has left since a moment, and something came in since; or all that had left was answered
 * before, and nothing has left since. */
static bool answered_by_counters(const struct hold_handle *handle, const struct handle_row *row)
{
    if (!row->has_info)
        return false;
    if (handle->has_base && row->bytes_sent == handle->base_sent && row->bytes_received > handle->base_received)
        return true;
    if (handle->round == 0)
        return false;
    bool none_left = row->bytes_sent == handle->sent;
    if (none_left && (handle->answered || row->bytes_received > handle->received))
        return true;
    /* One segment has left since all was answered, and the session has been busy since and is idle again: it was read. */
    return handle->answered && row->data_segments_out == handle->segments_out + 1 && handle->state_change &&
           row->state_change > handle->state_change;
}

/* One thread each, and two answers since the look: whatever it had acknowledged by then was read (pgbouncer, Redis). */
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
    if (answered_by_counters(handle, row) || answered_by_order(hold, row))
        return true;
    if (row->has_info && row->last_received_ms != row->last_sent_ms)
        return row->last_received_ms < row->last_sent_ms;
    return answered_by_waits(hold, row, hint) || answered_by_time(handle, hint, now_us);
}

/* Under a brake a blocking recv(2) takes the reply and does not return: nothing shows unread, and its thread waits on. */
static bool recv_keeps_reply(const struct hold_handle *handle, const struct handle_row *row,
                             const struct hold_hint *hint)
{
    return handle->blocking && handle->braked && hint && hint->waited == WAITED_ALONE && handle->has_base &&
           row->bytes_received > handle->base_received;
}

static void classify_unread(struct hold_handle *handle, const struct handle_row *row, bool all_answered, int64_t now_us)
{
    if (handle->braked && all_answered)
        stands(handle, STANDING_PARKED, false, false);
    else if (!handle->braked && now_us - handle->quiet_since_us >= UNREAD_LIMIT_US && row->unsent_bytes == 0)
        stands(handle, STANDING_EXEMPT, false, false);
    else
        stands(handle, STANDING_IN_FLIGHT, !all_answered, false);
}

static void classify_idle(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                          const struct hold_hint *hint, int64_t now_us)
{
    if (server_closed(row)) {
        stands(handle, STANDING_EXEMPT, false, false);
        return;
    }
    if (on_the_way(row)) {
        stands(handle, STANDING_IN_FLIGHT, true, false);
        return;
    }
    bool all_answered = answered(hold, handle, row, hint, now_us);
    bool equal = !row->has_info || row->last_received_ms == row->last_sent_ms;
    if (row->unsent_bytes > 0)
        stands(handle, handle->corked && all_answered ? STANDING_HELD : STANDING_IN_FLIGHT, !all_answered, false);
    else if (row->unread_bytes > 0)
        classify_unread(handle, row, all_answered, now_us);
    else if (all_answered && recv_keeps_reply(handle, row, hint))
        stands(handle, STANDING_PARKED, false, false);
    else
        stands(handle, all_answered ? STANDING_IDLE : STANDING_IN_FLIGHT, !all_answered, !all_answered && equal);
    handle->answered = all_answered; /* whether or not its reply was read: it holds until another byte leaves */
}

static void classify_busy(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                          const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)row, (void)hint, (void)now_us;
    stands(handle, STANDING_IN_FLIGHT, true, false);
}

/* In a transaction, its reply kept back by recv(2): the app must get it to go on. */
static void nudge_if_kept(struct hold *hold, const struct hold_handle *handle, const struct handle_row *row,
                          const struct hold_hint *hint)
{
    hold->nudge |= recv_keeps_reply(handle, row, hint) && row->unsent_bytes == 0 && !on_the_way(row);
}

/* A transaction that its app has left idle for long is a leak: waiting for it would be waiting for ever. */
static void classify_in_transaction(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                                    const struct hold_hint *hint, int64_t now_us)
{
    (void)now_us;
    nudge_if_kept(hold, handle, row, hint);
    bool left = hold->leak_transaction_us > 0 && row->state_age_us >= hold->leak_transaction_us &&
                row->unread_bytes == 0 && !on_the_way(row);
    stands(handle, left ? STANDING_GIVEN_UP : STANDING_IN_FLIGHT, !left, false);
}

static void classify_unknown(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                             const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)hint, (void)now_us;
    if (server_closed(row))
        stands(handle, STANDING_EXEMPT, false, false);
    else
        stands(handle, STANDING_IN_FLIGHT, true, true);
}

/* The server has no session for it: it is starting up, or the server has ended it. */
static void classify_absent(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                            const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)hint;
    bool ended = server_closed(row) || now_us - handle->quiet_since_us >= ABSENT_LIMIT_US;
    stands(handle, ended ? STANDING_EXEMPT : STANDING_IN_FLIGHT, !ended, false);
}

static void classify_exempt(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                            const struct hold_hint *hint, int64_t now_us)
{
    (void)hold, (void)row, (void)hint, (void)now_us;
    stands(handle, STANDING_EXEMPT, false, false);
}

typedef void classify_fn(struct hold *, struct hold_handle *, const struct handle_row *, const struct hold_hint *, int64_t);

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

/* A server does not show a session of whose role it is not sure yet: a handle that appeared a moment ago is such a one. */
static bool is_starting(const struct hold *hold, const struct hold_handle *handle, const struct handle_row *row,
                        int64_t now_us)
{
    bool appeared = handle->first_seen_us > hold->began_us && now_us - handle->first_seen_us < ABSENT_LIMIT_US;
    return row->state == SESSION_STARTING || row->state == SESSION_ABSENT || (row->state == SESSION_UNKNOWN && appeared);
}

void classify_handle(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                     const struct hold_hint *hint, int64_t now_us)
{
    unsigned state = row->state < sizeof by_state / sizeof *by_state ? row->state : SESSION_UNKNOWN;
    by_state[state](hold, handle, row, hint, now_us);
    handle->starting = is_starting(hold, handle, row, now_us);
    if (handle->given_up && handle->standing == STANDING_IN_FLIGHT)
        handle->standing = STANDING_GIVEN_UP;
}
