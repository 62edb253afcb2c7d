/* The hands on what comes in: the app's listening sockets and inbound connections. Each call takes a duplicate that
 * lives for that call only; what it leaves changed is remembered until it is undone or its socket is gone, so that
 * inbound_let_go() leaves no socket of a living app marked. Nothing here waits.
 *
 * A muted socket: IP_MINTTL (ip(7)) and IPV6_MINHOPCOUNT at 255 drop all that comes in, since what comes from anywhere
 * has a smaller time to live; no privilege is needed, and nothing is answered. */
#ifndef SUPERVISOR_HANDLES_INBOUND_H
#define SUPERVISOR_HANDLES_INBOUND_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/handles/socket.h"
#include "supervisor/intake/intake.h"
#include "wire/message.h"

struct inbound_mute {
    int ttl, hops;       /* what the app had set; -1: not of this family */
};

struct inbound_mark {
    uint64_t inode;
    pid_t pid;           /* a holder, and its number for it: where it was seen last */
    int fd;
    bool dropped, kept;  /* a listening socket that is muted; a connection that does not wake the app */
    struct inbound_mute mute;
    struct socket_brake brake;
};

struct inbound_marks {
    struct inbound_mark *list; /* heap */
    size_t count, room;
    int *held;           /* heap: duplicates of listening sockets, see inbound_hold_listening() */
    size_t held_count;
};

/* Where each marked socket is found now. */
void inbound_follow(struct inbound_marks *marks, const struct inbound_row *rows, size_t count);

/* Does what the order says with the row's socket. Sets *error (an errno) when the outcome is INTAKE_FAILED: 0 when
 * something has moved meanwhile; ESTALE, ESRCH: the app has closed it. Of a connection that is kept the row then says
 * how it was from then on. */
enum intake_outcome inbound_apply(struct inbound_marks *marks, struct inbound_row *row, enum intake_doing doing,
                                  int *error);

/* All marks off; with `but_listening` the listening sockets stay as they are. Returns how many could not be cleared
 * although they are still there; those are kept, for another try. */
size_t inbound_let_go(struct inbound_marks *marks, bool but_listening);

/* From here on the muted listening sockets stay open until inbound_finish(), whatever the app does: a client that tries
 * meanwhile is not refused. */
void inbound_hold_listening(struct inbound_marks *marks);

/* Memory and duplicates are given back; nothing is cleared. */
void inbound_finish(struct inbound_marks *marks);

/* Each on a socket of our own or a duplicate; for tests, too. Return 0, or -1 and errno. */
int inbound_set_mute(int fd, struct inbound_mute *before);
int inbound_unmute(int fd, const struct inbound_mute *before);

#endif
