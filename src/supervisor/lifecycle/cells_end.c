/* The end of a stop: what is idle is ended where there are no hands, the stop signal, the app's own clean-up, SIGKILL,
 * the sweep, the report. Before it is cells_stillness.c; after it, for an app that nobody asked to stop, cells_life.c.
 *
 * Pure: no I/O, no clock, no memory. No phase here ends later than `done`, and none is left but to a later one or,
 * once, to HOLDING before SIGKILL. */
#include "supervisor/lifecycle/ways.h"

#define ENDING_LIMIT_US INT64_C(150000)    /* the app is frozen meanwhile, and will not run again */
#define SIGNALLED_LIMIT_US INT64_C(100000) /* an app that lives on after the signal is let go then */
#define KILL_LEAST_US INT64_C(100000)      /* a killed process is reaped well within this */

/* The end begins: duplicates first, then the signal. */
void enter_signalled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SIGNALLED, least(now + SIGNALLED_LIMIT_US, l->deadlines.kill), why);
    l->signalled = true;
    l->signalled_us = now;
    l->sequence_sent = 0;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL);
}

static void enter_killing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_KILLING, least(most(l->deadlines.kill, now + KILL_LEAST_US), l->deadlines.done), why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_KILL);
}

void enter_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (l->kill_next)
        enter_killing(l, now, actions, why);
    else
        enter_signalled(l, now, actions, why);
}

/* The end, of an app that is frozen. Without hands its sockets close with it, and its idle sessions would be abandoned:
 * the servers end them first. An app that runs on after the signal closes them by itself; one that could not be frozen
 * may have begun anew on them. */
void enter_frozen_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (!l->no_hands || l->no_freeze || !(l->ends_at_once || l->kill_next)) {
        enter_end(l, now, actions, why);
        return;
    }
    enter(l, PHASE_ENDING, least(now + ENDING_LIMIT_US, deadlines_hold_over_by(l)), why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_END);
}

void cell_ending_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_end(l, now, actions, "what was idle is ended as far as can be");
}

void cell_ending_late(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_end(l, now, actions, "the servers took too long to end what is idle");
}

void cell_let_go(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_stopping(l, actions, l->deadlines.stop, "the app lives on after the signal");
}

/* An app that the signal ends is ending: what it has held must not be sent by its end. Any other one is let go. */
void cell_signalled_agent_lost(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (!l->ends_at_once)
        cell_let_go(l, now, actions);
}

/* When the next signal of the sequence is due; INT64_MAX: none is, for one that would come as late as the stop deadline
 * does not come, and one that ended by itself was told only once. */
static int64_t next_signal_us(const struct lifecycle *l)
{
    if (l->alone || l->sequence_sent >= l->settings.sequence_count)
        return INT64_MAX;
    int64_t due = l->signalled_us + l->settings.sequence_us[l->sequence_sent];
    return due < l->deadlines.stop ? due : INT64_MAX;
}

void enter_stopping(struct lifecycle *l, struct lifecycle_actions *actions, int64_t deadline, const char *why)
{
    enter(l, PHASE_STOPPING, least(deadline, next_signal_us(l)), why);
    add(actions, ACTION_LET_GO);
}

/* The app is still there: one signal a step, for two that are due at once follow each other without a wait. */
static void send_next(struct lifecycle *l, struct lifecycle_actions *actions)
{
    l->sequence_sent++;
    l->deadline_us = least(l->deadlines.stop, next_signal_us(l));
    add(actions, ACTION_SIGNAL_NEXT);
}

/* The next signal of the sequence, if one is due. At the stop deadline the app is held once more before it is killed. */
void cell_stopping_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (next_signal_us(l) <= now && now < l->deadlines.stop) {
        send_next(l, actions);
        return;
    }
    bool unsent = !l->alone && l->sequence_sent < l->settings.sequence_count;
    l->kill_next = true;
    l->gave_up = l->last_chance = false;
    enter_holding(l, now, actions, unsent ? "the stop deadline came before all of stop.sequence was sent"
                                          : "the app is still there at the stop deadline");
}

void cell_stopping_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_killing(l, now, actions, "asked to go on at once");
}

/* Who got the signal has ended. The others are still frozen where the signal ends an app at once; else they run, and
 * are held before they are killed. */
void cell_stopping_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->alone)
        return; /* known already: what is left was told to end, and has its time */
    l->kill_next = true;
    if (l->ends_at_once || l->last_chance)
        enter_killing(l, now, actions, "the app ended, processes of it are left");
    else
        enter_holding(l, now, actions, "the app ended, processes of it are left");
}

void cell_killing_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_sweeping(l, actions, "a killed process is still there");
}

void cell_tree_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    early_end_begin(l, now, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended");
}

void enter_sweeping(struct lifecycle *l, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SWEEPING, l->deadlines.done, why);
    add(actions, ACTION_SWEEP);
}

/* The life is over and answered for: the end of all, or only of this one. */
static void over(struct lifecycle *l, int64_t now, const char *why, struct lifecycle_actions *actions)
{
    enum restart_verdict verdict = restart_judge(l, now);
    if (verdict == RESTART_AGAIN) {
        enter_waiting(l, now, actions);
        return;
    }
    enter(l, PHASE_DONE, INT64_MAX, verdict == RESTART_TOO_OFTEN ? "the app was started again too often" : why);
    add(actions, ACTION_REPORT);
    if (verdict == RESTART_TOO_OFTEN)
        add(actions, ACTION_STAY_DOWN);
    add(actions, ACTION_EXIT);
}

void cell_swept(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    over(l, now, "nothing is left to wait for", actions);
}

void cell_sweeping_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    over(l, now, "the servers did not answer in time", actions);
}

void cell_sweeping_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    over(l, now, "asked to go on at once", actions);
}
