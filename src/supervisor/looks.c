/* Looks: when the agent is asked, and what its facts become: the record, the hold's next round, marks, an event.
 *
 * Only what the lifecycle waits for is posted; a look that comes late, or was asked before the app was frozen, counts
 * for the record and for nothing else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/refusal.h"
#include "supervisor/handles/waits.h"
#include "supervisor/state.h"

#define PROGRESS_US US_PER_SECOND
#define MOVING_US INT64_C(30000)
#define UNMARK_AGAIN_S 0.005
#define UNMARK_MOST_S 0.5
#define ASK_AGAIN_S 0.002 /* when the agent could not be asked: its queue is full, or there is no memory */

enum { ANSWER_MS = 250, ANSWER_FROZEN_MS = 40, NEVER = -1 };

/* From one answer to the next question. */
static const double pause_s[] = {
    [PHASE_RUNNING] = NEVER, [PHASE_ANNOUNCING] = NEVER, [PHASE_DRAINING] = 0.001, [PHASE_HOLDING] = 0.001,
    [PHASE_FREEZING] = NEVER, [PHASE_LOOKING] = 0, [PHASE_ENDING] = NEVER, [PHASE_RESTING] = 0.05,
    [PHASE_SIGNALLED] = NEVER,
    [PHASE_STOPPING] = 0.05, [PHASE_KILLING] = NEVER, [PHASE_SWEEPING] = NEVER, [PHASE_WAITING] = NEVER,
    [PHASE_DONE] = NEVER};
_Static_assert(sizeof pause_s / sizeof *pause_s == PHASES, "a phase without a pause");

/* Only a look at all sockets can say that nothing is in flight: on a host with very many the agent looks at the known
 * ones in between, and misses those that are new. */
static bool may_be_still(const struct supervisor *s)
{
    return !s->hold_on || s->hold.round == 0 || s->hold.counted.by_standing[STANDING_IN_FLIGHT] == 0;
}

static void look_after(struct supervisor *s, double pause)
{
    ev_timer_stop(s->loop, &s->look_timer);
    ev_timer_set(&s->look_timer, pause, 0);
    ev_timer_start(s->loop, &s->look_timer);
}

void looks_next(struct supervisor *s)
{
    bool frozen = s->lifecycle.phase == PHASE_LOOKING;
    if (!s->looking || s->look_asked || !s->keeper || !agent_keeper_is_up(s->keeper))
        return;
    bool want_text = frozen || s->record.handle_count == 0 || s->lifecycle.phase == PHASE_STOPPING;
    s->look_asked_at_us = clock_now_us();
    unsigned answer_ms = frozen ? ANSWER_FROZEN_MS : ANSWER_MS;
    struct look_wants wants = {.text = want_text, .whole = frozen || may_be_still(s), .inbound = intakes_wanted(s)};
    s->look_whole = wants.whole;
    s->look_asked = agent_keeper_look(s->keeper, ++s->look, answer_ms, &wants) == 0;
    if (!s->look_asked)
        look_after(s, ASK_AGAIN_S);
}

bool looks_ask_for_own(struct supervisor *s)
{
    if (!s->keeper || !agent_keeper_is_up(s->keeper))
        return false;
    struct look_wants wants = {.text = true, .own = true, .whole = true};
    s->look_asked = agent_keeper_look(s->keeper, ++s->look, ANSWER_MS, &wants) == 0;
    return s->look_asked;
}

/* Marks only while an app is brought to rest: one that was let go is never marked. */
static enum hold_way wanted_way(const struct supervisor *s)
{
    bool holds = s->lifecycle.phase == PHASE_HOLDING || s->lifecycle.phase == PHASE_RESTING ||
                 s->lifecycle.phase == PHASE_LOOKING;
    return s->no_hands || !holds ? HOLD_WATCH : HOLD_MARKS;
}

static void begin_hold(struct supervisor *s)
{
    hold_finish(&s->hold);
    enum hold_way way = wanted_way(s);
    hold_init(&s->hold, way, s->kinds, s->config->leak_transaction_us, clock_now_us());
    s->hold_on = true;
}

void looks_begin(struct supervisor *s)
{
    bool frozen = s->lifecycle.phase == PHASE_LOOKING;
    if (!s->hold_on || s->hold.way != wanted_way(s))
        begin_hold(s);
    s->looking = true;
    if (frozen) {
        s->look_asked = false; /* whatever was asked before the freeze does not count */
        s->look_frozen = s->look + 1;
    }
    looks_next(s);
}

void looks_stop(struct supervisor *s)
{
    s->looking = s->look_asked = false;
    ev_timer_stop(s->loop, &s->look_timer);
}

