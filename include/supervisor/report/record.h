/* The record of one stop: facts only, kept while it happens, made into JSON and into words at the end.
 *
 * A handle is recorded the first time a look shows it and keeps its first and last row. What became of it is set once,
 * by whoever did it or saw it. Memory: the heap, given back by record_finish(); a handle that cannot be recorded (no
 * memory) is counted in `lost` and said in the report's "unknown". */
#ifndef SUPERVISOR_REPORT_RECORD_H
#define SUPERVISOR_REPORT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

enum outcome {
    OUTCOME_OPEN,             /* not ended yet; in a finished report: unknown */
    OUTCOME_CLOSED_BY_APP,    /* the server got the protocol's goodbye from the app */
    OUTCOME_CLOSED_UNSEEN,    /* the app's descriptor went away; whether a goodbye was said is not known */
    OUTCOME_HANDED_BACK,      /* leaked; lastcall said the protocol's goodbye */
    OUTCOME_ENDED_BY_COMMAND, /* leaked; the server was told to end the session */
    OUTCOME_ORPHAN_ENDED,     /* the session outlived the app and was ended on the server */
    OUTCOME_ENDED_BY_SERVER,  /* the server had ended it before */
    OUTCOME_STILL_THERE       /* the session outlived lastcall: why is in `note` */
};

enum leak_kind { LEAK_NONE, LEAK_LEFT_OPEN, LEAK_TRANSACTION_OPEN, LEAK_HALF_CLOSED, LEAK_STALE, LEAK_OVER_LIMIT };

enum transaction_end { TRANSACTION_NONE, TRANSACTION_FINISHED, TRANSACTION_ABORTED, TRANSACTION_UNKNOWN };

struct timeline_entry {
    int64_t at_us;            /* monotonic */
    const char *what;         /* a literal: "in flight", "idle", "held", "signalled", "closed", … */
};

struct recorded_handle {
    struct handle_row first, last;
    bool in_flight_at_start;
    bool unseen_at_start;     /* its session's state at the signal was not seen, nor told from what was seen later */
    bool aborted_later;       /* a transaction that began after the signal was aborted */
    bool unseen_later;        /* whether one that began after it was, nobody saw */
    enum transaction_end transaction; /* of the one that was in flight at the signal */
    enum outcome outcome;
    enum leak_kind leak;
    int64_t ended_at_us;      /* 0: not ended */
    char note[96];            /* why, when there is a story; else empty */
    struct timeline_entry *timeline; /* heap */
    unsigned timeline_count, timeline_room;
};

struct record_target {
    char name[WIRE_NAME];
    enum target_kind kind;
    bool look_only;
    bool unseen;              /* no look ever showed all its handles: all its numbers are null in the report */
    int limit;                /* -1: not declared */
};

struct record_phase {
    const char *name;         /* a literal */
    int64_t began_us;
};

/* Of the app's own clients: when the stop began, and what became of them. */
struct record_requests {
    bool seen;                /* else nothing of it is known */
    unsigned in_progress, finished, refused;
    unsigned unsure;          /* connections of which nobody could tell whether one was in progress */
};

struct record_unknown {
    char what[96], why[160];
};

/* A hook that was run. */
struct record_hook {
    const char *name, *outcome; /* literals */
    int64_t took_us;          /* -1: not known */
    char why[256];            /* empty: no story */
};

/* A life of the app that another one followed. */
struct record_life {
    pid_t pid;                /* 0: it could not be started */
    int exit_code;            /* -1: not known */
    int exit_signal;          /* 0: none */
    int64_t ran_us;           /* -1: not known */
    int64_t ended_wall_us;
};

enum { RECORD_LIVES = 10 };

struct record_past {
    unsigned restarts;
    struct record_life lives[RECORD_LIVES]; /* the last ones, the oldest first */
    unsigned count;
};

/* What one before the app had left on the servers, by its name: sweep.predecessor. */
struct record_predecessor {
    bool asked;
    unsigned ended, still_there; /* of the targets that are known */
    struct {
        bool told, known;
        char why[128];        /* told, and not known */
    } targets[WIRE_TARGETS];
};

