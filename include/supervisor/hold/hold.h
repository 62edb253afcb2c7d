/* Holding: the facts of a round → where each handle stands, which marks it gets, and whether all is still. Pure: no
 * I/O, no clock of its own; the memory of what was seen before is in struct hold.
 *
 * Where a handle stands:
 *   in flight   a transaction is open, a request has no reply yet, or a reply is unread. Not known counts as in flight.
 *   idle        answered, and nothing under way
 *   parked      at its boundary: session idle, the reply arrived, the app was not woken up for it (brake)
 *   held        at its boundary: session idle, the app's next write is kept in its own send queue (cork)
 *   exempt      nothing that a stop could lose: blocked Redis clients, subscribers, walsenders, ended sessions
 *   given up    in flight at the hold deadline, or a transaction that its app left idle for long before the stop
 *
 * Two ways: HOLD_WATCH only looks, and waits for an instant at which all are idle by themselves. HOLD_MARKS corks,
 * brakes and steps, in three stages, and is still under any load. */
#ifndef SUPERVISOR_HOLD_HOLD_H
#define SUPERVISOR_HOLD_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/facts.h"

enum standing {
    STANDING_IN_FLIGHT, STANDING_IDLE, STANDING_PARKED, STANDING_HELD, STANDING_EXEMPT, STANDING_GIVEN_UP, STANDINGS
};

enum hold_way { HOLD_WATCH, HOLD_MARKS };
enum hold_stage { STAGE_LEARN, STAGE_GATHER, STAGE_RELEASE };

/* Who waits for a handle's reply at this moment, by the system calls of the app's threads. */
enum waited { WAITED_UNKNOWN, WAITED_NOT, WAITED_ALONE, WAITED_WITH_OTHERS };
struct hold_hint {
    uint8_t waited;      /* enum waited */
    uint8_t running;     /* 1: some thread of a holder runs, or is in user space: WAITED_NOT may be about to change */
    uint8_t only_events; /* 1: every thread of a holder waits, and none for a time that is near: no timer wakes it */
    int32_t thread;      /* tid of the one that waits alone, else 0 */
};

/* What the hands saw on the socket when they set a mark or stepped: the base of "since then". */
struct hold_base {
    uint64_t sent, received; /* bytes; `sent` without retransmissions */
    uint32_t unsent;         /* bytes in the send queue at that moment, which a step sends */
    bool blocking;           /* O_NONBLOCK is off: braked only when there is no other way */
};

/* What the hands are to do with one handle after a round; index into facts->rows. */
struct hold_order {
    size_t row;
    bool cork, brake;        /* the marks it shall have from now on */
    bool step;               /* send exactly what is queued */
    bool blocking_too;       /* the brake is meant for a blocking socket as well */
    int32_t nudge;           /* the thread whose recv(2) took bytes under a brake, and is to return them; 0: none */
};

struct hold_count {
    unsigned by_standing[STANDINGS], handles, unknown; /* unknown: of those in flight, what is not known to be */
};

struct hold_handle;

