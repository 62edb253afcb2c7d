/* Orders: which marks each handle gets after a round, by its stage. Pure: no I/O.
 *
 * A step too many costs a query, a step too few a transaction: whatever is in flight is let on. */
#include "supervisor/hold/history.h"

#define LEARN_US INT64_C(25000) /* a thread works for less between two statements, mostly */
enum { UNWAITED_MOST = 2, TELL_ROUNDS = 4 };

/* Marks are for TCP whose counters are seen: by /proc/net alone no boundary can be told. For Redis only when stillness
 * does not come without. What is exempt gets none, and keeps no brake. */
static bool can_be_marked(const struct hold *hold, const struct hold_handle *handle, const struct handle_row *row)
{
    if (handle->standing == STANDING_EXEMPT)
        return handle->corked;
    return row->tcp_state != 0 && row->has_info && !hold_runs_unmarked(hold, row);
}

/* Whose is the write that is seen here? A thread that runs may be between its write and its wait: twice that is put
 * down to chance. Who waits was seen after the server had been asked: a session that was active then may have been
 * answered since, unless the next round finds it as it was. Who waits for a start-up alone may be an event loop all the
 * same. */
static void learn(struct hold_handle *handle, const struct handle_row *row, const struct hold_hint *hint)
{
    bool asked = row->unsent_bytes > 0 || (row->state == SESSION_ACTIVE && !handle->moved);
    if (handle->starting)
        return;
    if (hint && hint->waited == WAITED_ALONE) {
        handle->thread = hint->thread;
        handle->by_loop = false;
    } else if (!hint || hint->waited == WAITED_UNKNOWN || hint->waited == WAITED_WITH_OTHERS || row->epoll == 1)
        handle->by_loop = true;
    else if (asked && (!hint->running || ++handle->unwaited > UNWAITED_MOST))
        handle->by_loop = true;
}

static struct hold_order order_exempt(const struct handle_row *row)
{
    return (struct hold_order){.cork = true, .step = row->unsent_bytes > 0};
}

static struct hold_order order_learn(const struct hold *hold, const struct hold_handle *handle,
                                     const struct handle_row *row)
{
    (void)hold, (void)handle;
    return (struct hold_order){.cork = true, .step = row->unsent_bytes > 0};
}

/* The app reads what has arrived when its transaction needs that. While the server still works, and waits for nothing
 * from it, it does not: with each reply read, a pipeline sends one more request, and never runs dry. (A reply larger
 * than the brake wakes the app by itself.) */
static bool may_read(const struct handle_row *row)
{
    bool works = row->state == SESSION_ACTIVE && row->waits_for_client == 0 && row->unsent_bytes == 0;
    return row->unread_bytes > 0 && !works;
}

/* In flight: woken up for what has arrived, asleep for what will arrive; at its boundary: asleep. A start-up goes on:
 * the thread that connects may have others to serve. */
static struct hold_order order_gather(const struct hold *hold, const struct hold_handle *handle,
                                      const struct handle_row *row)
{
    (void)hold;
    bool flying = handle->standing == STANDING_IN_FLIGHT || handle->standing == STANDING_GIVEN_UP || handle->starting;
    return (struct hold_order){.cork = true,
                               .brake = !handle->starting && !(flying && may_read(row) && !handle->blocking),
                               .step = (flying && row->unsent_bytes > 0) || handle->behind};
}

/* Nobody is braked: what has gone into flight again is stepped to its next boundary, and stays there held. A start-up
 * that nobody waits for any more stands where it is, unless it cannot be told from a handle in flight. */
static struct hold_order order_release(const struct hold *hold, const struct hold_handle *handle,
                                       const struct handle_row *row)
{
    struct hold_order order = order_gather(hold, handle, row);
    bool needed = !handle->starting || handle->standing == STANDING_IN_FLIGHT || hold->at_work;
    order.brake = false;
    order.step = (order.step && needed) || handle->leaving;
    return order;
}

typedef struct hold_order order_fn(const struct hold *, const struct hold_handle *, const struct handle_row *);
static order_fn *const by_stage[] = {
    [STAGE_LEARN] = order_learn, [STAGE_GATHER] = order_gather, [STAGE_RELEASE] = order_release};

