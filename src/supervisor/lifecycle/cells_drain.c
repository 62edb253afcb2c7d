/* A drain: the way to stillness is a stop's (cells_stillness.c), but it leads to rest and not to the end. From there
 * the app goes on, or the stop signal takes over.
 *
 * Pure: no I/O, no clock, no memory. Never signals the app, and never leaves `drain`'s callers without an answer. */
#include "supervisor/lifecycle/ways.h"

void cell_running_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = true;
    l->drained_until_us = 0;
    enter_announcing(l, now, actions, "a drain was asked for");
}

void enter_resting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions,
                   enum lifecycle_action told, const char *why)
{
    enter(l, PHASE_RESTING, now + l->settings.drain_hold_us, why);
    add(actions, told);
}

/* Asked again, with or without `--now`: it is as still as it gets, and a drain never stops the app. */
void cell_resting_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    add(actions, l->gave_up ? ACTION_DRAIN_FAILED : ACTION_DRAINED);
}

/* Back to RUNNING after a drain that no signal followed; its time still counts for a signal that follows soon. */
static void enter_running(struct lifecycle *l, struct lifecycle_actions *actions, const char *why, bool count)
{
    l->drained_until_us = count ? l->began_us + l->settings.grace_us : 0;
    l->drain_only = false;
    enter(l, PHASE_RUNNING, INT64_MAX, why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_LET_GO);
    add(actions, ACTION_UNANNOUNCE);
}

void cell_resting_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_running(l, actions, "no stop signal came within drain.hold", true);
}

void drain_fail(struct lifecycle *l, struct lifecycle_actions *actions)
{
    add(actions, ACTION_DRAIN_FAILED);
    enter_running(l, actions, "not still by the hold deadline", true);
}

/* The drain is over: by `resume`, by the stop that takes over, or because the app ended. */
void drain_call_off(struct lifecycle *l, struct lifecycle_actions *actions)
{
    if (l->drain_only)
        add(actions, ACTION_CALLED_OFF);
    l->drain_only = false;
}

void cell_resume(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    if (!l->drain_only)
        return; /* a stop signal cannot be called off */
    drain_call_off(l, actions);
    enter_running(l, actions, "the drain was called off", false);
}

/* The stop signal while only a drain was asked for: from here on it is a stop. The same signal again is nothing. */
void cell_drain_becomes_stop(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (!l->drain_only)
        return;
    drain_call_off(l, actions);
    deadlines_divide_rest(l, now);
    if (l->phase == PHASE_HOLDING)
        l->deadline_us = deadlines_of_hold(l);
}

void cell_resting_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    drain_call_off(l, actions);
    l->gave_up = false;
    deadlines_divide_rest(l, now);
    enter_holding(l, now, actions, "a stop signal came");
}
