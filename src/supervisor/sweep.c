/* The sweep: what the app has left open is ended by the server's own protocol, what outlived it by server command, and
 * every recorded handle gets its outcome.
 *
 * A duplicate keeps the socket open after the app has ended, so the goodbye can be said now: Terminate to PostgreSQL and
 * PgBouncer, end of stream to Redis. Where it cannot be said (inside TLS, a query still running, an unsent write, no
 * duplicate), the agent tells the server to end the session. A goodbye counts when the server has closed its side. */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "supervisor/state.h"

#define LOOK_US INT64_C(300000)    /* for the last look */
#define SETTLE_US INT64_C(100000)  /* for the server to close after the app's own goodbye */
#define SAID_US INT64_C(300000)    /* for the server to close after ours; then it is told to */
#define HELD_RESERVE_US INT64_C(12000) /* three jiffies at HZ=250 before a held write leaves */
#define DROPPED_US INT64_C(50000)  /* the app closed without a goodbye, the server still has it: we say it */
enum { LINGER_MS = 250, WAIT_MS = 1500, TERMINATE_BYTES = 5 };

static struct adopted *duplicate_of(struct supervisor *s, const struct recorded_handle *handle)
{
    return adopted_find(&s->adopted, handle->last.inode, &handle->last.local);
}

static enum target_kind kind_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    return (enum target_kind)s->kinds[handle->last.target];
}

static bool has_transaction(const struct handle_row *row)
{
    return row->state == SESSION_ACTIVE || row->state == SESSION_IN_TRANSACTION ||
           row->state == SESSION_IN_FAILED_TRANSACTION || row->state == SESSION_WAITING;
}

/* What became of the transaction, now that the handle's outcome is known. */
static void settle_transaction(struct supervisor *s, struct recorded_handle *handle)
{
    bool busy = has_transaction(&handle->last), open = handle->in_flight_at_start && handle->transaction == TRANSACTION_NONE;
    bool ours = handle->outcome == OUTCOME_HANDED_BACK || handle->outcome == OUTCOME_ENDED_BY_COMMAND ||
                handle->outcome == OUTCOME_ORPHAN_ENDED;
    bool began_later = !handle->in_flight_at_start || handle->transaction == TRANSACTION_FINISHED;
    /* Without a duplicate nobody saw how it ended, and an app that ran on after the last look may have begun another. */
    bool unseen = !duplicate_of(s, handle) && !(s->lifecycle.signalled && s->lifecycle.ends_at_once);
    if (busy && ours && began_later)
        handle->aborted_later = true;
    else if (busy && ours)
        handle->transaction = TRANSACTION_ABORTED;
    else if (handle->outcome == OUTCOME_CLOSED_BY_APP && open)
        handle->transaction = TRANSACTION_FINISHED; /* the app saw it through, and said goodbye */
    else if (open || (unseen && kind_of(s, handle) != TARGET_REDIS))
        handle->transaction = TRANSACTION_UNKNOWN;
}

static void over(struct supervisor *s, unsigned i, enum outcome outcome, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = duplicate_of(s, handle);
    record_outcome(handle, outcome, now_us);
    settle_transaction(s, handle);
    s->sweep.list[i].step = FAREWELL_OVER;
    if (adopted)
        adopted_release(adopted);
}

static void step_to(struct supervisor *s, unsigned i, enum farewell step, int64_t now_us)
{
    s->sweep.list[i].step = step;
    s->sweep.list[i].since_us = now_us;
}

static bool is_held_back(const struct adopted *adopted)
{
    struct socket_counters counters;
    return socket_read_counters(adopted->fd, &counters) == 0 && counters.unsent > 0;
}

