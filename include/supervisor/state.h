/* The supervisor's state, shared by the files of src/supervisor/ and by nothing else.
 *
 *   start.c     what comes before the app
 *   before.c    … and what is waited for before it: a hook, servers
 *   hooks.c     commands and URLs of the configuration at their moments
 *   loop.c      events in, phases, actions out: the one file that knows libev and the phases
 *   settings.c  configuration → lifecycle
 *   requests.c  `lastcall drain`, `resume`, `status` → events, answers
 *   actions.c   action → call
 *   predecessor.c  what one before the app has left on the servers
 *   life.c      what belongs to one life of the app, and its restart
 *   children.c  signals and the ends of processes → events
 *   intakes.c   the intake of an app that listens: its looks, its orders
 *   looks.c     when to look
 *   looks_facts.c  facts → record, hold, hands → events
 *   looks_hands.c  marks, nudges and duplicates, as the hold orders them
 *   looks_record.c  what the report keeps of a look
 *   sweep*.c    goodbyes, orphans, the outcome of every handle: supervisor/sweep.h */
#ifndef SUPERVISOR_STATE_H
#define SUPERVISOR_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "supervisor/app/deliver.h"
#include "supervisor/app/freeze.h"
#include "supervisor/app/pace.h"
#include "supervisor/app/terminal.h"
#include "supervisor/handles/adopted.h"
#include "supervisor/handles/inbound.h"
#include "supervisor/handles/marks.h"
#include "supervisor/handles/nudge.h"
#include "supervisor/hold/hold.h"
#include "supervisor/intake/intake.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/platform/agent_keeper.h"
#include "supervisor/platform/control_server.h"
#include "supervisor/platform/hook.h"
#include "supervisor/platform/hook_variables.h"
#include "supervisor/platform/notify.h"
#include "supervisor/report/record.h"
#include "supervisor/supervisor.h"
#include "supervisor/sweep.h"

enum { PENDING_EVENTS = 32 };

/* What is settled before the app is started. */
struct supervisor_start {
    const struct config *config;
    const char *agent_path;   /* of agent_program_find(); empty: none could be found */
    int signal_fd;            /* of signals_open() */
    struct rlimit descriptors; /* RLIMIT_NOFILE as it was: the app gets that */
    uint64_t ignored;         /* signals that were ignored when lastcall was started */
};

/* The rows of the last look, kept because the agent's own are gone after the call. */
struct last_look {
    struct handle_row *rows; /* heap */
    size_t count, room;
    int64_t at_us;           /* when they came; 0: none came yet */
    bool seen;               /* the sockets and their owners could be seen */
    bool frozen;             /* the app stood still */
};

/* The hooks, and lastcall-agent --wait, which is run like one. */
struct supervisor_hooks {
    struct hook of[HOOKS];
    struct hook waiter;
    struct hook_variables variables;
    struct {
        bool reached;
        char why[256];       /* the last that was heard of it; empty: nothing yet */
    } waited[WIRE_TARGETS];
    bool before;             /* the app is not started yet */
    bool leave;              /* all else is done: post_stop alone is waited for */
};

struct supervisor {
    const struct config *config;
    const struct supervisor_start *start;
    struct ev_loop *loop;
    ev_io signal_io;
    ev_timer deadline_timer, look_timer, freeze_timer, unmark_timer, watch_timer, leave_timer, sample_timer;
    bool leaving;            /* all is done; only the agent's own goodbyes to the servers are waited for */

    struct lifecycle lifecycle;
    enum lifecycle_event pending[PENDING_EVENTS];
    unsigned pending_count;
    bool stepping;

    pid_t app_pid;
    int64_t app_started_us;
    bool main_ended;
    bool ended_by_a_person;  /* by ^C or ^\ at the terminal, which comes to the app alone */
    int stop_signo;          /* that came first; 0: none */
    bool interrupted_once;   /* one ^C of the terminal came */
    struct terminal terminal;
    struct process_tree tree;
    struct pace tree_pace;   /* of reading it */
    struct freeze freeze;
    bool no_freeze;          /* too many processes: the last look is at a running app */
    struct delivery delivery;

