/* The sweep, from its beginning to its end: one more look at what is stale, then every recorded handle's farewell
 * (sweep_farewell.c) and its ending by the agent (sweep_end.c) until all are over. Decides about no handle itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "supervisor/state.h"

#define LOOK_US INT64_C(300000)    /* for the last look */

static bool all_over(const struct sweep *sweep)
{
    for (unsigned i = 0; i < sweep->count; i++)
        if (sweep->list[i].step != FAREWELL_OVER)
            return false;
    return true;
}

void sweep_watch_farewells(struct supervisor *s, int64_t now_us)
{
    for (unsigned i = 0; i < s->sweep.count; i++)
        farewell_watch(s, i, now_us);
    sweep_ask_to_end(s, now_us);
    bool awaited = s->lifecycle.phase == PHASE_SWEEPING || s->lifecycle.phase == PHASE_ENDING;
    if (awaited && all_over(&s->sweep))
        supervisor_post(s, EVENT_SWEPT);
}

/* A place for each handle that is recorded by now. Without memory the new ones have none. */
static void make_places(struct supervisor *s)
{
    struct sweep *sweep = &s->sweep;
    if (sweep->count >= s->record.handle_count)
        return;
    struct farewell_of *list = reallocarray(sweep->list, s->record.handle_count, sizeof *list);
    if (!list)
        return;
    memset(list + sweep->count, 0, (s->record.handle_count - sweep->count) * sizeof *list);
    sweep->list = list;
    sweep->count = s->record.handle_count;
}

void sweep_begin_farewells(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    s->sweep.looking = false;
    make_places(s);
    for (unsigned i = 0; i < s->sweep.count; i++)
        if (s->sweep.list[i].step != FAREWELL_ASKED) /* early: its answer is on its way */
            farewell_begin(s, i, now_us);
    sweep_watch_farewells(s, now_us);
}

/* Redis' sessions end with the stream, and a pooler's client without a transaction costs nobody anything. */
static bool is_to_end_early(struct supervisor *s, const struct recorded_handle *handle)
{
    const struct handle_row *row = &handle->last;
    bool given_up = s->lifecycle.gave_up && (row->state == SESSION_IDLE || sweep_has_transaction(row));
    bool certain = row->known_by == KNOWN_EXACT || row->told_apart == 1;
    return handle->outcome == OUTCOME_OPEN && sweep_kind_of(s, handle) == TARGET_POSTGRES &&
           (given_up || (row->state == SESSION_IDLE && row->unacked_bytes == 0)) && row->session && certain &&
           !sweep_duplicate_of(s, handle);
}

/* What was given up, or not seen since the freeze, may have a request on its way, which the server would still carry
 * out, app or no app: it has the time for it. One that waits for the app's next word loses nothing that the signal
 * would not take from it. */
static bool may_be_at_work(const struct supervisor *s, const struct handle_row *row)
{
    bool answered = row->has_info && row->last_received_ms < row->last_sent_ms && row->unacked_bytes == 0;
    bool waits = answered && row->state != SESSION_ACTIVE && row->state != SESSION_WAITING;
    return s->lifecycle.gave_up && !(s->last.frozen && waits);
}

void sweep_end_idle(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    bool ends = s->lifecycle.ends_at_once || s->lifecycle.kill_next;
    make_places(s);
    for (unsigned i = 0; i < s->sweep.count; i++) {
        s->sweep.list[i].early = ends && is_to_end_early(s, &s->record.handles[i]);
        s->sweep.list[i].at_work = s->sweep.list[i].early && may_be_at_work(s, &s->record.handles[i].last);
        farewell_step(s, i, s->sweep.list[i].early ? FAREWELL_TO_END : FAREWELL_OVER, now_us);
    }
    sweep_watch_farewells(s, now_us);
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
        sweep_begin_farewells(s);
}

static void take_last_state(struct supervisor *s, const struct handle_row *row)
{
    struct recorded_handle *handle = record_find(&s->record, row->inode, &row->local);
    struct adopted *adopted = adopted_find(&s->adopted, row->inode, &row->local);
    if (!handle || !adopted)
        return;
    struct handle_row before = handle->last;
    handle->last = *row;
    record_keep_holders(&handle->last, &before); /* the app's, not our duplicate's */
}

void sweep_facts(struct supervisor *s, const struct facts *facts)
{
    if (!s->sweep.looking)
        return;
    for (size_t i = 0; i < facts->count; i++)
        take_last_state(s, &facts->rows[i]);
    sweep_begin_farewells(s);
}

void sweep_watch(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    if (s->sweep.looking && now_us - s->sweep.looking_since_us >= LOOK_US)
        sweep_begin_farewells(s);
    else if (s->sweep.looking)
        return;
    else if (s->sweep.begun)
        sweep_watch_farewells(s, now_us);
    else
        sweep_watch_running(s, now_us);
}

static void finish_one(struct supervisor *s, unsigned i, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    bool said = s->sweep.list[i].was_said;
    if (s->sweep.list[i].step == FAREWELL_OVER)
        return;
    snprintf(handle->note, sizeof handle->note, said ? "the server has not closed it yet"
                                                     : "nobody answered whether the server has ended it");
    farewell_end(s, i, said ? OUTCOME_HANDED_BACK : OUTCOME_STILL_THERE, now_us);
}

void sweep_finish(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    if (s->sweep.looking)
        sweep_begin_farewells(s);
    for (unsigned i = 0; i < s->sweep.count; i++)
        finish_one(s, i, now_us);
    adopted_finish(&s->adopted);
    free(s->sweep.list);
    s->sweep.list = NULL;
    s->sweep.count = 0;
}