/* Our goodbye on a handle that the app has left open. */
static void say_goodbye(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    bool redis = kind_of(s, handle) == TARGET_REDIS;
    if (is_held_back(adopted) && kind_of(s, handle) != TARGET_POSTGRES) {
        socket_discard(adopted->fd); /* the client is gone, and nothing of what was held was ever sent */
        text_copy(handle->note, sizeof handle->note, "held: its unsent write was discarded, the connection reset");
        over(s, i, OUTCOME_HANDED_BACK, now_us);
        return;
    }
    bool sayable = redis || (handle->last.tls != 1 && !is_held_back(adopted) && handle->last.state != SESSION_ACTIVE &&
                             handle->last.state != SESSION_WAITING);
    int said = !sayable ? -1 : redis ? socket_end_stream(adopted->fd) : socket_say_terminate(adopted->fd);
    s->sweep.list[i].was_said = said == 0;
    step_to(s, i, said == 0 ? FAREWELL_SAID : FAREWELL_TO_END, now_us);
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
    return kind_of(s, handle) != TARGET_REDIS && handle->last.tls == 0 && handle->last.state == SESSION_IDLE &&
           adopted->row.unsent_bytes == 0 && socket_read_counters(adopted->fd, &counters) == 0 &&
           counters.unsent == TERMINATE_BYTES;
}

static void let_goodbye_out(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    socket_set_cork(adopted->fd, false);
    step_to(s, i, FAREWELL_SETTLING, now_us);
}

/* Redis' goodbye is the end of stream, which the kernel says at the end of a process as well. Whether the app closed it in
 * its last two milliseconds or left it open, nobody can tell. */
static void leave_unseen(struct supervisor *s, unsigned i, struct adopted *adopted, int64_t now_us)
{
    socket_end_stream(adopted->fd);
    text_copy(s->record.handles[i].note, sizeof s->record.handles[i].note, "closed by the app, or by its end");
    over(s, i, OUTCOME_CLOSED_UNSEEN, now_us);
}

static void begin_farewell(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = duplicate_of(s, handle);
    if (handle->outcome != OUTCOME_OPEN)
        over(s, i, handle->outcome, now_us);
    else if (!adopted || adopted->fd < 0)
        step_to(s, i, FAREWELL_TO_END, now_us);
    else if (adopted_was_ended_by_server(adopted))
        over(s, i, OUTCOME_ENDED_BY_SERVER, now_us);
    else if (adopted_server_has_closed(adopted) == 1)
        over(s, i, adopted->row.tcp_state == TCP_CLOSE_WAIT ? OUTCOME_ENDED_BY_SERVER : OUTCOME_CLOSED_BY_APP, now_us);
    else if (kind_of(s, handle) == TARGET_REDIS && ended_by_its_own_code(s))
        leave_unseen(s, i, adopted, now_us);
    else if (goodbye_is_held(s, handle, adopted))
        let_goodbye_out(s, i, adopted, now_us);
    else if (adopted->fate != FATE_OPEN || adopted_has_sent_since(adopted))
        step_to(s, i, FAREWELL_SETTLING, now_us);
    else
        say_goodbye(s, i, adopted, now_us);
}

static void watch_settling(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct adopted *adopted = duplicate_of(s, &s->record.handles[i]);
    if (adopted_server_has_closed(adopted) == 1)
        over(s, i, OUTCOME_CLOSED_BY_APP, now_us);
    else if (now_us - s->sweep.list[i].since_us >= SETTLE_US)
        say_goodbye(s, i, adopted, now_us);
}

/* Redis has heard the end of stream when our own is acknowledged; it closes on its side at once, too. */
static void watch_said(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct adopted *adopted = duplicate_of(s, &s->record.handles[i]);
    if (adopted_server_has_closed(adopted) == 1)
        over(s, i, OUTCOME_HANDED_BACK, now_us);
    else if (now_us - s->sweep.list[i].since_us >= SAID_US)
        step_to(s, i, FAREWELL_TO_END, now_us);
}

static bool leaves_soon(const struct handle_row *row, int64_t now_us)
{
    return row->timer && now_us >= row->looked_at_us + row->timer_ms * US_PER_MS - HELD_RESERVE_US;
}

/* A held write leaves by itself when its timer fires, and would be executed for nobody. When the server has not ended the
 * session by then, the socket is reset instead: the session counts as abandoned, and nothing runs. */
