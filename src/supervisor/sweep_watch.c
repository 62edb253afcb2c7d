/* The duplicates of an app that still lives, or of which a part does: what it closes is let go at once, and what the
 * dead have left held is dropped before it leaves by itself. Never says anything on what a living app has open. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "common/clock.h"
#include "supervisor/state.h"

#define HELD_RESERVE_US INT64_C(12000) /* three jiffies at HZ=250 before a held write leaves */
#define DROPPED_US INT64_C(50000)  /* the app closed without a goodbye, the server still has it: we say it */

bool sweep_leaves_soon(const struct handle_row *row, int64_t now_us)
{
    return row->timer && now_us >= row->looked_at_us + row->timer_ms * US_PER_MS - HELD_RESERVE_US;
}

/* The app lives, and has closed this one: with a goodbye (the server has closed, too), or without. */
static void watch_dropped(struct supervisor *s, struct adopted *adopted, struct recorded_handle *handle, int64_t now_us)
{
    bool redis = sweep_kind_of(s, handle) == TARGET_REDIS; /* its goodbye is the end of stream, which we keep back */
    if (adopted->fate == FATE_CLOSED || redis) {
        record_outcome(handle, OUTCOME_CLOSED_BY_APP, now_us);
        record_timeline(handle, "closed", now_us);
        adopted_release(adopted);
        return;
    }
    if (now_us - adopted->dropped_at_us < DROPPED_US || handle->last.tls == 1)
        return; /* inside TLS it is ended by command when the app has ended */
    if (adopted_is_found_again(adopted))
        return;
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
        if (dead && adopted->fd >= 0 && sweep_leaves_soon(&adopted->row, now_us) && adopted_is_held_back(adopted))
            socket_discard(adopted->fd);
    }
}

void sweep_watch_running(struct supervisor *s, int64_t now_us)
{
    watch_dying(s, now_us);
    if (!s->main_ended)
        watch_living(s, now_us);
}
