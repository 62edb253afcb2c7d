/* Rounds: every handle is classified, then the stage decides the marks, then: is all still? Pure: no I/O.
 *
 * LEARN    until it is known for every open transaction which thread waits for it, or that an event loop does: every
 *          handle is corked, and after a moment each write is let out as soon as a round sees it.
 * GATHER   brakes on, until nothing is in flight: whoever arrives at its boundary stays there. A thread that has a
 *          transaction open on A and waits for B is let through on B.
 * RELEASE  all brakes off at once: the app reads its replies, its next writes stay corked, and all is still. */
#include "supervisor/hold/hold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/hold/history.h"

#define STILL_SPAN_US INT64_C(10000)    /* no byte moved for so long: a COMMIT's answer is where it is written down */
#define REGATHER_US INT64_C(120000)
#define TELL_US INT64_C(1000000)        /* then the others are gathered, and it goes on beside that */
#define WITHOUT_REDIS_US INT64_C(60000) /* an app often writes to Redis right after its COMMIT: it gets to */
#define COMMITTED_US INT64_C(400000)    /* twice what a held write lasts */
#define BUSY_SPAN_US INT64_C(40000)     /* and for this long while a thread of the app runs: it may be about to write */
#define BLOCKING_US INT64_C(100000)     /* a gathering that takes longer than this may outlast what a cork holds */
#define ANSWER_LIMIT_US INT64_C(20000)  /* a slower answer proves nothing about a backend */
enum {
    LEFT_LEAST_MS = 60,                 /* a held write must stay held for this long, and two round trips */
    LEFT_ALIGNED_MS = 120,              /* and for this long when a release begins that is to be the last one */
    TIMER_RETRANSMIT = 1, TIMER_PROBE = 4, /* idiag_timer: what sends a queue; the cork's is a probe */
};

static bool only_redis(const struct hold *hold)
{
    for (unsigned i = 0; i < WIRE_TARGETS; i++)
        if (hold->kinds[i] == TARGET_POSTGRES || hold->kinds[i] == TARGET_PGBOUNCER)
            return false;
    return true;
}

void hold_init(struct hold *hold, enum hold_way way, const uint8_t kinds[static WIRE_TARGETS],
               int64_t leak_transaction_us, int64_t now_us)
{
    *hold = (struct hold){.way = way, .leak_transaction_us = leak_transaction_us, .began_us = now_us,
                          .moved_at_us = now_us};
    memcpy(hold->kinds, kinds, sizeof hold->kinds);
    hold->with_redis = only_redis(hold);
}

void hold_finish(struct hold *hold)
{
    free(hold->handles);
    free(hold->orders);
    free(hold->standings);
    free(hold->open_threads);
    *hold = (struct hold){0};
}

static const char *const standing_names[] = {
    [STANDING_IN_FLIGHT] = "in flight", [STANDING_IDLE] = "idle", [STANDING_PARKED] = "parked",
    [STANDING_HELD] = "held", [STANDING_EXEMPT] = "exempt", [STANDING_GIVEN_UP] = "given up"};

const char *standing_name(enum standing standing)
{
    return standing < STANDINGS ? standing_names[standing] : "?";
}

static bool make_room(struct hold *hold, size_t rows)
{
    if (rows > hold->standing_room) {
        uint8_t *standings = realloc(hold->standings, rows);
        if (!standings)
            return false;
        hold->standings = standings;
        hold->standing_room = rows;
    }
    if (rows > hold->order_room) {
        struct hold_order *orders = realloc(hold->orders, rows * sizeof *orders);
        if (!orders)
            return false;
        hold->orders = orders;
        hold->order_room = rows;
    }
    return true;
}

/* How long the server took to answer for this row's target, or -1 when it did not. */
static int64_t answer_of(const struct facts *facts, unsigned target)
{
    for (size_t i = 0; i < facts->target_count; i++)
        if (facts->targets[i].target == target && facts->targets[i].answered)
            return facts->targets[i].answer_us;
    return -1;
}

static void count_answer(struct hold_handle *handle, int64_t answer_us, int64_t rtt_us, int64_t now_us)
{
    if (answer_us < 0)
        return;
    if (answer_us > ANSWER_LIMIT_US + rtt_us) { /* the wire's own time is not the server's */
        handle->answers = 0;
        return;
    }
    if (handle->answers++ == 0)
        handle->first_answer_us = now_us;
}

