/* The end of the handles, shared by the files of src/supervisor/ and by nothing else.
 *
 *   sweep.c           from its beginning to its end: the last look, the farewells, what is not answered
 *   sweep_watch.c     before that: the duplicates of an app that still lives, or of which a part does
 *   sweep_farewell.c  one handle's goodbye, and what became of it
 *   sweep_end.c       what no goodbye can end is ended by the agent's command
 *
 * A handle is named by its place `i` in record.handles, which is its place in sweep.list, too. */
#ifndef SUPERVISOR_SWEEP_H
#define SUPERVISOR_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/handles/adopted.h"
#include "supervisor/platform/agent_keeper.h"
#include "supervisor/report/record.h"
#include "wire/message.h"

struct supervisor;

/* How far the goodbye of one recorded handle is. */
enum farewell {
    FAREWELL_SETTLING,  /* the app has just sent something: perhaps its own goodbye */
    FAREWELL_SAID,      /* ours was said; the server has not closed yet */
    FAREWELL_TO_END,    /* the server is to be told to end the session */
    FAREWELL_ASKED,     /* it was told so, by way of the agent */
    FAREWELL_OVER
};

struct farewell_of {
    enum farewell step;
    int64_t since_us;   /* of this step */
    uint32_t request;   /* ASKED */
    bool was_said;      /* our goodbye went out before it came to a command */
    bool early;         /* it was to be ended before the signal, while the app was frozen */
    bool at_work;       /* early: it may have a request on its way, or still be at one */
};

struct sweep {
    bool begun;
    bool looking;             /* the sessions' last states are asked for, before the farewells begin */
    int64_t looking_since_us;
    struct farewell_of *list; /* heap; one a recorded handle, in the order of record.handles */
    unsigned count;
    uint32_t request;         /* the last number used */
};

/* sweep.c: for the others of src/supervisor/ */
void sweep_begin(struct supervisor *s);
/* Before the signal, where no duplicate can be taken: the idle sessions of a frozen app are ended by command, and those
 * that were given up once they wait for the app's next word: the signal would take their transactions from them, too.
 * EVENT_SWEPT when all are answered, also when there is none, or when the app lives on after the signal. */
void sweep_end_idle(struct supervisor *s);
void sweep_watch(struct supervisor *s); /* each few milliseconds while duplicates are held */
void sweep_facts(struct supervisor *s, const struct facts *facts);
void sweep_finish(struct supervisor *s); /* whatever is not answered by now is not known */
/* and for the parts: */
void sweep_begin_farewells(struct supervisor *s); /* ends the last look */
void sweep_watch_farewells(struct supervisor *s, int64_t now_us); /* EVENT_SWEPT when all are over */

/* sweep_watch.c */
void sweep_watch_running(struct supervisor *s, int64_t now_us);
bool sweep_leaves_soon(const struct handle_row *row, int64_t now_us); /* what is held there, by its timer */

/* sweep_farewell.c */
struct adopted *sweep_duplicate_of(struct supervisor *s, const struct recorded_handle *handle); /* NULL: none */
enum target_kind sweep_kind_of(const struct supervisor *s, const struct recorded_handle *handle);
bool sweep_has_transaction(const struct handle_row *row);
void farewell_begin(struct supervisor *s, unsigned i, int64_t now_us);
void farewell_watch(struct supervisor *s, unsigned i, int64_t now_us);
void farewell_step(struct supervisor *s, unsigned i, enum farewell step, int64_t now_us); /* it goes on to this step */
void farewell_end(struct supervisor *s, unsigned i, enum outcome outcome, int64_t now_us); /* it is over */

/* sweep_end.c */
void sweep_ask_to_end(struct supervisor *s, int64_t now_us); /* all that are TO_END */
void sweep_ended(void *supervisor, const struct message_ended *ended);
void sweep_agent_lost(struct supervisor *s);

#endif
