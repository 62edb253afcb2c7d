/* The marks on an app's sockets: cork, brake, step. Each is set through a duplicate that lives for that call only
 * (by ptrace: for a few dozen such calls, since one stop of the app brings them all), and every mark that is set is
 * remembered until it is off or its socket is gone: marks_let_go() leaves no socket of a living app marked. Two
 * descriptors are kept in reserve while anything is marked, so that it can do so whatever else is open.
 *
 * What the app had set by itself: SO_RCVLOWAT goes back to it. TCP_NODELAY is back before a step returns. TCP_CORK
 * goes off, also when it was the app's: its bytes then leave a little earlier than it meant. */
#ifndef SUPERVISOR_HANDLES_MARKS_H
#define SUPERVISOR_HANDLES_MARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/handles/batch.h"
#include "supervisor/handles/reserve.h"
#include "supervisor/handles/socket.h"
#include "supervisor/hold/hold.h"
#include "wire/message.h"

struct marked {
    uint64_t inode;
    struct endpoint local;
    pid_t pid;           /* a holder, and its number for it: where it was seen last */
    int fd;
    bool corked, braked;
    bool blocking;       /* O_NONBLOCK was off when it was marked last */
    bool seen;           /* by the last look */
    bool shared;         /* seen with more than one holder */
    bool stepped;        /* by the last order */
    bool check_cork;     /* bytes have left that no step of ours has sent: has the app taken our cork off? */
    bool again;          /* seen again by the last look, after some that had not shown it */
    bool lost;           /* while marks are taken off: it is not where it was */
    unsigned missed;     /* looks in a row that did not show it */
    uint64_t sent;       /* bytes, by the last look */
    struct socket_brake brake;
};

struct marks {
    struct marked *list; /* heap */
    size_t count, room;
    bool nudge;          /* as marks_let_go() says */
    int64_t until_us;    /* while marks are taken off: how long a duplicate is tried for; 0: once */
    struct reserve reserve;
    /* the orders of this round, between marks_begin() and marks_end() */
    const struct handle_row *rows;
    const struct hold_order *orders;
    size_t order_count, batched; /* the orders before `batched` have been looked at for the batch */
    struct batch batch;
};

/* With the rows of each look, before its orders: where each marked socket is found now. One that is missing is kept:
 * a look may not show what is there. When several looks in a row do not, its marks are taken off, and it is
 * forgotten. */
void marks_follow(struct marks *marks, const struct handle_row *rows, size_t count);

/* A round's orders (and the rows that they name) are carried out by marks_apply() one after the other: the duplicates
 * that they need are taken together, some dozen at a time. Both are the caller's, and stay until marks_end(). */
void marks_begin(struct marks *marks, const struct handle_row *rows, const struct hold_order *orders, size_t count);
void marks_end(struct marks *marks);

/* Makes the handle's marks what the order says. Returns 0, or -1 and errno as duplicate_take(): ESTALE and ESRCH mean
 * that there is nothing left to mark. When `base` was filled (the cork is new, or it was stepped, or the socket
 * turned out to block and was not braked) *noted is true. */
int marks_apply(struct marks *marks, const struct handle_row *row, const struct hold_order *order,
                struct hold_base *base, bool *noted);

/* All marks off. Returns how many sockets could not be cleared although they are still there; those are kept, for
 * another try. *nudge: a blocking socket was braked; a recv(2) that took its reply under the brake does not return by
 * itself: the app is to be stopped and continued once. */
size_t marks_let_go(struct marks *marks, bool *nudge);

/* Steps taken and marks set are lost with the app: nothing is cleared, memory and reserve are given back. */
void marks_finish(struct marks *marks);

#endif
