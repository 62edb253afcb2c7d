/* Looks: when the agent is asked, and for what. What its answers become is looks_facts.c's.
 *
 * Somebody wants each of them: the lifecycle, the intake, the sweep, or the record of an app that may crash. Never
 * waits for an answer, reads none, and touches nothing of the app. */
#include "common/clock.h"
#include "supervisor/state.h"

#define MOVING_US INT64_C(30000)
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

/* While things move the next look follows at once; a long wait for one query must not cost a core. */
static double pause_of(const struct supervisor *s)
{
    double pause = pause_s[s->lifecycle.phase];
    if (s->lifecycle.phase != PHASE_HOLDING)
        return pause;
    int64_t quiet_us = clock_now_us() - s->hold.moved_at_us;
    return quiet_us < MOVING_US ? 0 : quiet_us < 10 * MOVING_US ? pause : 5 * pause;
}

void looks_later(struct supervisor *s, double more)
{
    double pause = pause_of(s);
    if (s->looking && pause >= 0)
        look_after(s, pause + more);
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

bool looks_ask_for_own(struct supervisor *s)
{
    if (!s->keeper || !agent_keeper_is_up(s->keeper))
        return false;
    struct look_wants wants = {.text = true, .own = true, .whole = true};
    s->look_asked = agent_keeper_look(s->keeper, ++s->look, ANSWER_MS, &wants) == 0;
    return s->look_asked;
}