    struct supervisor_hooks hooks;
    struct agent_keeper *keeper;
    struct control_server *control;
    struct notify *notify;

    bool answered[WIRE_TARGETS]; /* the server answered in the last look */
    bool translated[WIRE_TARGETS]; /* addresses change on the way to it */
    uint8_t kinds[WIRE_TARGETS]; /* enum target_kind: as configured, or as the agent found out */
    bool looking;
    uint32_t look, look_frozen; /* the last one asked; the first one that counts when frozen */
    bool look_whole;         /* it was asked to look at all sockets */
    bool look_asked;         /* it is not answered yet */
    int64_t look_asked_at_us;
    struct last_look last;
    struct hold hold;
    bool hold_on;
    bool nudging;            /* the freeze under way is only a nudge */
    struct nudges nudges;    /* of single threads */
    bool no_hands;           /* sockets cannot be duplicated here */
    struct marks marks;
    struct hold_hint *hints; /* heap */
    size_t hint_room;
    struct adopted_table adopted;

    struct intake intake;
    bool intake_on;          /* what comes in is looked at */
    bool intake_looked;      /* and was, once */
    struct inbound_marks inbound_marks;

    struct record record;
    struct sweep sweep;
    uint32_t predecessor_request; /* the last number used */
    int exit_code;
    int64_t progress_at_us;  /* of the last progress line */
};

/* loop.c: starts the app and runs until all is done; the exit code */
int supervisor_run(const struct supervisor_start *start);
/* loop.c: queues an event; it is stepped when the current step is done. */
void supervisor_post(struct supervisor *s, enum lifecycle_event event);
void supervisor_start_agent(struct supervisor *s);
void supervisor_leave(struct supervisor *s); /* ends the loop, when the agent has ended or shortly after */
void supervisor_left_by_agent(struct supervisor *s);
/* loop.c: the app is started; 0, or -1 with exit_code set and the reason in the log */
int supervisor_start_app(struct supervisor *s);
void supervisor_begin_record(struct supervisor *s); /* an empty one of this life; what earlier lives came to is kept */

/* settings.c */
struct lifecycle_settings supervisor_settings(const struct config *config);

/* requests.c: what the control socket is told */
void supervisor_state(const struct supervisor *s, struct control_state *state);
void requests_take(void *supervisor, enum control_verb verb, bool now, struct control_answer *answer);

/* predecessor.c: what a life, or a lastcall of the same name, has left on the servers */
void predecessor_begin(struct supervisor *s); /* with each life; `record` is the life's already */
void predecessor_ask(struct supervisor *s);   /* with each new agent */
void predecessor_ended(void *supervisor, const struct message_predecessor_ended *ended);

/* life.c */
void life_watch(struct supervisor *s);     /* from its start on: samples, soon and then less and less often */
void life_sample(struct supervisor *s);    /* of the sample timer */
void life_say_wait(struct supervisor *s);  /* it is over, and another one follows */
void life_say_stay_down(struct supervisor *s);
void life_start(struct supervisor *s);     /* the next one */

/* preflight.c: will every signal of stop.sequence be sent in time? Returns 0, or -1 and which one will not. */
int supervisor_check_sequence(const struct config *config, struct error *error);

/* actions.c */
void action_do(struct supervisor *s, enum lifecycle_action action);
/* The report where it is to be written, once post_stop has ended or there is none. */
void actions_finish_report(struct supervisor *s);

/* before.c: 0, or -1: the app is not to be started, and exit_code says why. */
int before_app(struct supervisor *s);
void before_take_stop_signal(struct supervisor *s, int signo);

