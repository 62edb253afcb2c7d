/* The life of a stop: the table of (phase, event) → small function. Pure: no I/O, no clock, no memory.
 *
 * Read the enum in the header first: it says what each phase waits for. Then the table at the end of this file. */
#include "supervisor/lifecycle/lifecycle.h"

#include <stddef.h>

#define FREEZE_LIMIT_US INT64_C(100000)    /* a freeze that is not complete by then is given up */
#define LOOK_LIMIT_US INT64_C(50000)       /* no process of the app stays frozen for longer than this */
#define REST_LIMIT_US INT64_C(2000000)     /* for what is left when the main process ended by itself */
#define SIGNALLED_LIMIT_US INT64_C(100000) /* an app that lives on after the signal is let go then */
#define LATE_SIGNAL_US INT64_C(2000000)    /* a signal late after a drain still has this long (as the kubelet grants) */

typedef void cell_fn(struct lifecycle *, int64_t now, struct lifecycle_actions *);

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

struct lifecycle_deadlines lifecycle_deadlines_of(int64_t began_us, int64_t grace_us, bool ends_at_once)
{
    int64_t reserve = grace_us < 2000000 ? grace_us * 30 / 100 : most(500000, grace_us * 3 / 100);
    int64_t usable = grace_us - reserve;
    struct lifecycle_deadlines d;
    d.done = began_us + usable;
    d.kill = d.done - least(1000000, usable / 8);
    d.stop = d.kill - least(1000000, usable / 8);
    /* An app that the signal ends at once needs no time after it: its transactions may have nearly all of the grace. */
    d.rest = ends_at_once ? d.stop : began_us + (d.stop - began_us) * 7 / 10;
    d.hold = d.rest - least(REST_LIMIT_US / 2, usable / 10);
    return d;
}

/* The one place that changes the phase. */
static void enter(struct lifecycle *l, enum phase phase, int64_t deadline, const char *why)
{
    l->phase = phase;
    l->deadline_us = deadline;
    l->why = why;
}

static void enter_sweeping(struct lifecycle *l, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SWEEPING, l->deadlines.done, why);
    add(actions, ACTION_SWEEP);
}

static void enter_killing(struct lifecycle *l, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_KILLING, l->deadlines.kill, why);
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_KILL);
}

/* The end begins: duplicates first, then the signal. */
static void enter_signalled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_SIGNALLED, now + SIGNALLED_LIMIT_US, why);
    l->signalled = true;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL);
}

static void enter_stopping(struct lifecycle *l, struct lifecycle_actions *actions, int64_t deadline, const char *why)
{
    enter(l, PHASE_STOPPING, deadline, why);
    add(actions, ACTION_LET_GO);
}

static void enter_end(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    if (l->kill_next)
        enter_killing(l, actions, why);
    else
        enter_signalled(l, now, actions, why);
}

static void enter_resting(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    enter(l, PHASE_RESTING, now + l->settings.drain_hold_us, why);
    add(actions, ACTION_DRAINED);
}

static void enter_holding(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    /* Before SIGKILL the time is shared: what is left after the hold is for the reaping. */
    int64_t share = l->deadlines.stop + (l->deadlines.kill - l->deadlines.stop) * 6 / 10;
    int64_t deadline = l->signalled ? share : l->gave_up ? l->deadlines.rest : l->deadlines.hold;
    if (!l->settings.has_targets && l->drain_only)
        enter_resting(l, now, actions, "there is no target to look at");
    else if (!l->settings.has_targets)
        enter_end(l, now, actions, "there is no target to look at");
    else {
        enter(l, PHASE_HOLDING, deadline, why);
        add(actions, ACTION_LOOK);
    }
}

/* The intake is not watched yet: this phase has nothing to wait for, and is over at once. */
static void enter_draining(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)actions;
    enter(l, PHASE_DRAINING, now, "the app's balancers have had their time");
}

static void begin_clock(struct lifecycle *l, int64_t now)
{
    bool counts = l->drained_until_us && now < l->drained_until_us;
    l->began_us = counts ? l->began_us : now;
    l->deadlines = lifecycle_deadlines_of(l->began_us, l->settings.grace_us, l->ends_at_once);
    if (counts && l->deadlines.done < now + LATE_SIGNAL_US)
        l->deadlines = lifecycle_deadlines_of(now, LATE_SIGNAL_US, l->ends_at_once);
    l->drained_until_us = 0;
}

