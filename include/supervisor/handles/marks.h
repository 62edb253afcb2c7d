/* The marks on an app's sockets: cork, brake, step. Each is set through a duplicate that lives for that call only, and
 * every one that is set is remembered, so that marks_let_go() leaves no socket of a living app marked. */
#ifndef SUPERVISOR_HANDLES_MARKS_H
#define SUPERVISOR_HANDLES_MARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/hold/hold.h"
#include "wire/message.h"

struct marked {
    uint64_t inode;
    struct endpoint local;
    pid_t pid;
    int fd;              /* the app's number for it */
    bool corked, braked, stepped, nodelay_before, blocking;
    bool seen;           /* in the current round */
};

struct marks {
    struct marked *list; /* heap */
    size_t count, room;
};

/* Makes the handle's marks what the order says. Returns 0, or -1 and errno as duplicate_take(): ESTALE and ESRCH mean
 * that there is nothing left to mark. When `base` was filled (the cork is new, or it was stepped) *noted is true. */
int marks_apply(struct marks *marks, const struct handle_row *row, const struct hold_order *order,
                struct hold_base *base, bool *noted);

/* Forgets those whose sockets are gone: called with the rows of each round. */
void marks_forget_others(struct marks *marks, const struct handle_row *rows, size_t count);

/* All marks off, TCP_NODELAY as it was. Returns how many sockets could not be cleared although they are still there. */
size_t marks_let_go(struct marks *marks);

/* Steps taken and marks set are lost with the app: nothing is cleared, the memory is given back. */
void marks_finish(struct marks *marks);

#endif
