/* Names of phases, events and actions, for the log, the scenarios and the report. Pure. */
#include "supervisor/lifecycle/lifecycle.h"

static const char *const public_names[] = {
    [PHASE_RUNNING] = "running", [PHASE_ANNOUNCING] = "announcing", [PHASE_DRAINING] = "draining",
    [PHASE_HOLDING] = "holding", [PHASE_FREEZING] = "holding",      [PHASE_LOOKING] = "holding",
    [PHASE_ENDING] = "holding",  [PHASE_RESTING] = "holding",      [PHASE_SIGNALLED] = "stopping",
    [PHASE_STOPPING] = "stopping", [PHASE_KILLING] = "killing",    [PHASE_SWEEPING] = "sweeping",
    [PHASE_WAITING] = "waiting", [PHASE_DONE] = "done"};
static const char *const phase_names[] = {
    [PHASE_RUNNING] = "running", [PHASE_ANNOUNCING] = "announcing", [PHASE_DRAINING] = "draining",
    [PHASE_HOLDING] = "holding", [PHASE_FREEZING] = "freezing",     [PHASE_LOOKING] = "looking",
    [PHASE_ENDING] = "ending",   [PHASE_RESTING] = "resting",      [PHASE_SIGNALLED] = "signalled",
    [PHASE_STOPPING] = "stopping", [PHASE_KILLING] = "killing",    [PHASE_SWEEPING] = "sweeping",
    [PHASE_WAITING] = "waiting", [PHASE_DONE] = "done"};
static const char *const event_names[] = {[EVENT_STOP_SIGNAL] = "stop-signal",
                                          [EVENT_ESCALATE] = "escalate",
                                          [EVENT_DRAIN] = "drain",
                                          [EVENT_RESUME] = "resume",
                                          [EVENT_ANNOUNCED] = "announced",
                                          [EVENT_STILL] = "still",
                                          [EVENT_MOVING] = "moving",
                                          [EVENT_FROZEN] = "frozen",
                                          [EVENT_FREEZE_FAILED] = "freeze-failed",
                                          [EVENT_APP_ENDED] = "app-ended",
                                          [EVENT_TREE_ENDED] = "tree-ended",
                                          [EVENT_AGENT_LOST] = "agent-lost",
                                          [EVENT_AGENT_BACK] = "agent-back",
                                          [EVENT_SWEPT] = "swept",
                                          [EVENT_DEADLINE] = "deadline"};
static const char *const action_names[] = {[ACTION_ANNOUNCE] = "announce",
                                           [ACTION_UNANNOUNCE] = "unannounce",
                                           [ACTION_DRAIN] = "drain",
                                           [ACTION_LOOK] = "look",
                                           [ACTION_LOOK_STOP] = "look-stop",
                                           [ACTION_GIVE_UP] = "give-up",
                                           [ACTION_FREEZE] = "freeze",
                                           [ACTION_THAW] = "thaw",
                                           [ACTION_ADOPT] = "adopt",
                                           [ACTION_LET_GO] = "let-go",
                                           [ACTION_END] = "end",
                                           [ACTION_SIGNAL] = "signal",
                                           [ACTION_SIGNAL_NEXT] = "signal-next",
                                           [ACTION_SIGNAL_REST] = "signal-rest",
                                           [ACTION_KILL] = "kill",
                                           [ACTION_SWEEP] = "sweep",
                                           [ACTION_DRAINED] = "drained",
                                           [ACTION_DRAIN_FAILED] = "drain-failed",
                                           [ACTION_CALLED_OFF] = "called-off",
                                           [ACTION_REPORT] = "report",
                                           [ACTION_EXIT] = "exit",
                                           [ACTION_WAIT] = "wait",
                                           [ACTION_START] = "start",
                                           [ACTION_STAY_DOWN] = "stay-down"};

_Static_assert(sizeof public_names / sizeof *public_names == PHASES, "a phase without a name");
_Static_assert(sizeof phase_names / sizeof *phase_names == PHASES, "a phase without a name");
_Static_assert(sizeof event_names / sizeof *event_names == EVENTS, "an event without a name");
_Static_assert(sizeof action_names / sizeof *action_names == ACTIONS, "an action without a name");

const char *phase_public_name(enum phase phase)
{
    return public_names[phase];
}

const char *phase_name(enum phase phase)
{
    return phase_names[phase];
}

const char *event_name(enum lifecycle_event event)
{
    return event_names[event];
}

const char *action_name(enum lifecycle_action action)
{
    return action_names[action];
}