/* hooks.c */
int hooks_init(struct supervisor *s); /* -1 and ENOMEM */
void hooks_finish(struct supervisor *s);
bool hooks_has(const struct config *config, enum config_hook_name which);
void hooks_start(struct supervisor *s, enum config_hook_name which, int64_t timeout_us);
void hooks_announce(struct supervisor *s);
/* `report`: the file it was written to, or NULL. When it has ended, actions_finish_report() follows. */
void hooks_post_stop(struct supervisor *s, const char *report);
/* True: supervisor_leave() is called when it has ended. */
bool hooks_wait_for_post_stop(struct supervisor *s);
/* True: the next life begins when post_stop has ended, which posts EVENT_DEADLINE then. */
bool hooks_delay_restart(const struct supervisor *s);
void hooks_cut(struct supervisor *s); /* the stop is over: announce, too */
void hooks_record(struct supervisor *s);
void hooks_forget(struct supervisor *s); /* what belongs to one record: announce, post_stop and what they are told */
bool hooks_reaped(struct supervisor *s, const struct reaped *reaped);
/* Of the grace: what is kept for post_stop, and what must be left when it has ended. */
int64_t hooks_share_us(const struct config *config);
int64_t hooks_reserve_us(const struct config *config);

/* children.c */
void children_take_signals(struct supervisor *s);
/* What the app gets at the stop: of stop.signal or stop.sequence, or what stop.map makes of the one that came; before
 * one came, of SIGTERM. */
int children_stop_signal(const struct supervisor *s);
/* Who would get the stop signal now, and would it end the app at once? */
void children_plan(struct supervisor *s, int signo);
/* Who gets one more after it: those of the first one that are still there, and those that this one is for. */
void children_plan_next(struct supervisor *s, int signo);
pid_t children_agent(const struct supervisor *s);
/* Posts EVENT_TREE_ENDED or EVENT_APP_ENDED when that is so. */
void children_check(struct supervisor *s);
/* SIGKILL to the whole tree. */
void children_kill(struct supervisor *s);
/* The same, for what was forked meanwhile; does nothing when the last time was costly and only just now. */
void children_kill_again(struct supervisor *s);
/* Was the last pass of the freeze too slow? Then thaws, and there is no freeze any more; said in log and report. */
bool children_skip_freeze(struct supervisor *s);

/* looks.c */
void looks_begin(struct supervisor *s);
void looks_stop(struct supervisor *s);
void looks_next(struct supervisor *s);
/* After the pause of the phase and `more` seconds, where looks follow each other. */
void looks_later(struct supervisor *s, double more);
/* One look that shows what our own duplicates hold open. False: there is no agent to ask. */
bool looks_ask_for_own(struct supervisor *s);
/* Nothing that was looked at in one life holds for the next. */
void looks_forget(struct supervisor *s);
/* Asks for one look, for the record of an app that may end without a stop. */
void looks_sample(struct supervisor *s);

/* looks_facts.c */
void looks_facts(void *supervisor, const struct facts *facts);
void looks_agent_lost(void *supervisor, enum agent_loss loss, const char *why);
/* The postgres target behind a pooler, or -1. */
int looks_server_of(const struct supervisor *s, unsigned target);

/* looks_hands.c */
/* After the hold's round on these facts: what it ordered. What an app that cleans up has opened anew is adopted. */
void looks_use_hands(struct supervisor *s, const struct facts *facts, int64_t now_us);
/* The freeze is complete, or failed: if it was a nudge, it is over and done with. */
bool looks_nudged(struct supervisor *s);
/* No mark stays on; those that cannot be taken off are tried again. */
void looks_unmark(struct supervisor *s);
/* The same, and the hold is over, and the intake's. */
void looks_let_go(struct supervisor *s);
void looks_adopt(struct supervisor *s);

/* intakes.c */
void intakes_begin(struct supervisor *s);
enum look_inbound intakes_wanted(const struct supervisor *s);
void intakes_facts(struct supervisor *s, const struct message_inbound *inbound);
/* Is no answer under way that an app sends after its COMMIT? */
bool intakes_are_quiet(const struct supervisor *s);
/* No mark stays on what comes in; but after the stop signal the listening sockets stay as they are. Returns how many
 * could not be let go. */
size_t intakes_let_go(struct supervisor *s);
void intakes_end(struct supervisor *s);
/* The listening sockets stay open until lastcall ends, so that nobody is refused meanwhile. */
void intakes_hold_listening(struct supervisor *s);
/* What the report cannot say of requests, and why. */
void intakes_report(struct supervisor *s);
void intakes_finish(struct supervisor *s);

/* looks_record.c: what a look says for the report; after hold's round, which tells where each handle stands. */
void looks_record(struct supervisor *s, const struct facts *facts, int64_t now_us);

#endif
