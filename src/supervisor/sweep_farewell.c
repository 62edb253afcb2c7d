/* Farewells: what the app has left open is ended by the server's own protocol, and every recorded handle gets its
 * outcome.
 *
 * A duplicate keeps the socket open after the app has ended, so the goodbye can be said now: Terminate to PostgreSQL
 * and PgBouncer, end of stream to Redis. Where it cannot be said (inside TLS, a query still running, an unsent write,
 * no duplicate), the server is told to end the session: sweep_end.c. A goodbye counts when the server has closed, too.
 * Never says a byte on a socket that a living app has open. */
#include <netinet/tcp.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/text.h"
#include "supervisor/state.h"

#define SETTLE_US INT64_C(100000)  /* for the server to close after the app's own goodbye */
#define SAID_US INT64_C(300000)    /* for the server to close after ours; then it is told to */
enum { TERMINATE_BYTES = 5 };

struct adopted *sweep_duplicate_of(struct supervisor *s, const struct recorded_handle *handle)
{
    return adopted_find(&s->adopted, handle->last.inode, &handle->last.local);
}

enum target_kind sweep_kind_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    return (enum target_kind)s->kinds[handle->last.target];
}

bool sweep_has_transaction(const struct handle_row *row)
{
    return row->state == SESSION_ACTIVE || row->state == SESSION_IN_TRANSACTION ||
           row->state == SESSION_IN_FAILED_TRANSACTION || row->state == SESSION_WAITING;
}

/* The app ran no more code since its sessions were last seen: it stood still, and the signal ended it there. */
static bool ended_where_it_stood(const struct supervisor *s, unsigned i)
{
    return s->sweep.list[i].early || (s->lifecycle.signalled && s->lifecycle.ends_at_once);
}

/* Its transaction ended with the session: by us, or with its socket when the app ended in it. */
static bool cut_transaction(const struct supervisor *s, unsigned i)
{
    const struct recorded_handle *handle = &s->record.handles[i];
    bool ours = handle->outcome == OUTCOME_HANDED_BACK || handle->outcome == OUTCOME_ENDED_BY_COMMAND ||
                handle->outcome == OUTCOME_ORPHAN_ENDED;
    bool left = handle->last.state == SESSION_IN_TRANSACTION || handle->last.state == SESSION_IN_FAILED_TRANSACTION;
    bool with_socket = handle->outcome == OUTCOME_CLOSED_UNSEEN && left && s->last.frozen && ended_where_it_stood(s, i);
    return sweep_has_transaction(&handle->last) && (ours || with_socket);
}

/* Which of several sessions is its is not known, and they were not all seen at rest: its state may be another one's. */
static bool may_be_anothers(const struct supervisor *s, unsigned i)
{
    const struct handle_row *row = &s->record.handles[i].last;
    bool certain = row->known_by == KNOWN_EXACT || row->told_apart == 1 || !s->translated[row->target];
    return !certain && (s->lifecycle.gave_up || !ended_where_it_stood(s, i));
}

/* Its session was idle when the app had been frozen, and was ended before the app ran again. */
static bool was_over_when_frozen(const struct supervisor *s, unsigned i)
{
    const struct recorded_handle *handle = &s->record.handles[i];
    return s->sweep.list[i].early && handle->last.state == SESSION_IDLE && handle->outcome == OUTCOME_ENDED_BY_COMMAND;
}

/* What became of the transaction, now that the handle's outcome is known. One that began after the signal is counted
 * apart; without a duplicate nobody saw how an app that ran on ended it, or whether it began another. */
static void settle_transaction(struct supervisor *s, unsigned i)
{
    struct recorded_handle *handle = &s->record.handles[i];
    bool open = handle->in_flight_at_start && handle->transaction == TRANSACTION_NONE;
    bool unseen = !sweep_duplicate_of(s, handle) && sweep_kind_of(s, handle) != TARGET_REDIS;
    if (may_be_anothers(s, i)) {
        handle->transaction = open ? TRANSACTION_UNKNOWN : handle->transaction;
        handle->unseen_later |= !open && sweep_kind_of(s, handle) != TARGET_REDIS;
        return;
    }
    bool cut = cut_transaction(s, i), busy = sweep_has_transaction(&handle->last);
    if (handle->transaction == TRANSACTION_ABORTED)
        return; /* settled before the signal already */
    if (cut && open)
        handle->transaction = TRANSACTION_ABORTED;
    else if (cut)
        handle->aborted_later = true;
    else if (open)
        handle->transaction = handle->outcome == OUTCOME_CLOSED_BY_APP || was_over_when_frozen(s, i)
                                  ? TRANSACTION_FINISHED : TRANSACTION_UNKNOWN;
    else
        handle->unseen_later = unseen && (busy || !ended_where_it_stood(s, i));
}

