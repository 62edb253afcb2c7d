/* The life of a stop: a pure function of (phase, event, clock) → (phase, actions). No I/O, no clock
 * of its own, no memory.
 *
 * The phases, what each waits for and what ends it:
 *
 *   RUNNING     the app runs.                                 a stop signal, `drain`, the end of the app
 *   ANNOUNCING  readiness says no; balancers look away.       stop.settle passed, and the hook ended or had its time
 *   DRAINING    the intake dries up.                          no request in progress, or its share of the time
 *   HOLDING     looks follow each other, until all is still.  still, or the hold deadline (what is in flight then is
 *                                                             given up, and a second, short one for the rest)
 *   FREEZING    still, as it seems: SIGSTOP to all.           all stopped, or given up after 100 ms
 *   LOOKING     frozen: one last look.                        still; not still; 50 ms passed
 *   ENDING      no hands: the servers end what is idle.       all answered; 150 ms passed
 *   RESTING     `drain` is done, the app goes on.             the stop signal, `resume`, drain.hold passed
 *   SIGNALLED   the stop signal is out, all is held across it. the app ended, or 100 ms: it is let go
 *   STOPPING    the app cleans up by itself; what stop.sequence   the app ended, or the stop deadline
 *               has for it is sent when its time comes.
 *   KILLING     SIGKILL to what is left of the tree.          all reaped, or the kill deadline
 *   SWEEPING    goodbyes; orphans ended on the servers.       all answered, or the done deadline
 *   WAITING     the app ended by itself: it starts again.     the restart's wait passed; a stop signal, `drain`
 *   DONE        the report is written, lastcall exits.
 *
 * RUNNING to WAITING is a life of the app. It is followed by another one only when nobody asked for a stop before it
 * was swept; each life has a report of its own (restart.c).
 * HOLDING comes twice: before the stop signal, and again before SIGKILL for an app that is still there (`kill_next`).
 * ENDING comes only where no duplicate can be taken and the app is about to be ended where it stands: nobody could say
 * goodbye for it afterwards. For people HOLDING, FREEZING, LOOKING, ENDING and RESTING are one phase, "holding",
 * SIGNALLED and STOPPING are "stopping". */
#ifndef SUPERVISOR_LIFECYCLE_LIFECYCLE_H
#define SUPERVISOR_LIFECYCLE_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

enum phase {
    PHASE_RUNNING, PHASE_ANNOUNCING, PHASE_DRAINING, PHASE_HOLDING, PHASE_FREEZING, PHASE_LOOKING, PHASE_ENDING,
    PHASE_RESTING, PHASE_SIGNALLED, PHASE_STOPPING, PHASE_KILLING, PHASE_SWEEPING, PHASE_WAITING, PHASE_DONE, PHASES
};

enum lifecycle_event {
    EVENT_STOP_SIGNAL,    /* a stop signal, the first or the same again */
    EVENT_ESCALATE,       /* another stop signal, ^C twice, `drain --now`: on to the next phase */
    EVENT_DRAIN,          /* `lastcall drain` */
    EVENT_RESUME,         /* `lastcall resume` */
    EVENT_ANNOUNCED,      /* the hook that announces the stop has ended, or could not be started */
    EVENT_STILL,          /* a look found nothing in flight */
    EVENT_MOVING,         /* a look found something in flight, or could not know */
    EVENT_FROZEN,         /* every process of the tree is seen stopped */
    EVENT_FREEZE_FAILED,
    EVENT_APP_ENDED,      /* the main process and everything that got the stop signal ended; others are left */
    EVENT_TREE_ENDED,     /* nothing of the app is left */
    EVENT_AGENT_LOST,     /* no facts until EVENT_AGENT_BACK */
    EVENT_AGENT_BACK,
    EVENT_SWEPT,          /* every session is answered for */
    EVENT_DEADLINE,       /* deadline_us of the phase passed */
    EVENTS
};

/* What to do, in the order of the list. supervisor/actions.c has a row for each. */
enum lifecycle_action {
    ACTION_ANNOUNCE,      /* readiness to no */
    ACTION_UNANNOUNCE,
    ACTION_DRAIN,         /* dry the intake up */
    ACTION_LOOK,          /* look at the handles, again and again until told otherwise */
    ACTION_LOOK_STOP,
    ACTION_GIVE_UP,       /* what is in flight now is not waited for any more */
    ACTION_FREEZE,
    ACTION_THAW,
    ACTION_ADOPT,         /* duplicates of all handles, kept until the app has ended or closed them */
    ACTION_LET_GO,        /* no mark stays on any socket of the app; duplicates are closed */
    ACTION_END,           /* the servers are told to end the idle sessions of an app that is frozen */
    ACTION_SIGNAL,        /* the stop signal to whom it is meant for, waking only them if frozen */
    ACTION_SIGNAL_NEXT,   /* the signal number `sequence_sent` (from 1) of stop.sequence */
    ACTION_SIGNAL_REST,   /* the stop signal to all that is left */
    ACTION_KILL,          /* SIGKILL to the tree */
    ACTION_SWEEP,         /* goodbyes and orphans */
    ACTION_DRAINED,       /* tell `drain`'s callers: still */
    ACTION_DRAIN_FAILED,  /* tell `drain`'s callers: not still in time */
    ACTION_CALLED_OFF,    /* tell `drain`'s callers: resumed, or the stop took over */
    ACTION_REPORT,
    ACTION_EXIT,
    ACTION_WAIT,          /* say when the app is started again */
    ACTION_START,         /* forget the life that is over, and start the app again */
    ACTION_STAY_DOWN,     /* say that it was started again too often */
    ACTIONS
};

