/* The ways from one file of cells to the next, and what all of them share. Private to src/supervisor/lifecycle/.
 *
 * A way enters a phase: it sets the deadline and adds what is to be done there. Those that only one file needs are in
 * that file, beside the cells of the phase. `why` is a literal. */
#ifndef SUPERVISOR_LIFECYCLE_WAYS_H
#define SUPERVISOR_LIFECYCLE_WAYS_H

#include "supervisor/lifecycle/cells.h"

static inline void add(struct lifecycle_actions *actions, enum lifecycle_action action)
{
    actions->list[actions->count++] = action;
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The one place that changes the phase. */
static inline void enter(struct lifecycle *l, enum phase phase, int64_t deadline, const char *why)
{
    l->phase = phase;
    l->deadline_us = deadline;
    l->why = why;
}

/* deadlines.c: a stop's, or a drain's, clock begins; or it goes on, and what is left of it is divided anew. */
void deadlines_begin(struct lifecycle *l, int64_t now);
void deadlines_divide_rest(struct lifecycle *l, int64_t now);
/* When HOLDING ends, and when the freeze and the last look after it are over, too. */
int64_t deadlines_of_hold(const struct lifecycle *l);
int64_t deadlines_hold_over_by(const struct lifecycle *l);

/* cells_stillness.c */
void enter_announcing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why);
void enter_holding(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why);

/* cells_end.c. The end is the stop signal, or SIGKILL where that is next (`kill_next`); that of an app that is frozen
 * may have ENDING before it. */
void enter_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why);
void enter_frozen_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why);
void enter_signalled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why);
void enter_stopping(struct lifecycle *l, struct lifecycle_actions *actions, int64_t deadline, const char *why);
void enter_sweeping(struct lifecycle *l, struct lifecycle_actions *actions, const char *why);

/* cells_drain.c: `told` is ACTION_DRAINED or ACTION_DRAIN_FAILED. */
void enter_resting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, enum lifecycle_action told,
                   const char *why);
void drain_fail(struct lifecycle *l, struct lifecycle_actions *actions);
void drain_call_off(struct lifecycle *l, struct lifecycle_actions *actions);

/* cells_life.c: the app's end has come before it was told to, perhaps within a drain; the phase is not changed yet. */
void early_end_begin(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions);
void enter_waiting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions);

#endif