static void watch_held(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = duplicate_of(s, handle);
    if (!adopted || adopted->fd < 0 || !leaves_soon(&handle->last, now_us) || !is_held_back(adopted))
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

/* A pooler that works for a client is not told: its backend is, by the server behind it. */
static bool ends_behind_pooler(const struct supervisor *s, const struct recorded_handle *handle)
{
    /* A sample is too old to tell: by now the backend may work for another client. */
    return s->record.is_stop && handle->last.server_session && looks_server_of(s, handle->last.target) >= 0;
}

static unsigned end_target_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    int server = looks_server_of(s, handle->last.target);
    return ends_behind_pooler(s, handle) ? (unsigned)server : handle->last.target;
}

static struct end_session end_session_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    if (ends_behind_pooler(s, handle))
        return (struct end_session){.session = handle->last.server_session};
    return (struct end_session){handle->last.session, handle->last.session_start};
}

static bool can_be_ended(const struct supervisor *s, const struct recorded_handle *handle)
{
    return end_session_of(s, handle).session != 0;
}

static unsigned collect(struct supervisor *s, unsigned target, bool lingering, struct end_session *sessions, unsigned *who)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->sweep.count && count < WIRE_SESSIONS; i++) {
        struct recorded_handle *handle = &s->record.handles[i];
        bool lingers = s->sweep.list[i].was_said || !duplicate_of(s, handle);
        if (s->sweep.list[i].step != FAREWELL_TO_END || end_target_of(s, handle) != target || lingers != lingering ||
            !can_be_ended(s, handle))
            continue;
        sessions[count] = end_session_of(s, handle);
        who[count++] = i;
    }
    return count;
}

/* A session whose app is gone may be ending by itself: it has a moment before it is told to. */
static void ask_to_end(struct supervisor *s, unsigned target, bool lingering, int64_t now_us)
{
    struct end_session sessions[WIRE_SESSIONS];
    unsigned who[WIRE_SESSIONS];
    unsigned count = collect(s, target, lingering, sessions, who);
    struct agent_end end = {.request = s->sweep.request + 1, .target = target, .only_if_still_there = lingering,
                            .linger_ms = lingering ? LINGER_MS : 0, .wait_ms = WAIT_MS, .sessions = sessions,
                            .count = count};
    if (count == 0 || agent_keeper_end(s->keeper, &end) < 0)
        return;
    s->sweep.request++;
    for (unsigned k = 0; k < count; k++) {
        step_to(s, who[k], FAREWELL_ASKED, now_us);
        s->sweep.list[who[k]].request = end.request;
    }
}

static void ask_all(struct supervisor *s, int64_t now_us)
{
    if (!s->keeper || !agent_keeper_is_up(s->keeper))
        return;
    for (unsigned target = 0; target < s->config->target_count; target++) {
        ask_to_end(s, target, false, now_us);
        ask_to_end(s, target, true, now_us);
    }
}

/* Nobody can be told to end it, and nobody can say how it ended: the kernel has closed it when the app ended. */
static void give_up_unknowable(struct supervisor *s, int64_t now_us)
{
    for (unsigned i = 0; i < s->sweep.count; i++) {
        struct recorded_handle *handle = &s->record.handles[i];
        if (s->sweep.list[i].step != FAREWELL_TO_END || can_be_ended(s, handle))
            continue;
        struct adopted *adopted = duplicate_of(s, handle);
        snprintf(handle->note, sizeof handle->note, "its session is not known");
        if (adopted && adopted->fd >= 0) /* what is held must not leave: the end of a start-up would make a session yet */
            (void)(is_held_back(adopted) ? socket_discard(adopted->fd) : socket_end_stream(adopted->fd));
        over(s, i, s->sweep.list[i].was_said ? OUTCOME_HANDED_BACK : OUTCOME_CLOSED_UNSEEN, now_us);
    }
}

static bool all_over(const struct sweep *sweep)
{
    for (unsigned i = 0; i < sweep->count; i++)
        if (sweep->list[i].step != FAREWELL_OVER)
            return false;
    return true;
}

