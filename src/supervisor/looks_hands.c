/* Looks: what the hands do with what was seen. Marks as the hold orders them, taken off again when it is over; nudges,
 * by which a reply that a mark has kept is read; duplicates of the app's handles.
 *
 * Never decides which connection is marked (hold/ does), and never forgets a mark: one that cannot be taken off is
 * tried again, and that one could not be set is said. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/refusal.h"
#include "supervisor/state.h"

#define UNMARK_AGAIN_S 0.005
#define UNMARK_MOST_S 0.5

/* SIGSTOP to all, and SIGCONT as soon as all are stopped: every system call that waits is interrupted, and every reply
 * that was kept under a brake is read. */
static void nudge(struct supervisor *s)
{
    if (s->freeze.on)
        return; /* what is stopped will be continued anyway */
    s->nudging = true;
    if (freeze_begin(&s->freeze, getpid(), children_agent(s), clock_now_us()) == 0)
        ev_timer_again(s->loop, &s->freeze_timer);
}

/* The others' replies stay parked. Where that is refused, all are nudged. */
static void nudge_one(struct supervisor *s, pid_t tid)
{
    if (s->freeze.on)
        return;
    if (nudge_thread(&s->nudges, tid, clock_now_us()) == 0 || errno == ESRCH)
        return;
    log_debug("thread %d cannot be nudged alone: %m", (int)tid);
    nudge(s);
}

bool looks_nudged(struct supervisor *s)
{
    if (!s->nudging)
        return false;
    s->nudging = false;
    freeze_end(&s->freeze);
    return true;
}

/* What could not be let go is tried again until it is, or is marked by a new hold; soon, and
 * then less and less often. */
void looks_unmark(struct supervisor *s)
{
    bool wants_nudge = false, again = ev_is_active(&s->unmark_timer);
    size_t failed = marks_let_go(&s->marks, &wants_nudge) + intakes_let_go(s);
    if (failed && !again)
        log_error("%zu sockets of the app could not be let go: trying again", failed);
    double next = again ? 2 * s->unmark_timer.repeat : UNMARK_AGAIN_S;
    s->unmark_timer.repeat = failed ? next < UNMARK_MOST_S ? next : UNMARK_MOST_S : 0;
    ev_timer_again(s->loop, &s->unmark_timer); /* stops it when there is nothing to repeat */
    if (wants_nudge)
        nudge(s);
}

/* Without hands there are no marks: the app is watched until it is at rest by itself. */
static void lose_hands(struct supervisor *s, pid_t pid, int error)
{
    char why[256];
    refusal_explain(pid, error, why, sizeof why);
    log_warning("the app's connections cannot be held here (%s): waiting until all are idle by themselves", why);
    s->no_hands = true;
    s->hold.way = HOLD_WATCH;
    looks_unmark(s); /* a process of several may refuse: what the others had marked must not stay so */
    record_unknown(&s->record, "the app's connections could not be held", "duplicating a socket: %s", why);
}

static void mark_failed(struct supervisor *s, pid_t pid, int error)
{
    if (error == EPERM || error == ENOSYS || error == EACCES)
        lose_hands(s, pid, error);
    else if (error != ESTALE && error != ESRCH && error != EAGAIN) /* EAGAIN: the next round tries again */
        record_unknown(&s->record, "whether every connection was held", "marking a socket: %s", strerror(error));
}

static void give_mark(struct supervisor *s, const struct handle_row *row, const struct hold_order *order)
{
    struct hold_base base;
    bool noted = false;
    if (marks_apply(&s->marks, row, order, &base, &noted) < 0) {
        int error = errno;
        hold_note_unmarked(&s->hold, row);
        mark_failed(s, row->pid, error);
    }
    if (noted)
        hold_note_base(&s->hold, row, &base, order->step);
    if (order->nudge)
        nudge_one(s, order->nudge);
}

static void give_marks(struct supervisor *s, const struct facts *facts)
{
    marks_follow(&s->marks, facts->rows, facts->count);
    if (s->hold.order_count)
        ev_timer_stop(s->loop, &s->unmark_timer);
    marks_begin(&s->marks, facts->rows, s->hold.orders, s->hold.order_count);
    for (size_t i = 0; i < s->hold.order_count && !s->no_hands; i++)
        give_mark(s, &facts->rows[s->hold.orders[i].row], &s->hold.orders[i]);
    marks_end(&s->marks);
}

void looks_use_hands(struct supervisor *s, const struct facts *facts, int64_t now_us)
{
    unsigned late = nudge_forget_late(&s->nudges, now_us);
    if (late)
        log_debug("%u threads did not stop to be nudged", late);
    give_marks(s, facts);
    if (s->hold.nudge && s->lifecycle.phase == PHASE_HOLDING)
        nudge(s);
    if (s->lifecycle.phase == PHASE_STOPPING)
        adopted_take(&s->adopted, facts->rows, facts->count);
}

void looks_let_go(struct supervisor *s)
{
    looks_unmark(s);
    hold_finish(&s->hold);
    s->hold_on = false;
    intakes_end(s);
    if (s->looking)
        looks_begin(s);
}

void looks_adopt(struct supervisor *s)
{
    adopted_take(&s->adopted, s->last.rows, s->last.count);
    s->record.hands = s->adopted.count ? duplicate_way() : "none";
    if (s->adopted.error) {
        char why[256];
        refusal_explain(s->adopted.refused, s->adopted.error, why, sizeof why);
        record_unknown(&s->record, "how some connections ended", "their sockets could not be duplicated: %s", why);
    }
}