struct record {
    struct record_past past;
    struct record_predecessor predecessor;
    /* app */
    pid_t app_pid;
    char *const *command;     /* not owned */
    int exit_code;            /* -1: still running */
    int exit_signal;          /* 0: none */
    int lastcall_exit_code;   /* -1: not known yet */
    /* stop */
    char reason[96];          /* "SIGTERM", "lastcall drain", "the app exited by itself", "the app was killed by …" */
    bool is_stop;             /* false: the app ended without a stop; rows come from a sample */
    int64_t sample_age_us;    /* !is_stop: age of the last sample; -1: there was none */
    int64_t stop_began_us, stop_began_wall_us, ended_us; /* ended_us: all was done; 0: not yet */
    int64_t app_ended_us;     /* the main process was reaped; 0: not known */
    int64_t grace_us;
    struct record_requests requests;
    struct record_phase phases[16];
    unsigned phase_count;
    /* handles */
    struct record_target targets[WIRE_TARGETS];
    unsigned target_count;
    struct recorded_handle *handles; /* heap */
    unsigned handle_count, handle_room, lost;
    uint32_t *slots;          /* heap: a hash of the handles, their number + 1; 0: free */
    unsigned slot_room;       /* a power of two */
    const char *hands;        /* "pidfd_getfd", "ptrace", "none" */
    struct record_unknown unknown[32];
    unsigned unknown_count, unknown_lost;
    struct record_hook hooks[4];
    unsigned hook_count;
    unsigned hidden_looks;    /* one after the other in which some process of the app let nobody see its connections */
    /* how it was said */
    bool query_text;
    int64_t leak_stale_us;
};

/* An empty record in which nothing is known: no exit code, no sample, no declared limit, query text off. */
void record_init(struct record *record);

/* Finds by inode and local endpoint, or adds; the row becomes the last one. NULL when there is no memory (then `lost`
 * was counted). The pointer is good until the next record_handle(): adding moves the handles. */
struct recorded_handle *record_handle(struct record *record, const struct handle_row *row);
struct recorded_handle *record_find(struct record *record, uint64_t inode, const struct endpoint *local);

/* Who holds it stays as it was in `before`: the row is from a look that shows what lastcall itself has open, too. */
void record_keep_holders(struct handle_row *row, const struct handle_row *before);

/* Appends to the handle's timeline unless its last entry says the same. A timeline keeps 256 entries: a later one then
 * replaces the last, so that the end is always there. Without memory it stays as it is. */
void record_timeline(struct recorded_handle *handle, const char *what, int64_t at_us);

/* Sets the outcome unless one is set already. */
void record_outcome(struct recorded_handle *handle, enum outcome outcome, int64_t at_us);

/* A phase began; the one before it ended. The same name again changes nothing; a 17th replaces the last. */
void record_phase(struct record *record, const char *name, int64_t at_us);

/* What is not known, and why; the same pair is kept once. What the list has no room for is counted. */
void record_unknown(struct record *record, const char *what, const char *why_format, ...)
    __attribute__((format(printf, 3, 4)));

/* A hook, or what is known of it now; at most four names. */
void record_hook(struct record *record, const char *name, const char *outcome, int64_t took_us, const char *why);

/* It is over, and another one follows: the record's past of the next life. */
void record_note_life(struct record_past *past, const struct record_life *life);

void record_finish(struct record *record);

/* True when the app still had the handle open when it ended: somebody else had to end it, or the server had ended the
 * session before and the app, in CLOSE_WAIT, had never noticed. */
bool record_is_leaked(const struct recorded_handle *handle);

/* Names as the JSON has them ("handed back", "transaction open"; OUTCOME_OPEN is "unknown", LEAK_NONE "none", and null
 * in the JSON); never NULL. */
const char *outcome_name(enum outcome outcome);
const char *leak_kind_name(enum leak_kind kind);

#endif