/* What a recv(2) has taken under the brake, it must return without it. All are when they are released; before that, the
 * one thread that waits here: the others' replies are parked. */
static void nudge_unbraked(struct hold *hold, struct hold_order *order, const struct hold_hint *hint)
{
    if (hold->stage == STAGE_RELEASE || !hint || hint->waited == WAITED_UNKNOWN)
        hold->nudge = true;
    else
        order->nudge = hint->thread;
}

/* Who arrives at its boundary stays there from the first round on, and is let out again only when it takes long to
 * learn whose the open transactions are: one of those may be waiting for it. An event loop does not tell by waiting:
 * while its transactions run free, their usual gaps are seen, which the guesses need. */
static bool gathers(const struct hold *hold, int64_t now_us)
{
    bool early = hold->stage == STAGE_LEARN && !hold->some_loop && now_us - hold->began_us < LEARN_US;
    return early || hold->stage == STAGE_GATHER;
}

/* Which session is whose shows when one stands while the others move (agent/ledger/pairs.h): a few rounds long half of
 * those that are to be told apart wait with their next write, each time another half. */
static bool stands_aside(const struct hold *hold, const struct handle_row *row)
{
    uint64_t turn = hold->round / TELL_ROUNDS, mixed = (row->inode + 1) * UINT64_C(0x9e3779b97f4a7c15) + turn;
    mixed = (mixed ^ mixed >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return mixed >> 62 & 1;
}

/* As long as nothing is held on its account. */
static bool is_to_be_told(const struct hold *hold, const struct hold_handle *handle, const struct handle_row *row)
{
    bool flying = hold->stage == STAGE_LEARN ? hold->telling : handle->standing == STANDING_IN_FLIGHT;
    return row->told_apart == 255 && flying && !handle->starting;
}

static struct hold_order order_telling(const struct hold *hold, const struct handle_row *row)
{
    return (struct hold_order){.cork = true, .step = row->unsent_bytes > 0 && !stands_aside(hold, row)};
}

static struct hold_order order_of(const struct hold *hold, const struct hold_handle *handle,
                                  const struct handle_row *row, const struct hold_hint *hint, int64_t now_us)
{
    if (handle->standing == STANDING_EXEMPT)
        return order_exempt(row);
    if (is_to_be_told(hold, handle, row))
        return order_telling(hold, row);
    if (!gathers(hold, now_us))
        return by_stage[hold->stage](hold, handle, row);
    if (flows_let_through(hold, handle, hint))
        return (struct hold_order){.cork = true, .step = row->unsent_bytes > 0};
    return order_gather(hold, handle, row);
}

static void note_order(struct hold *hold, struct hold_handle *handle, struct hold_order *order,
                       const struct hold_hint *hint, int64_t now_us)
{
    order->blocking_too = hold->brake_blocking;
    order->nudge = handle->nudged_thread;
    handle->corked |= order->cork;
    if (handle->blocking && handle->braked && !order->brake)
        nudge_unbraked(hold, order, hint);
    if (handle->braked && !order->brake)
        handle->unbraked_at_us = now_us;
    handle->braked = order->brake && (!handle->blocking || order->blocking_too);
}

void orders_give(struct hold *hold, const struct facts *facts, const struct hold_hint *hints, int64_t now_us)
{
    hold->order_count = 0;
    if (!flows_find_threads(hold))
        return;
    if (hold->stage == STAGE_GATHER)
        flows_guess(hold, now_us);
    for (size_t i = 0; i < facts->count; i++) {
        const struct handle_row *row = &facts->rows[i];
        const struct hold_hint *hint = hints ? &hints[i] : NULL;
        struct hold_handle *handle = history_of(hold, row, i);
        if (handle)
            learn(handle, row, hint);
        hold->some_loop |= handle && handle->by_loop;
        if (!handle || !can_be_marked(hold, handle, row))
            continue;
        struct hold_order order = order_of(hold, handle, row, hint, now_us);
        note_order(hold, handle, &order, hint, now_us);
        order.row = i;
        hold->orders[hold->order_count++] = order;
    }
}