static void watch_farewells(struct supervisor *s, int64_t now_us)
{
    for (unsigned i = 0; i < s->sweep.count; i++)
        watch_by_step[s->sweep.list[i].step](s, i, now_us);
    ask_all(s, now_us);
    give_up_unknowable(s, now_us);
    if (all_over(&s->sweep) && s->lifecycle.phase == PHASE_SWEEPING)
        supervisor_post(s, EVENT_SWEPT);
}

static void begin_farewells(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    s->sweep.looking = false;
    s->sweep.list = calloc(s->record.handle_count ? s->record.handle_count : 1, sizeof *s->sweep.list);
    s->sweep.count = s->sweep.list ? s->record.handle_count : 0;
    for (unsigned i = 0; i < s->sweep.count; i++)
        begin_farewell(s, i, now_us);
    watch_farewells(s, now_us);
}

/* Has anything moved on it since its row was seen? Then nobody knows its session's state. */
static bool is_stale(const struct adopted *adopted)
{
    struct socket_counters counters;
    return adopted->fd >= 0 && socket_read_counters(adopted->fd, &counters) == 0 &&
           (counters.sent != adopted->row.bytes_sent || counters.received != adopted->row.bytes_received);
}

static bool some_are_stale(const struct adopted_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (is_stale(&table->list[i]))
            return true;
    return false;
}

/* An app that ended while it ran has left sessions in states that no look has seen: one more look, while our duplicates
 * keep them open, tells which of them have a transaction. */
void sweep_begin(struct supervisor *s)
{
    s->sweep.begun = true;
    s->sweep.looking_since_us = clock_now_us();
    s->sweep.looking = some_are_stale(&s->adopted) && looks_ask_for_own(s);
    if (!s->sweep.looking)
        begin_farewells(s);
}

static void take_last_state(struct supervisor *s, const struct handle_row *row)
{
    struct recorded_handle *handle = record_find(&s->record, row->inode, &row->local);
    struct adopted *adopted = adopted_find(&s->adopted, row->inode, &row->local);
    if (!handle || !adopted)
        return;
    int32_t pid = handle->last.pid, fd = handle->last.fd; /* the app's, not our duplicate's */
    handle->last = *row;
    handle->last.pid = pid;
    handle->last.fd = fd;
}

void sweep_facts(struct supervisor *s, const struct facts *facts)
{
    if (!s->sweep.looking)
        return;
    for (size_t i = 0; i < facts->count; i++)
        take_last_state(s, &facts->rows[i]);
    begin_farewells(s);
}

/* The app lives, and has closed this one: with a goodbye (the server has closed, too), or without. */
static void watch_dropped(struct supervisor *s, struct adopted *adopted, struct recorded_handle *handle, int64_t now_us)
{
    bool redis = kind_of(s, handle) == TARGET_REDIS; /* its goodbye is the end of stream that our duplicate keeps back */
    if (adopted->fate == FATE_CLOSED || redis) {
        record_outcome(handle, OUTCOME_CLOSED_BY_APP, now_us);
        record_timeline(handle, "closed", now_us);
        adopted_release(adopted);
        return;
    }
    if (now_us - adopted->dropped_at_us < DROPPED_US || handle->last.tls == 1)
        return; /* inside TLS it is ended by command when the app has ended */
    if (socket_say_terminate(adopted->fd) == 0)
        record_outcome(handle, OUTCOME_HANDED_BACK, now_us);
    snprintf(handle->note, sizeof handle->note, "closed by the app without a goodbye");
    record_timeline(handle, "dropped", now_us);
    adopted_release(adopted);
}

static void watch_living(struct supervisor *s, int64_t now_us)
{
    adopted_watch(&s->adopted, now_us);
    for (size_t i = 0; i < s->adopted.count; i++) {
        struct adopted *adopted = &s->adopted.list[i];
        struct recorded_handle *handle = record_find(&s->record, adopted->row.inode, &adopted->row.local);
        if (adopted->fd >= 0 && adopted->fate != FATE_OPEN && handle)
            watch_dropped(s, adopted, handle, now_us);
    }
}

