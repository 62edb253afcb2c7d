/* Flows that need two connections: a transaction is open on A, and its flow waits for B, which stands at its boundary.
 * Holding B would hold A open for ever. Pure: no I/O.
 *
 * A thread tells what it waits for: B is let through for as long as it waits there. An event loop does not tell. But its
 * timers do: when every open transaction waits for the app, and nothing but an event can wake the app, they wait for
 * what is held here. Then one handle at its boundary, the likeliest and newest, is let through for each of them, up to
 * where it begins a transaction of its own. Where timers cannot be seen, one at a time, when every open transaction has
 * waited for longer than its gaps have been: if an open transaction moves then, that was it; if none does, the guess
 * cost one transaction more, and the next one waits twice as long. */
#include "supervisor/hold/history.h"

#include <stdlib.h>

#define PATIENCE_LEAST_US INT64_C(20000)
#define PATIENCE_PROVEN_US INT64_C(4000) /* after a guess that was right */
#define PATIENCE_MOST_US INT64_C(2000000)
/* A thread tells what it waits for, unless it is another thread; or nothing tells. */
#define LONG_PATIENCE_US INT64_C(250000)
#define PATIENCE_CERTAIN_US INT64_C(2000)
enum { CERTAIN_ROUNDS = 2, GUESSES_MOST = 32 /* in one round: each looks at all handles */ };
enum { GAPS = 3 }; /* an open transaction is waiting when it is quiet for so many of its own gaps */