/* While things move the next look follows at once; a long wait for one query must not cost a core. */
static double pause_of(const struct supervisor *s)
{
    double pause = pause_s[s->lifecycle.phase];
    if (s->lifecycle.phase != PHASE_HOLDING)
        return pause;
    int64_t quiet_us = clock_now_us() - s->hold.moved_at_us;
    return quiet_us < MOVING_US ? 0 : quiet_us < 10 * MOVING_US ? pause : 5 * pause;
}

void looks_forget(struct supervisor *s)
{
    looks_stop(s);
    ev_timer_stop(s->loop, &s->unmark_timer);
    hold_finish(&s->hold);
    s->hold_on = s->nudging = s->no_hands = false;
    s->last.count = 0;
    s->last.at_us = 0;
    s->last.seen = s->last.frozen = false;
}

/* Nobody waits for it: it becomes the last look, from which the end of an app that crashes is reported. A stop that
 * begins meanwhile asks anew, and its look takes the place of this one. */
void looks_sample(struct supervisor *s)
{
    struct look_wants wants = {.text = true, .whole = true};
    if (!s->looking && s->keeper && agent_keeper_is_up(s->keeper))
        (void)agent_keeper_look(s->keeper, ++s->look, ANSWER_MS, &wants);
}

static void look_later(struct supervisor *s)
{
    double pause = pause_of(s);
    if (s->looking && pause >= 0)
        look_after(s, pause);
}

/* A postgres target may turn out to be a pooler: what is done with its handles depends on it. */
static void learn_kinds(struct supervisor *s, const struct facts *facts)
{
    for (size_t i = 0; i < facts->target_count; i++) {
        const struct message_target_state *target = &facts->targets[i];
        s->answered[target->target] = target->answered;
        s->translated[target->target] |= target->translated;
        if (!target->kind)
            continue;
        s->kinds[target->target] = target->kind;
        s->hold.kinds[target->target] = target->kind;
        s->record.targets[target->target].kind = (enum target_kind)target->kind;
    }
}

int looks_server_of(const struct supervisor *s, unsigned target)
{
    return s->kinds[target] == TARGET_PGBOUNCER ? s->config->targets[target].server : -1;
}

static void keep_rows(struct supervisor *s, const struct facts *facts)
{
    struct last_look *last = &s->last;
    if (facts->received_at_us - facts->took_us < s->app_started_us)
        return; /* it began before this life of the app did */
    if (facts->count > last->room) {
        struct handle_row *rows = realloc(last->rows, facts->count * sizeof *rows);
        if (!rows)
            return;
        last->rows = rows;
        last->room = facts->count;
    }
    if (facts->count)
        memcpy(last->rows, facts->rows, facts->count * sizeof *facts->rows);
    last->count = facts->count;
    last->at_us = facts->received_at_us;
    last->seen = facts->sockets_seen && facts->owners_seen;
    last->frozen = s->lifecycle.phase == PHASE_LOOKING && s->freeze.on;
}

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

/* What could not be let go is tried again until it is, or is marked by a new hold; soon, and
 * then less and less often. */
static void unmark(struct supervisor *s)
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

void looks_unmark_again(struct supervisor *s)
{
    unmark(s);
}

