/* The intake of an app that listens: the facts of a round → what is done with its listening sockets and inbound
 * connections, and whether it is dry. Pure: no I/O, no clock of its own; the memory of what was seen before is in
 * struct intake.
 *
 * Where a connection stands is told by the direction of what moved last, since nobody reads the protocol: in, a request
 * is in progress; out, strictly later, it is answered. Equal ages tell nothing (the kernel counts in ticks of up to
 * 10 ms); then what the client acknowledged does, or what moves from one round to the next, or nobody knows, and what
 * is not known is never idle.
 *
 *   busy     a request is in progress, or may be
 *   idle     answered, but not for long enough; a client without think time is never seen otherwise
 *   kept     the next request is kept from waking the app: it will be answered 503
 *   closed   its end was sent while nothing was under way
 *   left     nobody could tell for LEFT_AFTER_US: neither closed nor waited for */
#ifndef SUPERVISOR_INTAKE_INTAKE_H
#define SUPERVISOR_INTAKE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

enum intake_listener { LISTENER_DROP, LISTENER_LEAVE, LISTENER_REFUSE };

enum { INTAKE_PORTS = 16 };
#define INTAKE_OFF INT64_C(-1) /* as an idle time: this port is left alone */

struct intake_settings {
    enum intake_listener listener;
    int64_t idle_us;          /* quiet for so long after an answer: idle */
    struct intake_port {
        uint16_t port;
        int64_t idle_us;      /* instead; INTAKE_OFF */
    } ports[INTAKE_PORTS];
    size_t port_count;
};

enum intake_doing {
    INTAKE_DROP,              /* the listening socket takes no notice of new clients: they try again later */
    INTAKE_REFUSE,            /* it listens no more */
    INTAKE_WELCOME,           /* a connection that was made while its listening socket was being shut: it may speak */
    INTAKE_CLOSE,             /* idle: its end is sent, unless something has come meanwhile */
    INTAKE_KEEP,              /* the next request does not wake the app */
    INTAKE_PUT_BACK,          /* what lies there does */
    INTAKE_ANSWER,            /* what lies there unread is answered 503 by lastcall, if it is plain HTTP/1.x */
    INTAKE_DOINGS
};

struct intake_order {
    size_t row;               /* of message_inbound.rows */
    enum intake_doing doing;
};

/* What the hands found. */
enum intake_outcome {
    INTAKE_DONE,
    INTAKE_NOT,               /* nothing was changed: WELCOME: there was no need; KEEP: it is a blocking socket;
                               * ANSWER: it is not plain HTTP */
    INTAKE_FAILED             /* it could not be reached now, or something has moved meanwhile: the next round tells */
};

enum intake_moved { MOVED_UNKNOWN, MOVED_IN, MOVED_OUT };
enum intake_start { START_UNKNOWN, START_IDLE, START_BUSY }; /* at the intake's first round */

struct intake_connection {
    uint64_t inode;
    uint32_t round;           /* the last one that showed it */
    uint64_t sent, taken, received; /* of that round; taken: received and read by the app */
    enum intake_moved last;   /* what moved last: an answer, or a request that the app took */
    enum intake_start start;
    bool at_start, finished;  /* it was there in the first round; the request that was in progress then is answered */
    bool welcomed, kept, closed, not_http;
    bool late;                /* its first request was not taken notice of, and comes again */
    bool blocks;              /* a blocking socket: what comes on it is the app's */
    unsigned put_back;        /* how often */
    int64_t first_seen_us, moved_at_us;
};

struct intake_count {
    unsigned listening, busy, idle, kept, left, waiting; /* of the last round; waiting: not accepted yet */
};

struct intake {
    struct intake_settings settings;
    struct intake_connection *connections; /* heap; by inode */
    size_t count, room;
    uint64_t shut[256];       /* inodes of the listening sockets that are shut; more than that are not told apart */
    size_t shut_count;
    int64_t began_us, moved_at_us; /* moved: when an answer last went out on any connection */
    uint32_t round;
    struct intake_order *orders; /* heap: of the last round */
    size_t order_count, order_room;
    struct intake_count counted;
    unsigned in_progress, finished, refused; /* for the report; in_progress: at the first round */
    unsigned unsure;          /* connections of which nobody could ever tell whether one was */
    bool lossy;               /* no memory for some connection: nothing is dry then */
};

void intake_init(struct intake *intake, const struct intake_settings *settings, int64_t now_us);
void intake_finish(struct intake *intake);

/* One round. Fills orders and counted. Returns true when it is dry: the app listens to nobody new, and no connection is
 * left on which a request is in progress or may come at once. */
bool intake_round(struct intake *intake, const struct message_inbound *inbound, int64_t now_us);

/* What became of an order of the last round; one that is not noted is given again. */
void intake_note(struct intake *intake, const struct inbound_row *row, enum intake_doing doing,
                 enum intake_outcome outcome);

/* A connection as it was found between two rounds. One that is kept is looked at then: between the last round and the
 * hands an app that is quick answers a request and takes the next one, and the next round, which knows only that some
 * of each has moved, could not tell which was last. */
void intake_see(struct intake *intake, const struct inbound_row *row, int64_t now_us);

/* The marks are off (the agent was lost, the app goes on): the next round begins anew with them. */
void intake_restart(struct intake *intake);

/* The unsure, with those that are still there. */
unsigned intake_unsure(const struct intake *intake);

#endif
