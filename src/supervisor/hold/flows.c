/* Flows that need two connections: a transaction is open on A, and its flow waits for B, which stands at its boundary.
 * Holding B would hold A open for ever. Pure: no I/O.
 *
 * A thread tells what it waits for: B is let through for as long as it waits there. An event loop does not tell. There,
 * when every open transaction waits for the app for longer than its gaps have been, one handle at its boundary, the
 * likeliest and newest, is let through: if an open transaction moves then, that was it, and the next one comes soon; if
 * none does, the guess cost one transaction more, and the next one waits twice as long. */
#include "supervisor/hold/history.h"

#include <stdlib.h>

#define PATIENCE_LEAST_US INT64_C(20000)
#define PATIENCE_PROVEN_US INT64_C(4000) /* after a guess that was right */
#define PATIENCE_MOST_US INT64_C(2000000)
/* A thread tells what it waits for, unless it is another thread; or nothing tells. */
#define LONG_PATIENCE_US INT64_C(250000)
enum { GAPS = 3 }; /* an open transaction is waiting when it is quiet for so many of its own gaps */

static bool is_open(const struct hold_handle *h)
{
    return h->standing == STANDING_IN_FLIGHT && h->open && !h->starting;
}

static int compare_threads(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

bool flows_find_threads(struct hold *hold)
{
    hold->open_thread_count = 0;
    if (hold->count > hold->open_thread_room) {
        int32_t *more = realloc(hold->open_threads, hold->count * sizeof *more);
        if (!more)
            return false;
        hold->open_threads = more;
        hold->open_thread_room = hold->count;
    }
    for (size_t i = 0; i < hold->count; i++)
        if (hold->handles[i].thread && is_open(&hold->handles[i]))
            hold->open_threads[hold->open_thread_count++] = hold->handles[i].thread;
    if (hold->open_thread_count)
        qsort(hold->open_threads, hold->open_thread_count, sizeof *hold->open_threads, compare_threads);
    return true;
}

/* In flight itself it is not asked about, so it is another handle that the thread has open. */
static bool thread_has_open(const struct hold *hold, int32_t thread)
{
    return hold->open_thread_count &&
           bsearch(&thread, hold->open_threads, hold->open_thread_count, sizeof thread, compare_threads);
}

bool flows_let_through(const struct hold *hold, const struct hold_handle *handle, const struct hold_hint *hint)
{
    if (handle->through)
        return true;
    return hint && hint->waited == WAITED_ALONE && handle->standing != STANDING_IN_FLIGHT &&
           thread_has_open(hold, hint->thread);
}

static void forget_guesses(struct hold *hold)
{
    for (size_t i = 0; i < hold->count; i++)
        hold->handles[i].through = false;
    hold->guessed_at_us = 0;
}

/* Since when every open transaction has waited for the app; 0: not all of them do, or none is open. */
static int64_t all_wait_since(const struct hold *hold)
{
    int64_t since = 0;
    for (size_t i = 0; i < hold->count; i++) {
        const struct hold_handle *h = &hold->handles[i];
        if (!is_open(h) || h->through)
            continue;
        if (!h->may_be_app_turn)
            return 0;
        int64_t from = h->quiet_since_us + (h->thread || !h->app_turn ? LONG_PATIENCE_US : 0);
        since = from > since ? from : since;
    }
    return since;
}

static bool begins_transactions(const struct hold *hold, uint32_t bytes)
{
    for (size_t i = 0; i < sizeof hold->begin_bytes / sizeof *hold->begin_bytes; i++)
        if (bytes && hold->begin_bytes[i] == bytes)
            return true;
    return false;
}

/* What moved last on it came in: by the ages of the last bytes; or, where they are equal, by what the rounds saw. A
 * round that saw both, or the first one, cannot tell. */
static enum last_in last_came_in(const struct hold_handle *handle, const struct handle_row *row)
{
    bool sent = row->bytes_sent != handle->sent, received = row->bytes_received != handle->received;
    if (!row->has_info)
        return LAST_OUT;
    if (row->last_received_ms != row->last_sent_ms)
        return row->last_received_ms < row->last_sent_ms ? LAST_IN : LAST_OUT;
    if (!handle->round || (sent && received))
        return LAST_UNKNOWN;
    return sent ? LAST_OUT : received ? LAST_IN : handle->last_in;
}

/* It is the app's turn on it: nothing to read, nothing written, nothing on the way, in a transaction. PgBouncer calls
 * all of a transaction active; if the server behind it does not tell either, whether the last bytes came in does, more
 * or less: a guess may be wrong. `when_unknown`: where that cannot be told. Nobody may wait for its reply alone. */
static bool is_app_turn(const struct hold_handle *handle, const struct handle_row *row, const struct hold_hint *hint,
                        bool when_unknown)
{
    if (row->unread_bytes || row->unacked_bytes || (hint && hint->waited == WAITED_ALONE))
        return false;
    if (row->state != SESSION_ACTIVE)
        return row->state == SESSION_IN_TRANSACTION;
    if (row->waits_for_client != 255)
        return row->waits_for_client == 1;
    return handle->last_in == LAST_IN || (handle->last_in == LAST_UNKNOWN && when_unknown);
}

void flows_note(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                const struct hold_hint *hint, enum standing before)
{
    handle->last_in = last_came_in(handle, row);
    handle->app_turn = is_app_turn(handle, row, hint, false);
    handle->may_be_app_turn = is_app_turn(handle, row, hint, true);
    bool in_block = row->state == SESSION_IN_TRANSACTION;
    bool stood = before == STANDING_PARKED || before == STANDING_HELD || before == STANDING_IDLE;
    if (handle->standing == STANDING_IN_FLIGHT)
        handle->had_transaction = in_block || (handle->had_transaction && !stood);
    if (!in_block || before != STANDING_HELD || row->unsent_bytes || begins_transactions(hold, handle->unsent))
        return;
    for (size_t i = sizeof hold->begin_bytes / sizeof *hold->begin_bytes - 1; i > 0; i--)
        hold->begin_bytes[i] = hold->begin_bytes[i - 1];
    hold->begin_bytes[0] = handle->unsent;
}

/* How likely it is that an open transaction waits for this one: a reply outside of a transaction block, a write that
 * begins none, the end of a block, the beginning of one. 0: it does not stand at a boundary. */
static int likelihood(const struct hold *hold, const struct hold_handle *h)
{
    if (h->through)
        return 0;
    if (h->standing == STANDING_PARKED)
        return h->had_transaction ? 2 : 4;
    return h->standing != STANDING_HELD ? 0 : begins_transactions(hold, h->unsent) ? 1 : 3;
}

static struct hold_handle *likeliest(struct hold *hold)
{
    struct hold_handle *best = NULL;
    int most = 0;
    for (size_t i = 0; i < hold->count; i++) {
        struct hold_handle *h = &hold->handles[i];
        int likely = likelihood(hold, h);
        if (likely > most || (likely && likely == most && h->quiet_since_us > best->quiet_since_us)) {
            best = h;
            most = likely;
        }
    }
    return best;
}

static int64_t patience_of(const struct hold *hold)
{
    int64_t least = hold->gap_us * GAPS > PATIENCE_LEAST_US ? hold->gap_us * GAPS : PATIENCE_LEAST_US;
    return hold->patience_us ? hold->patience_us : least;
}

/* An open transaction that moves after a guess says that the guess was right. */
static void learn_from_guess(struct hold *hold, int64_t now_us)
{
    bool moved = false;
    for (size_t i = 0; i < hold->count; i++) {
        const struct hold_handle *h = &hold->handles[i];
        moved |= !h->through && h->was_open && h->quiet_since_us > hold->guessed_at_us;
    }
    if (!moved)
        return;
    forget_guesses(hold);
    hold->patience_us = PATIENCE_PROVEN_US;
    (void)now_us;
}

void flows_guess(struct hold *hold, int64_t now_us)
{
    if (hold->guessed_at_us)
        learn_from_guess(hold, now_us);
    int64_t since = all_wait_since(hold);
    int64_t waited_from = since > hold->guessed_at_us ? since : hold->guessed_at_us;
    struct hold_handle *guess = since && now_us - waited_from >= patience_of(hold) ? likeliest(hold) : NULL;
    if (!guess)
        return;
    int64_t twice = 2 * patience_of(hold);
    guess->through = true;
    hold->guessed_at_us = now_us;
    hold->patience_us = twice < PATIENCE_MOST_US ? twice : PATIENCE_MOST_US;
}