void farewell_end(struct supervisor *s, unsigned i, enum outcome outcome, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = sweep_duplicate_of(s, handle);
    record_outcome(handle, outcome, now_us);
    record_timeline(handle, outcome_name(handle->outcome), now_us);
    settle_transaction(s, i);
    s->sweep.list[i].step = FAREWELL_OVER;
    if (adopted)
        adopted_release(adopted);
}

void farewell_step(struct supervisor *s, unsigned i, enum farewell step, int64_t now_us)
{
    s->sweep.list[i].step = step;
    s->sweep.list[i].since_us = now_us;
}

/* 0, or -1: no goodbye can be said here. Redis looks at the end of a blocked client's stream 100 ms later, and gives it
 * the next job until then: a command ends it at once. */
static int say(const struct supervisor *s, enum target_kind kind, const struct handle_row *row,
               const struct adopted *adopted)
{
    if (kind == TARGET_REDIS && row->state == SESSION_BLOCKED && s->keeper && agent_keeper_is_up(s->keeper))
        return -1;
    if (kind == TARGET_REDIS)
        return socket_end_stream(adopted->fd);
    if (row->tls == 1 || adopted_is_held_back(adopted) || row->state == SESSION_ACTIVE || row->state == SESSION_WAITING)
        return -1;
    return socket_say_terminate(adopted->fd);
}

/* Our goodbye on a handle that the app has left open. */
static void say_goodbye(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    enum target_kind kind = sweep_kind_of(s, handle);
    if (adopted_is_held_back(adopted) && kind != TARGET_POSTGRES) {
        socket_discard(adopted->fd); /* the client is gone, and nothing of what was held was ever sent */
        text_copy(handle->note, sizeof handle->note, "held: its unsent write was discarded, the connection reset");
        farewell_end(s, i, OUTCOME_HANDED_BACK, now_us);
        return;
    }
    bool was_said = say(s, kind, &handle->last, adopted) == 0;
    s->sweep.list[i].was_said = was_said;
    farewell_step(s, i, was_said ? FAREWELL_SAID : FAREWELL_TO_END, now_us);
}

/* After the signal it ran code of its own, and ended without SIGKILL. */
static bool ended_by_its_own_code(const struct supervisor *s)
{
    return !s->lifecycle.ends_at_once && s->record.exit_signal == 0;
}

/* An app that closed everything and ended before we looked again: its goodbye is held, as any write is. Five bytes are
 * Terminate, or Sync or Flush, which execute nothing in an idle session. Inside TLS sizes tell nothing. */
static bool goodbye_is_held(const struct supervisor *s, const struct recorded_handle *handle,
                            const struct adopted *adopted)
{
    struct socket_counters counters;
    return sweep_kind_of(s, handle) != TARGET_REDIS && handle->last.tls == 0 && handle->last.state == SESSION_IDLE &&
           adopted->row.unsent_bytes == 0 && socket_read_counters(adopted->fd, &counters) == 0 &&
           counters.unsent == TERMINATE_BYTES;
}

/* Inside TLS nobody can tell it from a query: PostgreSQL's goodbye is two records there, Terminate and close_notify, as
 * long together as one with a short statement. It is not let out, and the session is ended by command. */
static void note_perhaps_goodbye(const struct supervisor *s, struct recorded_handle *handle,
                                 const struct adopted *adopted)
{
    if (handle->last.tls == 1 && adopted->row.unsent_bytes == 0 && ended_by_its_own_code(s) &&
        adopted_is_held_back(adopted))
        text_copy(handle->note, sizeof handle->note, "its last write, perhaps a goodbye inside TLS, was not let out");
}

static void let_goodbye_out(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    socket_set_cork(adopted->fd, false);
    farewell_step(s, i, FAREWELL_SETTLING, now_us);
}

/* Redis' goodbye is the end of stream, which the kernel says at the end of a process as well. Whether the app closed it
 * in its last two milliseconds or left it open, nobody can tell. */