/* While others are still being killed, what the dead have left held must not leave by itself either. */
static void watch_dying(struct supervisor *s, int64_t now_us)
{
    for (size_t i = 0; i < s->adopted.count; i++) {
        struct adopted *adopted = &s->adopted.list[i];
        bool dead = s->lifecycle.phase == PHASE_KILLING || (kill(adopted->row.pid, 0) < 0 && errno == ESRCH);
        if (dead && adopted->fd >= 0 && leaves_soon(&adopted->row, now_us) && is_held_back(adopted))
            socket_discard(adopted->fd);
    }
}

void sweep_watch(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    if (s->sweep.looking && now_us - s->sweep.looking_since_us >= LOOK_US)
        begin_farewells(s);
    else if (s->sweep.looking)
        return;
    else if (s->sweep.begun)
        watch_farewells(s, now_us);
    else {
        watch_dying(s, now_us);
        if (!s->main_ended)
            watch_living(s, now_us);
    }
}

static enum outcome outcome_of(const struct farewell_of *farewell, enum ended_how how, bool had_duplicate)
{
    if (how == ENDED_BY_COMMAND)
        return had_duplicate ? OUTCOME_ENDED_BY_COMMAND : OUTCOME_ORPHAN_ENDED;
    if (how == ENDED_BY_ITSELF)
        return farewell->was_said ? OUTCOME_HANDED_BACK
               : had_duplicate    ? OUTCOME_CLOSED_BY_APP /* our duplicate kept the socket open: only a goodbye ends it */
                                  : OUTCOME_CLOSED_UNSEEN;
    return OUTCOME_STILL_THERE;
}

/* PgBouncer and Redis may refuse the command; the end of stream still reaches them, and ends the session. */
static void end_refused(struct supervisor *s, unsigned i, const char *why, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = duplicate_of(s, handle);
    bool pooler = kind_of(s, handle) != TARGET_POSTGRES && !has_transaction(&handle->last);
    text_copy(handle->note, sizeof handle->note, why);
    if (adopted && adopted->fd >= 0 && socket_end_stream(adopted->fd) == 0 && pooler) {
        over(s, i, OUTCOME_HANDED_BACK, now_us);
        return;
    }
    over(s, i, OUTCOME_STILL_THERE, now_us);
}

void sweep_ended(void *supervisor, const struct message_ended *ended)
{
    struct supervisor *s = supervisor;
    int64_t now_us = clock_now_us();
    unsigned k = 0;
    for (unsigned i = 0; i < s->sweep.count && k < ended->header.count; i++) {
        struct farewell_of *farewell = &s->sweep.list[i];
        if (farewell->step != FAREWELL_ASKED || farewell->request != ended->request)
            continue;
        enum ended_how how = (enum ended_how)ended->how[k++];
        enum outcome outcome = outcome_of(farewell, how, duplicate_of(s, &s->record.handles[i]) != NULL);
        if (outcome == OUTCOME_STILL_THERE)
            end_refused(s, i, ended->why, now_us);
        else
            over(s, i, outcome, now_us);
    }
    watch_farewells(s, now_us);
}

void sweep_agent_lost(struct supervisor *s)
{
    if (s->sweep.looking)
        begin_farewells(s);
    for (unsigned i = 0; i < s->sweep.count; i++)
        if (s->sweep.list[i].step == FAREWELL_ASKED)
            s->sweep.list[i].step = FAREWELL_TO_END; /* asked again when there is an agent again */
}

static void finish_one(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    bool said = s->sweep.list[i].was_said;
    if (s->sweep.list[i].step == FAREWELL_OVER)
        return;
    snprintf(handle->note, sizeof handle->note, said ? "the server has not closed it yet"
                                                     : "nobody answered whether the server has ended it");
    over(s, i, said ? OUTCOME_HANDED_BACK : OUTCOME_STILL_THERE, now_us);
}

void sweep_finish(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    if (s->sweep.looking)
        begin_farewells(s);
    for (unsigned i = 0; i < s->sweep.count; i++)
        finish_one(s, i, now_us);
    adopted_finish(&s->adopted);
    free(s->sweep.list);
    s->sweep.list = NULL;
    s->sweep.count = 0;
}