struct hold {
    enum hold_way way;
    uint8_t kinds[WIRE_TARGETS]; /* enum target_kind of each target */
    enum hold_stage stage;
    bool some_loop;              /* some handle is an event loop's */
    bool hinted;                 /* it was seen in some round who waits: the app's threads can be looked at */
    bool waited_on;              /* some standing hung on who waits: hints are wanted */
    bool brake_blocking;         /* blocking sockets are braked, too: their transactions outlast what a cork holds */
    bool nudge;                  /* after a round: stop and continue the app once, so that every recv(2) that has taken
                                  * bytes under a brake returns them */
    int64_t gather_since_us;     /* when STAGE_GATHER was entered last */
    int64_t gap_us;              /* the longest gap that an open transaction made and ended by itself in this hold */
    uint32_t begin_bytes[4];     /* lengths of writes that began a transaction block, as seen in this hold */
    int64_t guessed_at_us, patience_us; /* flows.c; 0: no guess is on, none was made yet */
    bool sees_timers;            /* some app was seen without a timer: it can be told when it waits for one */
    int64_t certain_patience_us; /* flows.c: where no timer can be what an open transaction waits for; 0: not set yet */
    bool resting;                /* set by the user: a drain without a signal; all stay parked, nobody is released */
    int64_t released_at_us;      /* when STAGE_RELEASE was entered last */
    unsigned gathering_others;   /* in the last round: in flight, and not at Redis */
    unsigned committed;          /* in it, idle, and not at Redis; their flows were at work, and have not begun anew */
    bool others_moved;           /* in it, something moved that was not Redis' */
    bool runs;                   /* in it, a thread of the app was running */
    bool telling;                /* in it, some were at work whose sessions are to be told apart yet */
    bool near;                   /* in it, nothing was in flight: still, but for the time that has to pass */
    bool others;                 /* in it, some handle was not Redis' */
    int64_t redis_alone_since_us; /* since when nothing but Redis is under way; 0: it is not so */
    bool with_redis;             /* Redis handles are marked too: only when stillness does not come without */
    struct hold_handle *handles; /* heap: what was seen of each handle before */
    size_t count, room;
    int64_t began_us, moved_at_us; /* moved: when any byte was last seen to move on a handle */
    int64_t leak_transaction_us; /* as in struct config */
    uint32_t round;
    struct hold_order *orders;   /* heap: of the last round; HOLD_WATCH: none */
    size_t order_count, order_room;
    uint8_t *standings;          /* heap: enum standing, one a row of the last round */
    size_t standing_room;
    int32_t *open_threads;       /* heap, sorted: the threads with a transaction open, as far as they are known */
    size_t open_thread_count, open_thread_room;
    struct hold_count counted;   /* of the last round */
    unsigned gathering;          /* in it, so many were in flight that GATHER waits for: not Redis' that run unmarked */
    unsigned leaving;            /* in it, so many were held that would leave by themselves too soon */
    bool missed;                 /* out of step: what is held began to leave while others were under way; or the app
                                  * makes new connections, and it will be */
    unsigned behind;             /* then, in the last round: held, and to be parked before the next release */
    bool mixed[WIRE_TARGETS];    /* in it, a session joined by name only was busy: which handle is its, is a guess */
    bool at_work;                /* in it, something was in flight that was not only starting up */
    bool any_open;               /* in it, some session had work open: not only a reply unread, not only starting up */
    int64_t closed_at_us;        /* when that was last not so in STAGE_RELEASE */
    char why[128];               /* why the last round was not still: the first handle in flight, for the log */
};

void hold_init(struct hold *hold, enum hold_way way, const uint8_t kinds[static WIRE_TARGETS],
               int64_t leak_transaction_us, int64_t now_us);
void hold_finish(struct hold *hold);

/* One round. `hints` has one entry a row, or is NULL (nothing is known). `frozen`: the app's processes are stopped, so
 * nothing more can be written. Fills orders, standings and counted. Returns true when all is still: nothing in flight
 * but what was given up, no reply unread, and no byte moved for 10 ms. False also when there was no memory. */
bool hold_round(struct hold *hold, const struct facts *facts, const struct hold_hint *hints, bool frozen,
                int64_t now_us);

/* Would it help to know who waits? True after a round in which some handle's standing hung on it. */
bool hold_wants_hints(const struct hold *hold);

/* The hands marked a handle for the first time, or stepped it: what they saw right before. */
void hold_note_base(struct hold *hold, const struct handle_row *row, const struct hold_base *base, bool stepped);

/* A handle could not be marked as ordered: the next round orders anew. */
void hold_note_unmarked(struct hold *hold, const struct handle_row *row);

/* The hold deadline: whatever the last round found in flight is given up from now on. */
void hold_give_up(struct hold *hold);

/* The marks are off (the agent was lost): learn and mark again. What is given up stays given up. */
void hold_restart(struct hold *hold);

const char *standing_name(enum standing standing);

#endif
