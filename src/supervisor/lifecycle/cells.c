/* The cells of the lifecycle's table, and the ways into each phase that they share. Pure: no I/O, no clock, no memory.
 *
 * Deadlines are absolute, and none is later than `done`: whatever happens, the deadlines alone lead to the end. */
#include "supervisor/lifecycle/cells.h"

#define FREEZE_LIMIT_US INT64_C(100000)    /* a freeze that is not complete by then is given up */
#define LOOK_LIMIT_US INT64_C(50000)       /* no process of the app stays frozen for longer than this */
#define REST_LIMIT_US INT64_C(2000000)     /* for what is left when the main process ended by itself */
#define ENDING_LIMIT_US INT64_C(150000)    /* the app is frozen meanwhile, and will not run again */
#define SIGNALLED_LIMIT_US INT64_C(100000) /* an app that lives on after the signal is let go then */
#define KILL_LEAST_US INT64_C(100000)      /* a killed process is reaped well within this */
#define LATE_SIGNAL_US INT64_C(2000000)    /* a signal late after a drain still has this long (as the kubelet grants) */

static void add(struct lifecycle_actions *actions, enum lifecycle_action action)
{
    actions->list[actions->count++] = action;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The one place that changes the phase. */
static void enter(struct lifecycle *l, enum phase phase, int64_t deadline, const char *why)
{
    l->phase = phase;
    l->deadline_us = deadline;
    l->why = why;
}

/* The way from a hold to what follows it may not eat the time of what comes then. */
static int64_t hold_over_by(const struct lifecycle *l)
{
    int64_t after = l->deadlines.kill - l->deadlines.stop;
    return l->deadlines.stop + (l->signalled ? after * 8 / 10 : after / 4);
}

static void enter_sweeping(struct lifecycle *l, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SWEEPING, l->deadlines.done, why);
    add(actions, ACTION_SWEEP);
}

static void enter_killing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_KILLING, least(most(l->deadlines.kill, now + KILL_LEAST_US), l->deadlines.done), why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_KILL);
}

/* The end begins: duplicates first, then the signal. */
static void enter_signalled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SIGNALLED, least(now + SIGNALLED_LIMIT_US, l->deadlines.kill), why);
    l->signalled = true;
    l->signalled_us = now;
    l->sequence_sent = 0;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL);
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

static void enter_stopping(struct lifecycle *l, struct lifecycle_actions *actions, int64_t deadline, const char *why)
{
    enter(l, PHASE_STOPPING, least(deadline, next_signal_us(l)), why);
    add(actions, ACTION_LET_GO);
}

static void enter_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (l->kill_next)
        enter_killing(l, now, actions, why);
    else
        enter_signalled(l, now, actions, why);
}

/* The end, of an app that is frozen. Without hands its sockets close with it, and its idle sessions would be abandoned:
 * the servers end them first. An app that runs on after the signal closes them by itself; one that could not be frozen
 * may have begun anew on them. */
static void enter_frozen_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (!l->no_hands || l->no_freeze || !(l->ends_at_once || l->kill_next)) {
        enter_end(l, now, actions, why);
        return;
    }
    enter(l, PHASE_ENDING, least(now + ENDING_LIMIT_US, hold_over_by(l)), why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_END);
}

/* `told`: ACTION_DRAINED or ACTION_DRAIN_FAILED. */
static void enter_resting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions,
                          enum lifecycle_action told, const char *why)
{
    enter(l, PHASE_RESTING, now + l->settings.drain_hold_us, why);
    add(actions, told);
}

static int64_t hold_deadline(const struct lifecycle *l)
{
    /* Before SIGKILL the time is shared: what is left after the hold is for the reaping. */
    if (l->signalled)
        return l->deadlines.stop + (l->deadlines.kill - l->deadlines.stop) * 6 / 10;
    return l->gave_up ? l->deadlines.rest : l->deadlines.hold;
}

static void enter_holding(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (!l->settings.has_targets && l->drain_only)
        enter_resting(l, now, actions, ACTION_DRAINED, "there is no target to look at");
    else if (!l->settings.has_targets)
        enter_end(l, now, actions, "there is no target to look at");
    else {
        enter(l, PHASE_HOLDING, hold_deadline(l), why);
        add(actions, ACTION_LOOK);
    }
}

static void enter_freezing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_FREEZING, least(now + FREEZE_LIMIT_US, hold_over_by(l)), why);
    add(actions, ACTION_FREEZE);
}

/* A drain was under way, or was before: its clock goes on, and what is left of it is divided anew. The drain's own
 * share for the hold may be gone, but a transaction that is in flight now has all the time that there is. */
static void divide_rest(struct lifecycle *l, int64_t now)
{
    int64_t left = l->began_us + l->settings.grace_us - now;
    int64_t late = least(LATE_SIGNAL_US, l->settings.grace_us);
    l->deadlines = lifecycle_deadlines_of(now, most(left, late), l->ends_at_once);
}

static void begin_clock(struct lifecycle *l, int64_t now)
{
    bool counts = l->drained_until_us && now < l->drained_until_us;
    l->drained_until_us = 0;
    if (!counts)
        l->began_us = now;
    divide_rest(l, now);
}

/* What the drain waits for the hook, at most: its own timeout, and half of what is left until the hold's deadline. A
 * hook that hangs must not cost the transactions the time that they need after it. */
