/* The duplicates that are kept from the beginning of the end: so that the sockets of an app that ends, however it ends,
 * stay open until the protocol's goodbye is said on them.
 *
 * While the app lives on after its signal (a handler, a server that finishes its work) it is watched: a handle that the
 * app has closed is let go at once, after the server has been seen to close it too, which means that the app said its
 * goodbye; if the server does not, the app has just dropped it, and lastcall says it. */
#ifndef SUPERVISOR_HANDLES_ADOPTED_H
#define SUPERVISOR_HANDLES_ADOPTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/handles/socket.h"
#include "supervisor/report/record.h"
#include "wire/message.h"

enum adopted_fate {
    FATE_OPEN,          /* the app has it open, as far as is known */
    FATE_DROPPED,       /* the app's descriptor is gone, the server has not closed (yet) */
    FATE_CLOSED         /* the app's descriptor is gone, and the server has closed: the goodbye was said */
};

struct adopted {
    struct handle_row row;      /* as last seen */
    int fd;                     /* the duplicate; -1: let go */
    enum adopted_fate fate;
    bool without_holder;        /* its process ended, and no other one had it when that was seen */
    int64_t dropped_at_us;
    uint64_t sent_last;         /* bytes that the app had sent when it was last watched */
};

struct adopted_table {
    struct adopted *list;       /* heap */
    size_t count, room;
    int error;                  /* errno of the last duplicate that could not be taken; 0: none */
    pid_t refused;              /* of which process */
};

/* Adopts each row that is not in the table yet, and renews the rows of those that are. Returns how many are new. */
size_t adopted_take(struct adopted_table *table, const struct handle_row *rows, size_t count);

/* Looks at each: has the app closed it (every process that had it), has the server? True when some fate changed. What
 * the app had written before it closed goes out, as its close would have sent it. */
bool adopted_watch(struct adopted_table *table, int64_t now_us);

/* Before something is said on a handle that was dropped: has somebody got it after all (in a message that was under
 * way when it was looked for)? Then it is open again. True also when that cannot be told. */
bool adopted_is_found_again(struct adopted *adopted);

/* Has the server closed its side? 1, 0; -1 and errno. */
int adopted_server_has_closed(const struct adopted *adopted);

/* The server has closed, and before that it said why (a FATAL message that nobody has read): it was not the app's
 * goodbye that ended the session. An unread close_notify of TLS (RFC 8446, 6.1) is no such message. */
bool adopted_was_ended_by_server(const struct adopted *adopted);

/* Has anything left since it was last watched: the goodbye of an app that ended right after it, perhaps? */
bool adopted_has_sent_since(const struct adopted *adopted);

/* The app has written what has not left yet: a held write. */
bool adopted_is_held_back(const struct adopted *adopted);

struct adopted *adopted_find(struct adopted_table *table, uint64_t inode, const struct endpoint *local);

/* Closes one duplicate. */
void adopted_release(struct adopted *adopted);
void adopted_finish(struct adopted_table *table);

#endif
