/* The cells of the lifecycle's table: what an event does in a phase. Private to src/supervisor/lifecycle/.
 *
 * A cell changes the phase or leaves it, and adds to the list of actions, which its caller has emptied. A stop is read
 * from cells_stillness.c on into cells_end.c; ways.h has what leads from one file to the next. */
#ifndef SUPERVISOR_LIFECYCLE_CELLS_H
#define SUPERVISOR_LIFECYCLE_CELLS_H

#include "supervisor/lifecycle/lifecycle.h"

typedef void cell_fn(struct lifecycle *lifecycle, int64_t now_us, struct lifecycle_actions *actions);

/* cells_stillness.c: from the signal to the last look */
cell_fn cell_running_signal, cell_announced, cell_settled, cell_dried_up, cell_drain_late;
cell_fn cell_holding_still, cell_holding_deadline, cell_holding_escalated;
cell_fn cell_frozen, cell_freeze_failed, cell_looking_still, cell_looking_moving, cell_looking_late, cell_give_up_now;

/* cells_end.c: from there to the report */
cell_fn cell_ending_over, cell_ending_late, cell_let_go, cell_signalled_agent_lost;
cell_fn cell_stopping_deadline, cell_stopping_escalated, cell_stopping_ended, cell_killing_deadline, cell_tree_ended;
cell_fn cell_swept, cell_sweeping_deadline, cell_sweeping_escalated;

/* cells_drain.c: what a drain is, and becomes */
cell_fn cell_running_drain, cell_resting_drain, cell_resting_over, cell_resume;
cell_fn cell_drain_becomes_stop, cell_resting_signal;

/* cells_life.c: the app ends before it was told to; another life */
cell_fn cell_ended_early, cell_tree_ended_early, cell_holding_ended;
cell_fn cell_waiting_over, cell_waiting_stop;

/* restart.c: is there another life, at `now_us`, after the one that was swept? */
enum restart_verdict { RESTART_NOT, RESTART_AGAIN, RESTART_TOO_OFTEN };
enum restart_verdict restart_judge(const struct lifecycle *lifecycle, int64_t now_us);
/* The wait before it, in microseconds; the next one will be longer. */
int64_t restart_next_wait(struct lifecycle *lifecycle);
/* It begins: what belonged to the last life is forgotten. */
void restart_begin(struct lifecycle *lifecycle, int64_t now_us);

#endif