static void leave_unseen(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    socket_end_stream(adopted->fd);
    text_copy(s->record.handles[i].note, sizeof s->record.handles[i].note, "closed by the app, or by its end");
    farewell_end(s, i, OUTCOME_CLOSED_UNSEEN, now_us);
}

/* An app that the signal ended where it stood ran no more code: what moved since it was seen was no goodbye. */
static bool may_have_said_goodbye(const struct supervisor *s, const struct adopted *adopted)
{
    bool ran_on = !(s->lifecycle.signalled && s->lifecycle.ends_at_once);
    return adopted->fate != FATE_OPEN || (ran_on && adopted_has_sent_since(adopted));
}

/* The server has closed: on the app's goodbye, unless it had closed already when the app was last seen. */
static enum outcome closed_by(const struct adopted *adopted)
{
    return adopted->row.tcp_state == TCP_CLOSE_WAIT ? OUTCOME_ENDED_BY_SERVER : OUTCOME_CLOSED_BY_APP;
}

void farewell_begin(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = sweep_duplicate_of(s, handle);
    if (handle->outcome == OUTCOME_CLOSED_UNSEEN)
        farewell_step(s, i, FAREWELL_OVER, now_us); /* what became of its transaction was settled when it vanished */
    else if (handle->outcome != OUTCOME_OPEN)
        farewell_end(s, i, handle->outcome, now_us);
    else if (!adopted || adopted->fd < 0)
        farewell_step(s, i, FAREWELL_TO_END, now_us);
    else if (adopted_was_ended_by_server(adopted))
        farewell_end(s, i, OUTCOME_ENDED_BY_SERVER, now_us);
    else if (adopted_server_has_closed(adopted) == 1)
        farewell_end(s, i, closed_by(adopted), now_us);
    else if (sweep_kind_of(s, handle) == TARGET_REDIS && ended_by_its_own_code(s))
        leave_unseen(s, i, adopted, now_us);
    else if (goodbye_is_held(s, handle, adopted))
        let_goodbye_out(s, i, adopted, now_us);
    else if (may_have_said_goodbye(s, adopted))
        farewell_step(s, i, FAREWELL_SETTLING, now_us);
    else {
        note_perhaps_goodbye(s, handle, adopted);
        say_goodbye(s, i, adopted, now_us);
    }
}

static void watch_settling(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct adopted *adopted = sweep_duplicate_of(s, &s->record.handles[i]);
    if (adopted_server_has_closed(adopted) == 1)
        farewell_end(s, i, OUTCOME_CLOSED_BY_APP, now_us);
    else if (now_us - s->sweep.list[i].since_us >= SETTLE_US)
        say_goodbye(s, i, adopted, now_us);
}

/* Redis has heard the end of stream when our own is acknowledged; it closes on its side at once, too. */
static void watch_said(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct adopted *adopted = sweep_duplicate_of(s, &s->record.handles[i]);
    if (adopted_server_has_closed(adopted) == 1)
        farewell_end(s, i, OUTCOME_HANDED_BACK, now_us);
    else if (now_us - s->sweep.list[i].since_us >= SAID_US)
        farewell_step(s, i, FAREWELL_TO_END, now_us);
}

/* A held write leaves by itself when its timer fires, and would be executed for nobody. When the server has not ended
 * the session by then, the socket is reset instead: the session counts as abandoned, and nothing runs. */
static void watch_held(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = sweep_duplicate_of(s, handle);
    if (!adopted || adopted->fd < 0 || !sweep_leaves_soon(&handle->last, now_us) || !adopted_is_held_back(adopted))
        return;
    socket_discard(adopted->fd);
    text_copy(handle->note, sizeof handle->note, "its unsent write was discarded before the server ended the session");
}

static void watch_nothing(struct supervisor *s, unsigned i, int64_t now_us)
{
    (void)s, (void)i, (void)now_us;
}

typedef void watch_fn(struct supervisor *, unsigned, int64_t);
static watch_fn *const watch_by_step[] = {
    [FAREWELL_SETTLING] = watch_settling, [FAREWELL_SAID] = watch_said, [FAREWELL_TO_END] = watch_held,
    [FAREWELL_ASKED] = watch_held,        [FAREWELL_OVER] = watch_nothing};

void farewell_watch(struct supervisor *s, unsigned i, int64_t now_us)
{
    watch_by_step[s->sweep.list[i].step](s, i, now_us);
}
