/* A stop on its way to stillness: the signal, balancers look away, the intake dries up, looks follow each other until
 * nothing is in flight, the freeze, the last look. What comes then is in cells_end.c; only what is still there at the
 * stop deadline, or when the main process has ended, comes back from there, to be held once more.
 *
 * Pure: no I/O, no clock, no memory. No phase here is without a deadline: stillness that does not come is not waited
 * for beyond it. */
#include "supervisor/lifecycle/ways.h"

#define FREEZE_LIMIT_US INT64_C(100000) /* a freeze that is not complete by then is given up */
#define LOOK_LIMIT_US INT64_C(50000)    /* no process of the app stays frozen for longer than this */

void cell_running_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = false;
    enter_announcing(l, now, actions, "a stop signal came");
}

/* What the drain waits for the hook, at most: its own timeout, and half of what is left until the hold's deadline. A
 * hook that hangs must not cost the transactions the time that they need after it. */
static int64_t announce_limit(const struct lifecycle *l, int64_t now)
{
    return least(l->settings.announce_us, most(l->deadlines.hold - now, 0) / 2);
}

void enter_announcing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    deadlines_begin(l, now);
    l->kill_next = l->settings.end_by_kill;
    l->gave_up = l->last_chance = l->signalled = l->alone = false;
    l->settled_us = least(now + l->settings.settle_us, l->deadlines.hold);
    enter(l, PHASE_ANNOUNCING, most(l->settled_us, now + announce_limit(l, now)), why);
    add(actions, ACTION_ANNOUNCE);
    if (!l->drain_only && l->settings.signal_first)
        enter_signalled(l, now, actions, "stop.order is signal-first");
}

/* Balancers look away when both are over: their time, and the hook that tells them. */
void cell_announced(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)actions;
    l->deadline_us = least(l->deadline_us, most(l->settled_us, now));
}

/* The intake has half of the time until the hold deadline; where it is left alone, DRAINING is over at once. */
void cell_settled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    int64_t share = l->settings.drains ? most(l->deadlines.hold - now, 0) / 2 : 0;
    enter(l, PHASE_DRAINING, now + share, "the app's balancers have had their time");
    if (l->settings.drains)
        add(actions, ACTION_DRAIN);
}

void cell_dried_up(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_holding(l, now, actions, "no request is in progress");
}

void cell_drain_late(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_holding(l, now, actions, "no request is waited for any more");
}

void enter_holding(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (!l->settings.has_targets && l->drain_only)
        enter_resting(l, now, actions, ACTION_DRAINED, "there is no target to look at");
    else if (!l->settings.has_targets)
        enter_end(l, now, actions, l->kill_next ? why : "there is no target to look at");
    else {
        enter(l, PHASE_HOLDING, deadlines_of_hold(l), why);
        add(actions, ACTION_LOOK);
    }
}

static void enter_freezing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_FREEZING, least(now + FREEZE_LIMIT_US, deadlines_hold_over_by(l)), why);
    add(actions, ACTION_FREEZE);
}

void cell_holding_still(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only)
        enter_resting(l, now, actions, ACTION_DRAINED, "still");
    else
        enter_freezing(l, now, actions, "still, as it seems");
}

/* The hold deadline: what is in flight is given up, the rest has a little longer. Then one last look, so that the
 * report knows what was lost. */
void cell_holding_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only) {
        drain_fail(l, actions);
        return;
    }
    bool second = l->gave_up || l->signalled || l->deadlines.rest <= now;
    l->gave_up = true;
    add(actions, ACTION_GIVE_UP);
    if (!second) {
        enter_holding(l, now, actions, "the hold deadline passed: what is in flight is given up");
        return;
    }
    l->last_chance = true;
    enter_freezing(l, now, actions, "the hold deadline passed");
}

/* `drain --now`: whoever asks for it does not want to wait for stillness, and is told that there is none. */
void cell_holding_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->gave_up = true;
    if (l->drain_only) {
        enter_resting(l, now, actions, ACTION_DRAIN_FAILED, "asked to go on at once");
        return;
    }
    cell_holding_deadline(l, now, actions);
}

void cell_frozen(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter(l, PHASE_LOOKING, least(now + LOOK_LIMIT_US, deadlines_hold_over_by(l)), "all are stopped");
    add(actions, ACTION_LOOK);
}

static void back_to_holding(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (l->last_chance) {
        enter_end(l, now, actions, "the hold deadline passed");
        return;
    }
    add(actions, ACTION_THAW);
    enter_holding(l, now, actions, why);
}

void cell_freeze_failed(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    back_to_holding(l, now, actions, "the freeze did not complete");
}

void cell_looking_still(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_frozen_end(l, now, actions, l->gave_up ? "still, but for what was given up" : "still");
}

void cell_looking_moving(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->last_chance)
        enter_frozen_end(l, now, actions, "the hold deadline passed");
    else
        back_to_holding(l, now, actions, "not still when frozen");
}

void cell_looking_late(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->last_chance)
        enter_frozen_end(l, now, actions, "the hold deadline passed, and the last look took too long");
    else
        back_to_holding(l, now, actions, "the last look took too long");
}

void cell_give_up_now(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->gave_up = l->last_chance = true;
    enter_end(l, now, actions, "asked to go on at once");
}
