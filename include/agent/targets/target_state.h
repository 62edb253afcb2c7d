/* What target.c (questions, whose turn it is), target_link.c (names, attempts, backoff), target_place.c (where it
 * is) and target_end.c (ending sessions) share of one target. Nobody else includes this.
 *
 * The link is in one of these states; its one timer means what the state says:
 *
 *   state        waits for                       the timer
 *   DOWN         somebody who wants to ask       the next attempt's time, while somebody wants
 *   RESOLVING    the name's addresses            the attempt's limit
 *   CONNECTING   the probe: connected, or lost   this address's share of the attempt's limit
 *   READY        a question, an end job          –
 *   BUSY         the probe's report              how long an unanswered question may block the link
 *
 * Every callback to the target's user comes from the loop, through `kick`, with nothing of ours beneath it that could
 * still use the target: the user may ask again or destroy it there. */
#ifndef AGENT_TARGETS_TARGET_STATE_H
#define AGENT_TARGETS_TARGET_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/targets/probe.h"
#include "agent/targets/resolve.h"

enum link_state { LINK_DOWN, LINK_RESOLVING, LINK_CONNECTING, LINK_READY, LINK_BUSY };
enum busy_with { BUSY_NOTHING, BUSY_QUESTION, BUSY_POLL, BUSY_COMMAND };
enum question_state { QUESTION_NONE, QUESTION_PENDING, QUESTION_SENT, QUESTION_ANSWERED };

enum { TARGET_WHY = 256, TARGET_ATTEMPT_ADDRESSES = 16, TARGET_KNOWN_ADDRESSES = 32 };

struct question {
    enum question_state state;
    bool want_text;
    const char *command;  /* what is to be said; NULL: it is the sessions that are asked for */
    int64_t asked_at_us, sent_at_us, limit_us;
    target_answer_fn *done;
    void *context;
    struct target_answer answer;
    char why[TARGET_WHY];
};

struct link {
    enum link_state state;
    ev_timer timer;
    struct resolve *resolve;
    struct endpoint addresses[TARGET_ATTEMPT_ADDRESSES]; /* of this attempt */
    size_t address_count, address_next;
    int64_t attempt_began_us;
    int64_t backoff_us, next_attempt_us;
    bool answered;   /* something was answered since it connected: a loss is then worth a new attempt at once */
    bool let_in;     /* CONNECTING: the server has let us in, and is asked who it is */
    bool console_on_trial; /* a postgres target that is a pooler, or may be one: its console is being tried */
    bool guessed;    /* it may be one: it let us in, and then said nothing */
    enum busy_with busy;
    bool abandoned;  /* BUSY: nobody waits for the answer any more */
};

struct end_job;

struct target {
    struct ev_loop *loop;
    struct message_target message;
    char application_name[64];
    char place[300];          /* "host:port", for people */
    char host[256];           /* "" : none was given */
    uint16_t port;
    const char *unix_path;    /* into message.params, or unix_path_found; NULL: TCP */
    char unix_path_found[108];

    const struct probe_ops *ops;
    void *probe;              /* CONNECTING, READY, BUSY; else NULL */
    struct link link;
    enum target_up up;
    char why[TARGET_WHY];     /* why it is not up, or "" */
    int translated;

    struct endpoint known[TARGET_KNOWN_ADDRESSES];
    size_t known_count;

    struct question question;
    ev_timer limit;           /* the question's */
    struct session_table shown, scratch; /* the last answer's; the one that is being filled */

    struct end_job *jobs;     /* in the order they came */
    struct end_job *job;      /* BUSY_POLL, BUSY_COMMAND: whose; NULL when it is gone */
    bool jobs_turn;

    ev_timer kick;            /* never started, only fed: "look what is to be done next" */
};

/* target.c */
void target_kick(struct target *target);
bool target_wants_link(const struct target *target);
void target_fail_question(struct target *target, const char *why);
void target_set_up(struct target *target, enum target_up up, const char *why);

/* target_link.c */
void target_link_init(struct target *target);
void target_link_finish(struct target *target);
void target_link_step(struct target *target);        /* not READY and not BUSY: connect if somebody wants it */
void target_link_busy(struct target *target, enum busy_with with, int64_t limit_us);
void target_link_idle(struct target *target);        /* BUSY → READY */

/* target_place.c */
void target_read_place(struct target *target);                    /* host, port, path and place, from the params */
const char *target_numeric_host(const struct target *target);     /* NULL: a name, a unix socket, or none */
void target_note_address(struct target *target, const struct endpoint *address);
void target_note_peer(struct target *target, int fd);

/* target_end.c */
struct end_job *target_end_due(struct target *target);          /* the next one that wants the link now, or NULL */
void target_end_run(struct target *target, struct end_job *job); /* uses the link for its next step */
void target_end_polled(struct target *target, bool ok);          /* scratch holds the sessions */
void target_end_commanded(struct target *target, const struct probe_ends *ends);
void target_end_interrupted(struct target *target);              /* the link was lost while it was BUSY for a job */
bool target_end_deliver(struct target *target);                  /* tells one finished job's user; false: none */
bool target_end_any(const struct target *target);
void target_end_finish(struct target *target);

#endif