/* An idle session of which it is only not known whether all was answered has no transaction open. */
static bool is_open(const struct hold_handle *h)
{
    bool may_be_idle = h->unknown && h->state == SESSION_IDLE;
    return h->standing == STANDING_IN_FLIGHT && h->open && !h->starting && !may_be_idle;
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

void flows_forget_guesses(struct hold *hold)
{
    for (size_t i = 0; i < hold->count; i++) {
        hold->handles[i].through = false;
        hold->handles[i].guesses = 0;
    }
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
    bool only_events = hint && hint->only_events;
    hold->sees_timers |= only_events;
    handle->only_events = only_events ? handle->only_events + (handle->only_events < CERTAIN_ROUNDS) : 0;
    bool held_anew = handle->standing == STANDING_HELD &&
                     (before != STANDING_HELD || row->bytes_sent != handle->sent);
    if (handle->through && held_anew && begins_transactions(hold, row->unsent_bytes))
        handle->through = false; /* what it was let through for is over, and it was not waited for */
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

enum { LIKELY = 3 };

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

/* Of two: the likelier one, the one that was guessed less often, the newer one. */
static bool is_better(const struct hold *hold, const struct hold_handle *a, const struct hold_handle *b)
{
    int a_likely = likelihood(hold, a), b_likely = likelihood(hold, b);
    if (a_likely != b_likely)
        return a_likely > b_likely;
    return a->guesses != b->guesses ? a->guesses < b->guesses : a->quiet_since_us > b->quiet_since_us;
}

static struct hold_handle *likeliest(struct hold *hold)
{
    struct hold_handle *best = NULL;
    for (size_t i = 0; i < hold->count; i++) {
        struct hold_handle *h = &hold->handles[i];
        if (likelihood(hold, h) && (!best || is_better(hold, h, best)))
            best = h;
    }
    return best;
}

static int64_t patience_of(const struct hold *hold)
{
    int64_t least = hold->gap_us * GAPS > PATIENCE_LEAST_US ? hold->gap_us * GAPS : PATIENCE_LEAST_US;
    return hold->patience_us ? hold->patience_us : least;
}

static int64_t twice(int64_t patience_us)
{
    return 2 * patience_us < PATIENCE_MOST_US ? 2 * patience_us : PATIENCE_MOST_US;
}

static bool let_through(struct hold *hold, struct hold_handle *guess, int64_t now_us)
{
    if (!guess)
        return false;
    guess->through = true;
    guess->guesses++;
    hold->guessed_at_us = now_us;
    return true;
}

/* Its app has nothing to do and no timer: it waits for another handle. */
static bool waits_for_certain(const struct hold_handle *h)
{
    return is_open(h) && h->app_turn && h->only_events >= CERTAIN_ROUNDS;
}

/* A guess was wrong when what was let through has opened a transaction and now waits in it itself: it is an open one like
 * the others. The next guess waits for twice as long. */
static void end_wrong_guesses(struct hold *hold, int64_t now_us)
{
    for (size_t i = 0; i < hold->count; i++) {
        struct hold_handle *h = &hold->handles[i];
        bool waits = h->through && is_open(h) && h->may_be_app_turn && now_us - h->quiet_since_us >= patience_of(hold);
        if (!waits && !(h->through && waits_for_certain(h)))
            continue;
        h->through = false;
        hold->certain_patience_us = twice(hold->certain_patience_us);
    }
}

/* An open transaction that moves after a guess says that the guess was right. Where it is known what begins a
 * transaction, who was let through is stopped there, and by nothing else: what is waited for may have several parts. */
static void learn_from_guess(struct hold *hold)
{
    bool moved = false;
    for (size_t i = 0; i < hold->count; i++) {
        const struct hold_handle *h = &hold->handles[i];
        moved |= !h->through && h->was_open && h->quiet_since_us > hold->guessed_at_us;
    }
    if (!moved)
        return;
    if (!hold->begin_bytes[0])
        flows_forget_guesses(hold);
    hold->guessed_at_us = 0;
    if (!hold->sees_timers) /* else its timers tell when it is worth a guess */
        hold->patience_us = PATIENCE_PROVEN_US;
}

/* How many open transactions wait for another handle for certain, less those for which one has been let through; none
 * while one of them may not. */
static unsigned certain(const struct hold *hold, int64_t *since_us)
{
    unsigned waiting = 0, on_the_way = 0;
    *since_us = 0;
    for (size_t i = 0; i < hold->count; i++) {
        const struct hold_handle *h = &hold->handles[i];
        on_the_way += h->through && h->standing != STANDING_IDLE;
        if (!is_open(h) || h->through)
            continue;
        if (!waits_for_certain(h))
            return 0;
        *since_us = h->quiet_since_us > *since_us ? h->quiet_since_us : *since_us;
        waiting++;
    }
    return waiting > on_the_way ? waiting - on_the_way : 0;
}

/* One for each that waits. One that does not look like it begins a transaction when it is the wrong one: a single one,
 * and only when nothing has moved for some time. */
static void guess_for_certain(struct hold *hold, unsigned waiting, int64_t now_us)
{
    struct hold_handle *guess = likeliest(hold);
    if (guess && likelihood(hold, guess) < LIKELY && now_us - hold->moved_at_us >= PATIENCE_LEAST_US)
        let_through(hold, guess, now_us);
    for (unsigned i = 0; i < waiting && i < GUESSES_MOST && guess && likelihood(hold, guess) >= LIKELY; i++) {
        let_through(hold, guess, now_us);
        guess = likeliest(hold);
    }
}

void flows_guess(struct hold *hold, int64_t now_us)
{
    if (!hold->certain_patience_us)
        hold->certain_patience_us = PATIENCE_CERTAIN_US;
    if (hold->guessed_at_us)
        learn_from_guess(hold);
    end_wrong_guesses(hold, now_us);
    int64_t certain_since;
    unsigned waiting = certain(hold, &certain_since);
    if (waiting && now_us - certain_since >= hold->certain_patience_us) {
        guess_for_certain(hold, waiting, now_us);
        return;
    }
    int64_t since = all_wait_since(hold);
    int64_t waited_from = since > hold->guessed_at_us ? since : hold->guessed_at_us;
    if (since && now_us - waited_from >= patience_of(hold) && let_through(hold, likeliest(hold), now_us))
        hold->patience_us = twice(patience_of(hold));
}