static void enter_announcing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions, const char *why)
{
    begin_clock(l, now);
    l->kill_next = l->settings.end_by_kill;
    l->gave_up = l->last_chance = l->signalled = false;
    enter(l, PHASE_ANNOUNCING, least(now + l->settings.settle_us, l->deadlines.hold), why);
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

static void nothing(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)l, (void)now, (void)actions;
}

static void running_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = false;
    enter_announcing(l, now, actions, "a stop signal came");
}

static void running_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->drain_only = true;
    l->drained_until_us = 0;
    enter_announcing(l, now, actions, "a drain was asked for");
}

static void call_off(struct lifecycle *l, struct lifecycle_actions *actions)
{
    if (l->drain_only)
        add(actions, ACTION_CALLED_OFF);
    l->drain_only = false;
}

/* The main process ended before it was told to; what is left of its tree is told now, and has little time. */
static void ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->phase == PHASE_RUNNING)
        begin_clock(l, now);
    call_off(l, actions);
    l->signalled = true;
    add(actions, ACTION_LOOK_STOP);
    add(actions, ACTION_ADOPT);
    add(actions, ACTION_SIGNAL_REST);
    enter_stopping(l, actions, least(l->deadlines.stop, now + REST_LIMIT_US),
                   "the app ended by itself, processes of it are left");
}

static void tree_ended_early(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->phase == PHASE_RUNNING)
        begin_clock(l, now);
    call_off(l, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended by itself");
}

static void settled(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_draining(l, now, actions);
}

static void dried_up(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter_holding(l, now, actions, "no request is waited for");
}

/* The stop signal while only a drain was asked for: from here on it is a stop. */
static void drain_becomes_stop(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    call_off(l, actions);
}

static void resting_signal(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    call_off(l, actions);
    enter_holding(l, now, actions, "a stop signal came");
}

static void resting_drain(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)l, (void)now;
    add(actions, ACTION_DRAINED);
}

static void resting_over(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_running(l, actions, "no stop signal came within drain.hold", true);
}

static void resume(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    if (!l->drain_only)
        return; /* a stop signal cannot be called off */
    call_off(l, actions);
    enter_running(l, actions, "the drain was called off", false);
}

static void holding_still(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only) {
        enter_resting(l, now, actions, "still");
        return;
    }
    enter(l, PHASE_FREEZING, now + FREEZE_LIMIT_US, "still, as it seems");
    add(actions, ACTION_FREEZE);
}

static void drain_failed(struct lifecycle *l, struct lifecycle_actions *actions)
{
    add(actions, ACTION_DRAIN_FAILED);
    enter_running(l, actions, "not still by the hold deadline", true);
}

/* The hold deadline: what is in flight is given up, the rest has a little longer. Then one last look, so that the report
 * knows what was lost. */
static void holding_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->drain_only) {
        drain_failed(l, actions);
        return;
    }
    l->last_chance = l->gave_up;
    l->gave_up = true;
    if (!l->last_chance && l->deadlines.rest > now && !l->signalled) {
        add(actions, ACTION_GIVE_UP);
        enter_holding(l, now, actions, "the hold deadline passed: what is in flight is given up");
        return;
    }
    l->last_chance = true;
    enter(l, PHASE_FREEZING, now + FREEZE_LIMIT_US, "the hold deadline passed");
    add(actions, ACTION_GIVE_UP);
    add(actions, ACTION_FREEZE);
}

static void holding_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->gave_up = true;
    if (l->drain_only) /* `drain --now`: whoever asks for it does not want to wait for stillness */
        enter_resting(l, now, actions, "asked to go on at once");
    else
        holding_deadline(l, now, actions);
}

