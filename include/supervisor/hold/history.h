/* What was seen of a handle in earlier rounds, and what the hands noted: the memory of hold. Pure. */
#ifndef SUPERVISOR_HOLD_HISTORY_H
#define SUPERVISOR_HOLD_HISTORY_H

#include "supervisor/hold/hold.h"

enum last_in { LAST_UNKNOWN, LAST_IN, LAST_OUT };

struct hold_handle {
    uint64_t inode;
    struct endpoint local;
    uint32_t round;              /* the last one that showed it */
    enum standing standing;      /* in that round */
    bool open;                   /* in that round: the session had work open, or may have */
    bool unknown;                /* in that round: in flight only because it is not known to be idle */
    bool worked;                 /* in flight in this hold, and not held since */
    bool behind;                 /* in that round: held, and to be parked before the next release */
    bool leaving;                /* in that round: held, and would leave by itself too soon */
    bool answered;               /* in that round: all that had left was answered */
    bool unasked;                /* what lies unread came when nothing was asked: a notification */
    bool given_up;
    bool greeted;                /* the start-up is over and read */
    bool fresh;                  /* its session is new, and nothing has been asked of it */
    bool starting;               /* in that round: the session is starting up; its exchange is let through */
    bool appeared;               /* the hold's first round did not show it */
    int64_t first_seen_us;
    int64_t unbraked_at_us;      /* when its brake was last taken off; 0: never */
    int64_t unread_since_us;     /* since when something lies unread, and nothing of it was read */
    /* counters of that round */
    uint64_t sent, received;
    uint32_t segments_out, unread, unsent;
    int64_t state_change;
    int64_t transaction_start;
    uint8_t state;
    bool steady;                 /* state and state_change were those of the round before it, too */
    bool moved;                  /* something of it moved since the round before */
    /* how long nothing of it has moved, and how often the server answered since */
    int64_t quiet_since_us, first_answer_us;
    unsigned answers;
    /* marks */
    bool has_base, corked, braked, blocking;
    uint64_t base_sent, base_received; /* sent: with what the step sent */
    /* learning */
    int32_t thread;              /* that waited for it alone; 0: not known */
    bool had_transaction;        /* in a transaction block since it last stood at a boundary */
    enum last_in last_in;        /* did what moved last come in? */
    bool app_turn;               /* in a transaction that waits for the app's next request */
    bool may_be_app_turn;        /* it does, or nobody can tell */
    uint8_t only_events;         /* for so many rounds, its holder had nothing to do but wait for events; 2 at most */
    bool through;                /* let through on a guess (flows.c) */
    unsigned guesses;            /* how often it was, and it was wrong */
    bool was_open;               /* open in the round before the last */
    bool by_loop;                /* it wrote and nobody waits for it alone: an event loop */
    uint8_t unwaited;            /* writes seen while nobody waited, but some thread ran that may have been about to */
    /* nudges */
    bool kept;                   /* recv(2) has taken its reply, and has not been seen to return it */
    int32_t nudged_thread;       /* in that round: the one to be nudged; 0: none */
    uint64_t nudged_received;    /* bytes received at the last one */
    int64_t nudged_at_us;
};

/* The memory of one row's handle, made when it is new. NULL: no memory. `position` is where it may be. What it returned
 * before is not valid after it made one. */
struct hold_handle *history_of(struct hold *hold, const struct handle_row *row, size_t position);
/* The same, or NULL when there is none. */
struct hold_handle *history_find(const struct hold *hold, const struct handle_row *row, size_t position);

/* Compares the row with the round before: resets what counts from the last movement. Returns true when it moved. */
bool history_notes_movement(struct hold_handle *handle, const struct handle_row *row, int64_t now_us);

/* Is the open transaction another one than that of the round before? Between two rounds one may end and the next begin,
 * and out of a pool it may be another thread's. Before history_keep(). */
bool history_is_new_transaction(const struct hold_handle *handle, const struct handle_row *row);

/* Keeps what the next round compares with. */
void history_keep(struct hold_handle *handle, const struct handle_row *row);

/* Forgets the handles that this round did not show. Returns how many there were. */
size_t history_forget(struct hold *hold);

/* Where the handle stands (classify.c). Sets standing, open, unknown and answered. `hint` may be NULL. */
void classify_handle(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                     const struct hold_hint *hint, int64_t now_us);

/* Is it a Redis handle while Redis is not held? Nothing waits for it then, unless it is between
 * MULTI and EXEC (hold.c). */
bool hold_runs_unmarked(const struct hold *hold, const struct handle_row *row);
/* Fills hold->orders for the rows of a round that was classified, and learns whose each handle is (orders.c). */
void orders_give(struct hold *hold, const struct facts *facts, const struct hold_hint *hints, int64_t now_us);

/* Keeps what the row tells about flows (`hint` may be NULL): before history_keep(), after classify_handle(). */
void flows_note(struct hold *hold, struct hold_handle *handle, const struct handle_row *row,
                const struct hold_hint *hint, enum standing before);
/* Before the orders of a round: which threads have a transaction open. False: no memory. */
bool flows_find_threads(struct hold *hold);
/* Flows that need two connections (flows.c). Guesses which handle at its boundary an open transaction waits for. */
void flows_guess(struct hold *hold, int64_t now_us);
/* No handle is let through on a guess any more: nothing is open. */
void flows_forget_guesses(struct hold *hold);
/* Is this handle, at its boundary, to be let through? */
bool flows_let_through(const struct hold *hold, const struct hold_handle *handle, const struct hold_hint *hint);

#endif