static int64_t announce_limit(const struct lifecycle *l, int64_t now)
{
    return least(l->settings.announce_us, most(l->deadlines.hold - now, 0) / 2);
}

static void enter_announcing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    begin_clock(l, now);
    l->kill_next = l->settings.end_by_kill;
    l->gave_up = l->last_chance = l->signalled = l->alone = false;
    l->settled_us = least(now + l->settings.settle_us, l->deadlines.hold);
    enter(l, PHASE_ANNOUNCING, most(l->settled_us, now + announce_limit(l, now)), why);
    add(actions, ACTION_ANNOUNCE);
    if (!l->drain_only && l->settings.signal_first)
        enter_signalled(l, now, actions, "stop.order is signal-first");
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

/* The drain is over: by `resume`, by the stop that takes over, or because the app ended. */
static void call_off(struct lifecycle *l, struct lifecycle_actions *actions)
{
    if (l->drain_only)
        add(actions, ACTION_CALLED_OFF);
    l->drain_only = false;
}

void cell_nothing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)l, (void)now, (void)actions;
}

void cell_running_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = false;
    enter_announcing(l, now, actions, "a stop signal came");
}

void cell_running_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = true;
    l->drained_until_us = 0;
    enter_announcing(l, now, actions, "a drain was asked for");
}

/* The stop signal while only a drain was asked for: from here on it is a stop. The same signal again is nothing. */
void cell_drain_becomes_stop(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (!l->drain_only)
        return;
    call_off(l, actions);
    divide_rest(l, now);
    if (l->phase == PHASE_HOLDING)
        l->deadline_us = hold_deadline(l);
}

void cell_resting_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    call_off(l, actions);
    l->gave_up = false;
    divide_rest(l, now);
    enter_holding(l, now, actions, "a stop signal came");
}

/* Asked again, with or without `--now`: it is as still as it gets, and a drain never stops the app. */
void cell_resting_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    add(actions, l->gave_up ? ACTION_DRAIN_FAILED : ACTION_DRAINED);
}

void cell_resting_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_running(l, actions, "no stop signal came within drain.hold", true);
}

void cell_resume(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    if (!l->drain_only)
        return; /* a stop signal cannot be called off */
    call_off(l, actions);
    enter_running(l, actions, "the drain was called off", false);
}

/* An end that nobody asked for has a grace of its own; one within a drain has what is left of it. */
static void clock_of_early_end(struct lifecycle *l, int64_t now)
{
    l->by_itself |= l->phase == PHASE_RUNNING;
    if (l->phase == PHASE_RUNNING)
        begin_clock(l, now);
    else if (l->drain_only)
        divide_rest(l, now);
}

/* The main process ended before it was told to; what is left of its tree is told now, and has little time. */
void cell_ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    clock_of_early_end(l, now);
    call_off(l, actions);
    l->signalled = l->alone = true;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL_REST);
    enter_stopping(l, actions, least(l->deadlines.stop, now + REST_LIMIT_US),
                   "the app ended by itself, processes of it are left");
}

void cell_tree_ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    clock_of_early_end(l, now);
    call_off(l, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended by itself");
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

void cell_holding_still(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only)
        enter_resting(l, now, actions, ACTION_DRAINED, "still");
    else
        enter_freezing(l, now, actions, "still, as it seems");
}

static void drain_failed(struct lifecycle *l, struct lifecycle_actions *actions)
{
    add(actions, ACTION_DRAIN_FAILED);
    enter_running(l, actions, "not still by the hold deadline", true);
}

/* The hold deadline: what is in flight is given up, the rest has a little longer. Then one last look, so that the
 * report knows what was lost. */
void cell_holding_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only) {
        drain_failed(l, actions);
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
    enter(l, PHASE_LOOKING, least(now + LOOK_LIMIT_US, hold_over_by(l)), "all are stopped");
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

void cell_ending_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_end(l, now, actions, "what was idle is ended as far as can be");
}

void cell_ending_late(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_end(l, now, actions, "the servers took too long to end what is idle");
}

void cell_give_up_now(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->gave_up = l->last_chance = true;
    enter_end(l, now, actions, "asked to go on at once");
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

/* The main process ended while it was held: nobody is left to get the signal. */
void cell_holding_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->signalled)
        return; /* known already: what is left is being held before it is killed */
    if (l->phase == PHASE_FREEZING || l->phase == PHASE_LOOKING || l->phase == PHASE_ENDING)
        add(actions, ACTION_THAW);
    cell_ended_early(l, now, actions);
}

void cell_tree_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    clock_of_early_end(l, now);
    call_off(l, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended");
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

void cell_stopping_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_killing(l, now, actions, "asked to go on at once");
}

void cell_killing_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_sweeping(l, actions, "a killed process is still there");
}

static void enter_waiting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter(l, PHASE_WAITING, now + restart_next_wait(l), "the app ended by itself: it is started again");
    add(actions, ACTION_REPORT);
    add(actions, ACTION_WAIT);
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

void cell_waiting_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    restart_begin(l, now);
    enter(l, PHASE_RUNNING, INT64_MAX, "the app was started again");
    add(actions, ACTION_START);
}

/* Nothing runs and all is reported: only the agent's own goodbyes need a clock. */
void cell_waiting_stop(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    begin_clock(l, now);
    enter(l, PHASE_DONE, INT64_MAX, "asked to stop before the app was started again");
    add(actions, ACTION_ANNOUNCE);
    add(actions, ACTION_EXIT);
}