static void frozen(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    enter(l, PHASE_LOOKING, now + LOOK_LIMIT_US, "all are stopped");
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

static void freeze_failed(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    back_to_holding(l, now, actions, "the freeze did not complete");
}

static void looking_still(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_end(l, now, actions, l->gave_up ? "still, but for what was given up" : "still");
}

static void looking_moving(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    back_to_holding(l, now, actions, "not still when frozen");
}

static void looking_late(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    back_to_holding(l, now, actions, "the last look took too long");
}

static void give_up_now(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    l->gave_up = l->last_chance = true;
    enter_end(l, now, actions, "asked to go on at once");
}

/* Who got the signal has ended. The others are still frozen where the signal ends an app at once; else they run, and are
 * held before they are killed. */
static void stopping_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->kill_next = true;
    if (l->ends_at_once || l->last_chance)
        enter_killing(l, actions, "the app ended, processes of it are left");
    else
        enter_holding(l, now, actions, "the app ended, processes of it are left");
}

/* The main process ended while it was held: nobody is left to get the signal. */
static void holding_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    if (l->signalled)
        return; /* known already: what is left is being held before it is killed */
    if (l->phase == PHASE_FREEZING || l->phase == PHASE_LOOKING)
        add(actions, ACTION_THAW);
    ended_early(l, now, actions);
}

static void tree_ended(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    call_off(l, actions);
    add(actions, ACTION_LOOK_STOP);
    enter_sweeping(l, actions, "the app ended");
}

/* An app that is still there is held once more before it is killed. */
static void stopping_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    l->kill_next = true;
    l->gave_up = l->last_chance = false;
    enter_holding(l, now, actions, "the app is still there at the stop deadline");
}

static void let_go(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_stopping(l, actions, l->deadlines.stop, "the app lives on after the signal");
}

static void stopping_escalated(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_killing(l, actions, "asked to go on at once");
}

static void killing_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    enter_sweeping(l, actions, "a killed process is still there");
}

static void done(struct lifecycle *l, const char *why, struct lifecycle_actions *actions)
{
    enter(l, PHASE_DONE, INT64_MAX, why);
    add(actions, ACTION_REPORT);
    add(actions, ACTION_EXIT);
}

static void swept(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    done(l, "every session is answered for", actions);
}

static void sweeping_deadline(struct lifecycle *l, int64_t now, struct lifecycle_actions *actions)
{
    (void)now;
    done(l, "the servers did not answer in time", actions);
}