/* Without hands there are no marks: the app is watched until it is at rest by itself. */
static void lose_hands(struct supervisor *s, pid_t pid, int error)
{
    char why[256];
    refusal_explain(pid, error, why, sizeof why);
    log_warning("the app's connections cannot be held here (%s): waiting until all are idle by themselves", why);
    s->no_hands = true;
    s->hold.way = HOLD_WATCH;
    unmark(s); /* a process of several may refuse: what the others had marked must not stay so */
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

static const struct hold_hint *read_hints(struct supervisor *s, const struct facts *facts)
{
    if (!hold_wants_hints(&s->hold) || facts->count == 0)
        return NULL;
    if (facts->count > s->hint_room) {
        struct hold_hint *hints = realloc(s->hints, facts->count * sizeof *hints);
        if (!hints)
            return NULL;
        s->hints = hints;
        s->hint_room = facts->count;
    }
    waits_read(facts->rows, facts->count, s->hints);
    return s->hints;
}

static void say_progress(struct supervisor *s, int64_t now_us)
{
    struct control_state state;
    char text[192];
    if (now_us - s->progress_at_us < PROGRESS_US)
        return;
    s->progress_at_us = now_us;
    supervisor_state(s, &state);
    snprintf(text, sizeof text, "%u of %u connections in flight%s%s", s->hold.counted.by_standing[STANDING_IN_FLIGHT],
             s->hold.counted.handles, s->hold.why[0] ? "; " : "", s->hold.why);
    log_info("%s: %s", phase_public_name(s->lifecycle.phase), text);
    control_server_progress(s->control, &state, text);
    notify_status(s->notify, text);
}

static bool is_awaited(const struct supervisor *s, const struct facts *facts)
{
    return s->looking && facts->look == s->look &&
           (s->lifecycle.phase != PHASE_LOOKING || facts->look >= s->look_frozen);
}

bool looks_nudged(struct supervisor *s)
{
    if (!s->nudging)
        return false;
    s->nudging = false;
    freeze_end(&s->freeze);
    return true;
}

static void round_of(struct supervisor *s, const struct facts *facts)
{
    int64_t now_us = clock_now_us();
    bool frozen = s->lifecycle.phase == PHASE_LOOKING;
    s->hold.resting = s->lifecycle.drain_only;
    if (facts->inbound && s->lifecycle.phase != PHASE_DRAINING)
        intakes_facts(s, facts->inbound);
    bool still = hold_round(&s->hold, facts, read_hints(s, facts), frozen, now_us) && s->look_whole;
    still = still && (frozen || intakes_are_quiet(s));
    if (s->hold.standing_room < facts->count)
        return;
    looks_record(s, facts, now_us);
    unsigned late = nudge_forget_late(&s->nudges, now_us);
    if (late)
        log_debug("%u threads did not stop to be nudged", late);
    give_marks(s, facts);
    if (s->hold.nudge && s->lifecycle.phase == PHASE_HOLDING)
        nudge(s);
    if (s->lifecycle.phase == PHASE_STOPPING)
        adopted_take(&s->adopted, facts->rows, facts->count);
    if (s->lifecycle.phase == PHASE_HOLDING)
        say_progress(s, now_us);
    if (s->lifecycle.phase == PHASE_HOLDING || frozen)
        supervisor_post(s, still ? EVENT_STILL : EVENT_MOVING);
}

/* The intake's own pace: at most half of the time goes into looking. */
static void alone_facts(struct supervisor *s, const struct facts *facts)
{
    if (facts->look != s->look)
        return;
    s->look_asked = false;
    if (s->looking && facts->inbound)
        intakes_facts(s, facts->inbound);
    if (s->looking && !s->look_asked && pause_of(s) >= 0)
        look_after(s, pause_of(s) + (double)facts->took_us / US_PER_SECOND);
}

void looks_facts(void *supervisor, const struct facts *facts)
{
    struct supervisor *s = supervisor;
    if (facts->alone) {
        alone_facts(s, facts);
        return;
    }
    learn_kinds(s, facts);
    keep_rows(s, facts);
    if (facts->look == s->look)
        s->look_asked = false;
    if (s->lifecycle.phase == PHASE_SWEEPING && facts->look == s->look)
        sweep_facts(s, facts);
    if (!is_awaited(s, facts))
        return;
    round_of(s, facts);
    if (facts->inbound && s->lifecycle.phase == PHASE_DRAINING)
        intakes_facts(s, facts->inbound);
    log_debug("look %u: agent %lld us, in all %lld us; stage %d, %u of %u in flight, %u parked, %u held; %s",
              facts->look, (long long)facts->took_us, (long long)(clock_now_us() - s->look_asked_at_us),
              (int)s->hold.stage, s->hold.counted.by_standing[STANDING_IN_FLIGHT], s->hold.counted.handles,
              s->hold.counted.by_standing[STANDING_PARKED], s->hold.counted.by_standing[STANDING_HELD], s->hold.why);
    look_later(s);
}

/* What a process that ends has held must stay held: without the cork its end would send it. */
static bool is_ending(const struct supervisor *s)
{
    return s->lifecycle.phase == PHASE_KILLING || (s->lifecycle.phase == PHASE_SIGNALLED && s->lifecycle.ends_at_once);
}

void looks_agent_lost(void *supervisor, enum agent_loss loss, const char *why)
{
    struct supervisor *s = supervisor;
    s->look_asked = false;
    if (s->lifecycle.phase != PHASE_RUNNING && s->lifecycle.phase < PHASE_WAITING)
        record_unknown(&s->record, "what happened while there was no agent", "%s", why);
    if (loss == AGENT_NOT_THERE)
        record_unknown(&s->record, "the connections of the app", "lastcall-agent could not be started");
    if (!is_ending(s))
        unmark(s);
    hold_restart(&s->hold);
    sweep_agent_lost(s);
    supervisor_post(s, EVENT_AGENT_LOST);
}

void looks_let_go(struct supervisor *s)
{
    unmark(s);
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