struct lifecycle_actions {
    enum lifecycle_action list[12];
    unsigned count;
};

enum { LIFECYCLE_SEQUENCE_MOST = 8 };
enum { RESTART_LIMIT_MOST = 64 };

/* When an app that ended by itself is started again. All zero: never. */
struct lifecycle_restart {
    bool after_failure;   /* a life that failed is followed by another one */
    bool after_success;   /* so is one that did not */
    int64_t backoff_us;   /* the first wait; each further one is twice as long */
    int64_t backoff_max_us; /* no wait is longer; after a life that was longer the next wait is the first one again */
    int64_t window_us;
    unsigned limit;       /* restarts within window_us at most, RESTART_LIMIT_MOST at most; 0: no limit */
};

struct lifecycle_settings {
    struct lifecycle_restart restart;
    int64_t grace_us, settle_us, drain_hold_us;
    int64_t announce_us;  /* how long the hook that announces the stop may take; 0: there is none */
    bool has_targets;     /* nothing to look at: HOLDING is passed through */
    bool drains;          /* the intake is dried up; else DRAINING is passed through */
    bool signal_first;    /* stop.order */
    bool end_by_kill;     /* stop.end */
    unsigned sequence_count;
    int64_t sequence_us[LIFECYCLE_SEQUENCE_MOST]; /* stop.sequence: times after the stop signal, each later than the
                                                   * one before it; which signal it is, is the loop's */
};

/* Absolute, on the clock of lifecycle_step(). Each phase that waits has one, so every stop ends by `done`. */
struct lifecycle_deadlines {
    int64_t hold;         /* what is in flight then is given up */
    int64_t rest;         /* the rest has until then */
    int64_t stop;         /* the app is gone by itself, or is held again and killed */
    int64_t kill;         /* all is reaped */
    int64_t done;         /* the servers have answered */
};

/* What is known from one life to the next. */
struct lifecycle_lives {
    unsigned restarts;         /* how often the app was started again */
    int64_t started_us;        /* of this life; 0: the first one, which began before all this */
    int64_t wait_us;           /* the last wait; 0: there was none */
    int64_t times[RESTART_LIMIT_MOST]; /* a ring of the last `limit` restarts */
};

struct lifecycle {
    struct lifecycle_settings settings;
    struct lifecycle_lives lives;
    enum phase phase;
    int64_t began_us;          /* of the stop, or of the drain that preceded it; 0: none */
    int64_t drained_until_us;  /* until when a let-go drain's clock still counts for the signal that follows; 0: none */
    int64_t deadline_us;       /* of this phase; INT64_MAX: none */
    int64_t settled_us;        /* ANNOUNCING: when stop.settle has passed */
    struct lifecycle_deadlines deadlines;
    bool drain_only;           /* `drain` was asked, no stop signal came yet */
    bool ends_at_once;         /* set by the loop: the signal would end the app at once: it may be held for longer */
    bool no_hands;             /* set by the loop: no socket of the app can be duplicated here */
    bool no_freeze;            /* set by the loop: FROZEN comes, but the app runs on: it has too many processes */
    bool kill_next;            /* HOLDING before SIGKILL, not before the stop signal */
    bool gave_up;              /* the hold deadline passed: what was in flight then is not waited for */
    bool last_chance;          /* the second one passed, too: the last look's verdict does not matter any more */
    bool signalled;            /* the stop signal is out */
    int64_t signalled_us;      /* since when */
    unsigned sequence_sent;    /* signals of the sequence that are out, too */
    bool by_itself;            /* the app ended while it ran, and nobody has asked for a stop since */
    bool failed;               /* set by the loop: what the app ended with counts as a failure */
    bool by_a_person;          /* set by the loop: ^C at the terminal ended it, which lastcall got no signal for */
    bool alone;                /* the main process ended before it was told to; what is left was told then */
    const char *why;           /* of the last change of phase: a literal */
};

void lifecycle_init(struct lifecycle *lifecycle, const struct lifecycle_settings *settings);

/* The deadlines of a stop that began at `began_us`. A reserve is kept, so that lastcall is gone before the platform's
 * SIGKILL: `done` is grace − max(0.5 s, 3 %), for a grace below 2 s grace − 30 %. */
struct lifecycle_deadlines lifecycle_deadlines_of(int64_t began_us, int64_t grace_us, bool ends_at_once);

/* One step. `actions` is emptied, then filled. */
void lifecycle_step(struct lifecycle *lifecycle, enum lifecycle_event event, int64_t now_us,
                    struct lifecycle_actions *actions);

/* The name for people, one of nine; never NULL. */
const char *phase_public_name(enum phase phase);
const char *phase_name(enum phase phase);
const char *event_name(enum lifecycle_event event);
const char *action_name(enum lifecycle_action action);

#endif
