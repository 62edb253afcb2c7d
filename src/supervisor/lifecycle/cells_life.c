/* The app ends before it was told to, and may get another life. It takes the same way from there to the report
 * (cells_end.c); whether and when another life follows is restart.c's.
 *
 * Pure: no I/O, no clock, no memory. Never starts an app again that somebody asked to stop. */
#include "supervisor/lifecycle/ways.h"

#define REST_LIMIT_US INT64_C(2000000) /* for what is left when the main process ended by itself */

/* An end that nobody asked for has a grace of its own; one within a drain has what is left of it. */
void early_end_begin(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->by_itself |= l->phase == PHASE_RUNNING;
    if (l->phase == PHASE_RUNNING)
        deadlines_begin(l, now);
    else if (l->drain_only)
        deadlines_divide_rest(l, now);
    drain_call_off(l, actions);
}

/* The main process ended before it was told to; what is left of its tree is told now, and has little time. */
void cell_ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    early_end_begin(l, now, actions);
    l->signalled = l->alone = true;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL_REST);
    enter_stopping(l, actions, least(l->deadlines.stop, now + REST_LIMIT_US),
                   "the app ended by itself, processes of it are left");
}

void cell_tree_ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    early_end_begin(l, now, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended by itself");
}

/* The main process ended while it was held: nobody is left to get the signal. */
void cell_holding_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->signalled)
        return; /* known already: what is left is being held before it is killed */
    if (l->phase == PHASE_FREEZING || l->phase == PHASE_LOOKING || l->phase == PHASE_ENDING)
        add(actions, ACTION_THAW);
    cell_ended_early(l, now, actions);
}

void enter_waiting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter(l, PHASE_WAITING, now + restart_next_wait(l), "the app ended by itself: it is started again");
    add(actions, ACTION_REPORT);
    add(actions, ACTION_WAIT);
}

void cell_waiting_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    restart_begin(l, now);
    enter(l, PHASE_RUNNING, INT64_MAX, "the app was started again");
    add(actions, ACTION_START);
}

/* Nothing runs and all is reported: only the agent's own goodbyes need a clock. */
void cell_waiting_stop(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    deadlines_begin(l, now);
    enter(l, PHASE_DONE, INT64_MAX, "asked to stop before the app was started again");
    add(actions, ACTION_ANNOUNCE);
    add(actions, ACTION_EXIT);
}
