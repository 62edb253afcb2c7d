/* The agent's end of the channel: messages come in in their order or not at all, and go out through a queue, since the
 * supervisor may be slow and the agent never waits. */
#ifndef AGENT_LINK_H
#define AGENT_LINK_H

#include <stddef.h>

#include "wire/message.h"

struct ev_loop;
struct link;

enum { LINK_QUEUE_BYTES = 8 << 20, LINK_STUCK_SECONDS = 5 };

/* Called for a valid message that came at its time; the message is lent for the call. */
typedef void link_message_fn(void *context, const void *message);
/* The channel is worth nothing any more: it ended (failed 0), or broke, or is not read (failed 1). Called once. */
typedef void link_lost_fn(void *context, int failed, const char *why);

struct link_handlers {
    link_message_fn *of[MESSAGE_KINDS];
    link_lost_fn *lost;
    void *context;
};

/* `fd` is borrowed and made non-blocking; `handlers` are copied. `stuck_seconds`: how long what is queued may lie
 * without any of it going out (LINK_STUCK_SECONDS). Returns NULL and errno. */
struct link *link_create(struct ev_loop *loop, int fd, double stuck_seconds, const struct link_handlers *handlers);
void link_destroy(struct link *link);

/* Sends one message, now or later. A failure is reported by `lost`, from the loop. */
void link_send(struct link *link, const void *message);

#endif