static void say_why(struct hold *hold, const struct handle_row *row, const struct hold_handle *handle)
{
    if (!hold->why[0])
        snprintf(hold->why, sizeof hold->why, "fd %d of pid %d: session %s%s", row->fd, row->pid,
                 session_state_name(row->state), handle->unknown ? ", not known to be answered" : "");
}

static bool is_redis(const struct hold *hold, const struct handle_row *row)
{
    return row->target < WIRE_TARGETS && hold->kinds[row->target] == TARGET_REDIS;
}

/* Nothing waits for a Redis handle in flight while Redis is not held, unless it is between MULTI and EXEC. */
bool hold_runs_unmarked(const struct hold *hold, const struct handle_row *row)
{
    return is_redis(hold, row) && !hold->with_redis;
}

/* Its flow was at work in this hold, and has not begun anew since: what follows the transaction may be under way. */
static void note_committed(struct hold *hold, struct hold_handle *handle, const struct handle_row *row)
{
    bool flying = handle->standing == STANDING_IN_FLIGHT || handle->standing == STANDING_PARKED;
    if (is_redis(hold, row))
        return;
    handle->worked = flying || (handle->worked && handle->standing == STANDING_IDLE);
    hold->committed += handle->worked && !flying;
}

static void count_standing(struct hold *hold, const struct handle_row *row, const struct hold_handle *handle)
{
    hold->counted.by_standing[handle->standing]++;
    hold->counted.handles++;
    hold->others |= !is_redis(hold, row);
    if (handle->standing != STANDING_IN_FLIGHT)
        return;
    hold->counted.unknown += handle->unknown;
    hold->gathering += !hold_runs_unmarked(hold, row) || handle->open;
    hold->gathering_others += !is_redis(hold, row);
    hold->at_work |= !handle->starting;
    hold->any_open |= handle->open && !handle->starting;
    say_why(hold, row, handle);
}

/* A held write that would leave by itself too soon: it is sent, and held again at its next boundary. The time since the
 * look counts. */
static bool leaves_within(const struct hold_handle *handle, const struct handle_row *row, int64_t least_ms,
                          int64_t now_us)
{
    bool runs = row->timer == TIMER_RETRANSMIT || row->timer == TIMER_PROBE;
    int64_t since_ms = row->looked_at_us > 0 && row->looked_at_us < now_us ? (now_us - row->looked_at_us) / 1000 : 0;
    return handle->standing == STANDING_HELD && runs &&
           row->timer_ms < least_ms + 2 * (int64_t)row->rtt_us / 1000 + since_ms;
}

/* Exempt and given up handles may move as they like, and a start-up that carries nothing yet, once it is corked. */
static bool matters(const struct hold_handle *handle)
{
    return handle->standing != STANDING_EXEMPT && handle->standing != STANDING_GIVEN_UP &&
           !(handle->starting && handle->standing == STANDING_IDLE && handle->has_base);
}

static bool look_at_row(struct hold *hold, const struct facts *facts, size_t i, const struct hold_hint *hint,
                        int64_t now_us)
{
    const struct handle_row *row = &facts->rows[i];
    struct hold_handle *handle = history_of(hold, row, i);
    if (!handle)
        return false;
    int64_t quiet_since_us = handle->quiet_since_us;
    handle->appeared |= handle->round == 0 && hold->round > 1;
    hold->missed |= handle->appeared; /* who connects anew takes long to read all that is released */
    handle->was_open = handle->round && handle->standing == STANDING_IN_FLIGHT && handle->open;
    bool in_transaction = handle->was_open && handle->app_turn;
    bool moved = history_notes_movement(handle, row, now_us);
    if (moved && in_transaction && !hold->guessed_at_us && now_us - quiet_since_us > hold->gap_us)
        hold->gap_us = now_us - quiet_since_us;
    count_answer(handle, answer_of(facts, row->target), row->rtt_us, now_us);
    enum standing before = handle->round ? handle->standing : STANDING_IN_FLIGHT;
    bool was_answered = handle->answered;
    classify_handle(hold, handle, row, hint, now_us);
    if (hold_runs_unmarked(hold, row) && row->state != SESSION_IN_TRANSACTION)
        handle->open = false;
    bool begins = was_answered && before != STANDING_HELD && (handle->open || handle->standing == STANDING_HELD);
    if (begins || history_is_new_transaction(handle, row))
        handle->thread = 0; /* a new transaction: perhaps another thread's, out of a pool */
    flows_note(hold, handle, row, hint, before);
    note_committed(hold, handle, row);
    hold->others_moved |= moved && matters(handle) && !is_redis(hold, row);
    history_keep(handle, row);
    handle->round = hold->round;
    bool has_moved = handle->quiet_since_us > handle->first_seen_us;
    hold->telling |= row->told_apart == 255 && !is_redis(hold, row) && has_moved && now_us - hold->began_us < TELL_US;
    if (moved && matters(handle))
        hold->moved_at_us = now_us;
    handle->leaving = leaves_within(handle, row, LEFT_LEAST_MS, now_us);
    hold->leaving += handle->leaving;
    handle->behind = hold->missed && hold->stage == STAGE_GATHER && !handle->through &&
                     (!handle->blocking || hold->brake_blocking) &&
                     leaves_within(handle, row, LEFT_ALIGNED_MS, now_us);
    hold->behind += handle->behind;
    hold->standings[i] = (uint8_t)handle->standing;
    count_standing(hold, row, handle);
    return true;
}