/* Every cell is filled: `nothing` is deliberate. What a phase does not wait for cannot move it. */
static cell_fn *const table[][EVENTS] = {
    [PHASE_RUNNING] = {[EVENT_STOP_SIGNAL] = running_signal,
                       [EVENT_ESCALATE] = running_signal,
                       [EVENT_DRAIN] = running_drain,
                       [EVENT_RESUME] = nothing,
                       [EVENT_STILL] = nothing,
                       [EVENT_MOVING] = nothing,
                       [EVENT_FROZEN] = nothing,
                       [EVENT_FREEZE_FAILED] = nothing,
                       [EVENT_APP_ENDED] = ended_early,
                       [EVENT_TREE_ENDED] = tree_ended_early,
                       [EVENT_AGENT_LOST] = nothing,
                       [EVENT_AGENT_BACK] = nothing,
                       [EVENT_SWEPT] = nothing,
                       [EVENT_DEADLINE] = nothing},
    [PHASE_ANNOUNCING] = {[EVENT_STOP_SIGNAL] = drain_becomes_stop,
                          [EVENT_ESCALATE] = settled,
                          [EVENT_DRAIN] = nothing,
                          [EVENT_RESUME] = resume,
                          [EVENT_STILL] = nothing,
                          [EVENT_MOVING] = nothing,
                          [EVENT_FROZEN] = nothing,
                          [EVENT_FREEZE_FAILED] = nothing,
                          [EVENT_APP_ENDED] = ended_early,
                          [EVENT_TREE_ENDED] = tree_ended_early,
                          [EVENT_AGENT_LOST] = nothing,
                          [EVENT_AGENT_BACK] = nothing,
                          [EVENT_SWEPT] = nothing,
                          [EVENT_DEADLINE] = settled},
    [PHASE_DRAINING] = {[EVENT_STOP_SIGNAL] = drain_becomes_stop,
                        [EVENT_ESCALATE] = dried_up,
                        [EVENT_DRAIN] = nothing,
                        [EVENT_RESUME] = resume,
                        [EVENT_STILL] = nothing,
                        [EVENT_MOVING] = nothing,
                        [EVENT_FROZEN] = nothing,
                        [EVENT_FREEZE_FAILED] = nothing,
                        [EVENT_APP_ENDED] = ended_early,
                        [EVENT_TREE_ENDED] = tree_ended_early,
                        [EVENT_AGENT_LOST] = nothing,
                        [EVENT_AGENT_BACK] = nothing,
                        [EVENT_SWEPT] = nothing,
                        [EVENT_DEADLINE] = dried_up},
    [PHASE_HOLDING] = {[EVENT_STOP_SIGNAL] = drain_becomes_stop,
                       [EVENT_ESCALATE] = holding_escalated,
                       [EVENT_DRAIN] = nothing,
                       [EVENT_RESUME] = resume,
                       [EVENT_STILL] = holding_still,
                       [EVENT_MOVING] = nothing,
                       [EVENT_FROZEN] = nothing,
                       [EVENT_FREEZE_FAILED] = nothing,
                       [EVENT_APP_ENDED] = holding_ended,
                       [EVENT_TREE_ENDED] = tree_ended,
                       [EVENT_AGENT_LOST] = nothing,
                       [EVENT_AGENT_BACK] = nothing,
                       [EVENT_SWEPT] = nothing,
                       [EVENT_DEADLINE] = holding_deadline},
    [PHASE_FREEZING] = {[EVENT_STOP_SIGNAL] = nothing,
                        [EVENT_ESCALATE] = give_up_now,
                        [EVENT_DRAIN] = nothing,
                        [EVENT_RESUME] = nothing,
                        [EVENT_STILL] = nothing,
                        [EVENT_MOVING] = nothing,
                        [EVENT_FROZEN] = frozen,
                        [EVENT_FREEZE_FAILED] = freeze_failed,
                        [EVENT_APP_ENDED] = holding_ended,
                        [EVENT_TREE_ENDED] = tree_ended,
                        [EVENT_AGENT_LOST] = freeze_failed,
                        [EVENT_AGENT_BACK] = nothing,
                        [EVENT_SWEPT] = nothing,
                        [EVENT_DEADLINE] = freeze_failed},
    [PHASE_LOOKING] = {[EVENT_STOP_SIGNAL] = nothing,
                       [EVENT_ESCALATE] = give_up_now,
                       [EVENT_DRAIN] = nothing,
                       [EVENT_RESUME] = nothing,
                       [EVENT_STILL] = looking_still,
                       [EVENT_MOVING] = looking_moving,
                       [EVENT_FROZEN] = nothing,
                       [EVENT_FREEZE_FAILED] = nothing,
                       [EVENT_APP_ENDED] = holding_ended,
                       [EVENT_TREE_ENDED] = tree_ended,
                       [EVENT_AGENT_LOST] = looking_late,
                       [EVENT_AGENT_BACK] = nothing,
                       [EVENT_SWEPT] = nothing,
                       [EVENT_DEADLINE] = looking_late},
    [PHASE_RESTING] = {[EVENT_STOP_SIGNAL] = resting_signal,
                       [EVENT_ESCALATE] = resting_signal,
                       [EVENT_DRAIN] = resting_drain,
                       [EVENT_RESUME] = resume,
                       [EVENT_STILL] = nothing,
                       [EVENT_MOVING] = nothing,
                       [EVENT_FROZEN] = nothing,
                       [EVENT_FREEZE_FAILED] = nothing,
                       [EVENT_APP_ENDED] = ended_early,
                       [EVENT_TREE_ENDED] = tree_ended_early,
                       [EVENT_AGENT_LOST] = nothing,
                       [EVENT_AGENT_BACK] = nothing,
                       [EVENT_SWEPT] = nothing,
                       [EVENT_DEADLINE] = resting_over},
    [PHASE_SIGNALLED] = {[EVENT_STOP_SIGNAL] = nothing,
                         [EVENT_ESCALATE] = stopping_escalated,
                         [EVENT_DRAIN] = nothing,
                         [EVENT_RESUME] = nothing,
                         [EVENT_STILL] = nothing,
                         [EVENT_MOVING] = nothing,
                         [EVENT_FROZEN] = nothing,
                         [EVENT_FREEZE_FAILED] = nothing,
                         [EVENT_APP_ENDED] = stopping_ended,
                         [EVENT_TREE_ENDED] = tree_ended,
                         [EVENT_AGENT_LOST] = let_go,
                         [EVENT_AGENT_BACK] = nothing,
                         [EVENT_SWEPT] = nothing,
                         [EVENT_DEADLINE] = let_go},
    [PHASE_STOPPING] = {[EVENT_STOP_SIGNAL] = nothing,
                        [EVENT_ESCALATE] = stopping_escalated,
                        [EVENT_DRAIN] = nothing,
                        [EVENT_RESUME] = nothing,
                        [EVENT_STILL] = nothing,
                        [EVENT_MOVING] = nothing,
                        [EVENT_FROZEN] = nothing,
                        [EVENT_FREEZE_FAILED] = nothing,
                        [EVENT_APP_ENDED] = stopping_ended,
                        [EVENT_TREE_ENDED] = tree_ended,
                        [EVENT_AGENT_LOST] = nothing,
                        [EVENT_AGENT_BACK] = nothing,
                        [EVENT_SWEPT] = nothing,
                        [EVENT_DEADLINE] = stopping_deadline},
    [PHASE_KILLING] = {[EVENT_STOP_SIGNAL] = nothing,
                       [EVENT_ESCALATE] = nothing,
                       [EVENT_DRAIN] = nothing,
                       [EVENT_RESUME] = nothing,
                       [EVENT_STILL] = nothing,
                       [EVENT_MOVING] = nothing,
                       [EVENT_FROZEN] = nothing,
                       [EVENT_FREEZE_FAILED] = nothing,
                       [EVENT_APP_ENDED] = nothing,
                       [EVENT_TREE_ENDED] = tree_ended,
                       [EVENT_AGENT_LOST] = nothing,
                       [EVENT_AGENT_BACK] = nothing,
                       [EVENT_SWEPT] = nothing,
                       [EVENT_DEADLINE] = killing_deadline},
    [PHASE_SWEEPING] = {[EVENT_STOP_SIGNAL] = nothing,
                        [EVENT_ESCALATE] = sweeping_deadline,
                        [EVENT_DRAIN] = nothing,
                        [EVENT_RESUME] = nothing,
                        [EVENT_STILL] = nothing,
                        [EVENT_MOVING] = nothing,
                        [EVENT_FROZEN] = nothing,
                        [EVENT_FREEZE_FAILED] = nothing,
                        [EVENT_APP_ENDED] = nothing,
                        [EVENT_TREE_ENDED] = nothing,
                        [EVENT_AGENT_LOST] = nothing,
                        [EVENT_AGENT_BACK] = nothing,
                        [EVENT_SWEPT] = swept,
                        [EVENT_DEADLINE] = sweeping_deadline},
    [PHASE_DONE] = {[EVENT_STOP_SIGNAL] = nothing,
                    [EVENT_ESCALATE] = nothing,
                    [EVENT_DRAIN] = nothing,
                    [EVENT_RESUME] = nothing,
                    [EVENT_STILL] = nothing,
                    [EVENT_MOVING] = nothing,
                    [EVENT_FROZEN] = nothing,
                    [EVENT_FREEZE_FAILED] = nothing,
                    [EVENT_APP_ENDED] = nothing,
                    [EVENT_TREE_ENDED] = nothing,
                    [EVENT_AGENT_LOST] = nothing,
                    [EVENT_AGENT_BACK] = nothing,
                    [EVENT_SWEPT] = nothing,
                    [EVENT_DEADLINE] = nothing},
};
_Static_assert(sizeof table / sizeof *table == PHASES, "a phase without a row");

void lifecycle_init(struct lifecycle *lifecycle, const struct lifecycle_settings *settings)
{
    *lifecycle = (struct lifecycle){
        .settings = *settings, .phase = PHASE_RUNNING, .deadline_us = INT64_MAX, .why = "the app was started"};
}

void lifecycle_step(struct lifecycle *lifecycle, enum lifecycle_event event, int64_t now_us,
                    struct lifecycle_actions *actions)
{
    actions->count = 0;
    table[lifecycle->phase][event](lifecycle, now_us, actions);
}