static bool is_busy(const struct handle_row *row)
{
    return row->state == SESSION_ACTIVE || row->state == SESSION_IN_TRANSACTION || row->state == SESSION_WAITING ||
           row->state == SESSION_IN_FAILED_TRANSACTION;
}

/* One of those that are joined by a guess may be busy: a session is, or there are not enough for all of them. Who has
 * none by now need not be the one that has none: another one may be in its start-up, with a session that is not its. */
static bool mixes(const struct handle_row *row)
{
    bool has_none = row->known_by == KNOWN_SOCKET_ONLY && row->told_apart == 255 && row->state == SESSION_UNKNOWN;
    return has_none || (row->known_by == KNOWN_BY_NAME && row->told_apart != 1 && is_busy(row));
}

static void find_mixed(struct hold *hold, const struct facts *facts)
{
    memset(hold->mixed, 0, sizeof hold->mixed);
    for (size_t i = 0; i < facts->count; i++)
        if (facts->rows[i].target < WIRE_TARGETS)
            hold->mixed[facts->rows[i].target] |= mixes(&facts->rows[i]);
}

static bool look_at_rows(struct hold *hold, const struct facts *facts, const struct hold_hint *hints, int64_t now_us)
{
    bool ok = true;
    hold->round++;
    hold->counted = (struct hold_count){0};
    hold->any_open = hold->at_work = hold->waited_on = hold->nudge = false;
    hold->gathering = hold->gathering_others = hold->leaving = hold->behind = hold->committed = 0;
    hold->others = hold->others_moved = hold->runs = hold->telling = false;
    hold->why[0] = 0;
    find_mixed(hold, facts);
    for (size_t i = 0; i < facts->count; i++) {
        ok &= look_at_row(hold, facts, i, hints ? &hints[i] : NULL, now_us);
        hold->hinted |= hints && hints[i].waited != WAITED_UNKNOWN;
        hold->runs |= hints && hints[i].running;
    }
    if (history_forget(hold) > 0)
        hold->moved_at_us = now_us;
    return ok;
}

static bool all_open_are_known(const struct hold *hold)
{
    for (size_t i = 0; i < hold->count; i++) {
        const struct hold_handle *h = &hold->handles[i];
        if (h->standing == STANDING_IN_FLIGHT && h->open && !h->starting && !h->thread && !h->by_loop)
            return false;
    }
    return true;
}

static bool some_are_blocking(const struct hold *hold)
{
    for (size_t i = 0; i < hold->count; i++)
        if (hold->handles[i].blocking && hold->handles[i].corked)
            return true;
    return false;
}

static void enter_gather(struct hold *hold, int64_t now_us)
{
    hold->stage = STAGE_GATHER;
    hold->gather_since_us = now_us;
}

/* Redis is held, too, when nothing else has been under way for a while: what follows a COMMIT has had its time; or when
 * there is nothing else at all. As long as a flow that has committed has not begun anew it may be in that part still,
 * on a machine that is slow just now: it has much more time. */
static void hold_redis_too(struct hold *hold, int64_t now_us)
{
    int64_t enough_us = hold->committed > 0 ? COMMITTED_US : WITHOUT_REDIS_US;
    bool alone = hold->gathering_others == 0 && hold->stage != STAGE_LEARN &&
                 (hold->stage == STAGE_RELEASE || hold->counted.by_standing[STANDING_PARKED] == 0);
    if (!alone || !hold->redis_alone_since_us || hold->others_moved)
        hold->redis_alone_since_us = alone ? now_us : 0;
    hold->with_redis |= !hold->others || (alone && now_us - hold->redis_alone_since_us >= enough_us);
}

/* What is held begins to leave while others are still under way: the window was missed. From then on all are parked
 * before the next one, which they begin together. */
static bool out_of_step(struct hold *hold)
{
    bool missed = hold->leaving > 0 && hold->gathering > 0;
    hold->missed |= missed;
    return missed;
}

/* Back to GATHER only when something stays open for so long that what is held would leave by itself. */
static void change_stage(struct hold *hold, int64_t now_us)
{
    if (hold->stage == STAGE_LEARN && hold->round > 1 && !hold->telling && all_open_are_known(hold))
        enter_gather(hold, now_us);
    else if (hold->stage == STAGE_GATHER && hold->gathering == 0 && hold->behind == 0 && !hold->resting) {
        hold->stage = STAGE_RELEASE;
        hold->released_at_us = now_us;
        flows_forget_guesses(hold);
    } else if (hold->stage == STAGE_RELEASE && (now_us - hold->closed_at_us >= REGATHER_US || out_of_step(hold)))
        enter_gather(hold, now_us);
    if (hold->stage == STAGE_GATHER && now_us - hold->gather_since_us >= BLOCKING_US && hold->hinted)
        hold->brake_blocking |= some_are_blocking(hold);
    if (hold->stage != STAGE_RELEASE || !hold->any_open)
        hold->closed_at_us = now_us;
    hold_redis_too(hold, now_us);
}

static bool is_still(struct hold *hold, const struct facts *facts, int64_t now_us)
{
    const unsigned *n = hold->counted.by_standing;
    if (hold->resting && hold->way == HOLD_MARKS)
        return hold->stage != STAGE_LEARN && n[STANDING_IN_FLIGHT] == 0 && facts->sockets_seen && facts->owners_seen;
    bool released = hold->way == HOLD_WATCH || hold->stage == STAGE_RELEASE;
    hold->near = released && n[STANDING_IN_FLIGHT] == 0 && n[STANDING_PARKED] == 0;
    return hold->near && facts->sockets_seen && facts->owners_seen && hold->leaving == 0 &&
           now_us - hold->moved_at_us >= (hold->runs ? BUSY_SPAN_US : STILL_SPAN_US);
}

bool hold_round(struct hold *hold, const struct facts *facts, const struct hold_hint *hints, bool frozen,
                int64_t now_us)
{
    hold->order_count = 0;
    if (!make_room(hold, facts->count) || !look_at_rows(hold, facts, hints, now_us))
        return false;
    bool still = is_still(hold, facts, now_us);
    if (hold->way == HOLD_WATCH || frozen)
        return still;
    if (!still)
        change_stage(hold, now_us);
    if (!still || hold->resting) /* who rests, rests marked */
        orders_give(hold, facts, hints, now_us);
    return still;
}

bool hold_wants_hints(const struct hold *hold)
{
    return (hold->way == HOLD_MARKS && (hold->stage != STAGE_RELEASE || hold->any_open)) || hold->waited_on ||
           hold->near;
}

void hold_note_base(struct hold *hold, const struct handle_row *row, const struct hold_base *base, bool stepped)
{
    struct hold_handle *handle = history_find(hold, row, 0);
    if (!handle)
        return;
    handle->blocking = base->blocking;
    handle->braked &= !base->blocking || hold->brake_blocking;
    if (handle->has_base && base->unsent == 0 && base->sent == handle->base_sent)
        return; /* nothing has left since the older one, which knows more about what came in */
    handle->has_base = true;
    handle->base_sent = base->sent + (stepped ? base->unsent : 0);
    handle->base_received = base->received;
}

void hold_note_unmarked(struct hold *hold, const struct handle_row *row)
{
    struct hold_handle *handle = history_find(hold, row, 0);
    if (handle)
        handle->has_base = handle->corked = handle->braked = false;
}

void hold_give_up(struct hold *hold)
{
    for (size_t i = 0; i < hold->count; i++)
        hold->handles[i].given_up |= hold->handles[i].standing == STANDING_IN_FLIGHT;
}

void hold_restart(struct hold *hold)
{
    hold->stage = STAGE_LEARN;
    hold->missed = false;
    for (size_t i = 0; i < hold->count; i++)
        hold->handles[i].has_base = hold->handles[i].corked = hold->handles[i].braked = false;
}
