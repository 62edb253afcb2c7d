/* The link to a living agent: the channel, what is said on it in both directions, and how long an answer is waited for.
 * Lets nothing through that the agent may not say, and never waits for it. Starts, ends and reaps nobody: whoever
 * opened the link is told that it is broken, and why. */
#ifndef SUPERVISOR_PLATFORM_AGENT_LINK_H
#define SUPERVISOR_PLATFORM_AGENT_LINK_H

#include <ev.h>
#include <stdbool.h>

#include "supervisor/platform/agent_keeper.h"
#include "supervisor/platform/agent_patience.h"
#include "supervisor/platform/facts_buffer.h"
#include "wire/channel.h"

/* Whom the link tells. None may be NULL; none may call agent_link_finish(). */
struct agent_link_user {
    void *context;
    void (*facts)(void *context, const struct facts *facts);
    void (*ended)(void *context, const struct message_ended *ended);
    void (*predecessor_ended)(void *context, const struct message_predecessor_ended *ended);
    /* Once for each link that broke; it is closed already. `why` is one line for people, valid
     * until the call returns. */
    void (*broken)(void *context, enum agent_loss loss, const char *why);
};

struct agent_link {
    struct ev_loop *loop;
    const struct config *config;
    struct agent_link_user user;
    int fd;                     /* our end of the channel; -1: closed */
    ev_io io;
    ev_timer overdue;           /* an answer */
    struct agent_patience patience;
    struct facts_buffer facts;
    union channel_packet packet;
};

/* A closed link. `loop` and `config` must outlive it, `user` is copied. Returns 0, or -1 and errno ENOMEM. */
int agent_link_init(struct agent_link *link, struct ev_loop *loop, const struct config *config,
                    const struct agent_link_user *user);
void agent_link_finish(struct agent_link *link); /* closes it first */

/* Opens it with our end of a channel (which is the link's from here on) and tells the agent its targets. Returns 0, or
 * -1 when that could not be said: the link is then broken, and the user was told. */
int agent_link_open(struct agent_link *link, int fd);

/* By this a living agent ends. Nobody is told; safe to call when it is closed. */
void agent_link_close(struct agent_link *link);
bool agent_link_is_open(const struct agent_link *link);

/* Takes all that lies in the channel: the last words of an agent that has ended. */
void agent_link_hear_all(struct agent_link *link);

/* As agent_keeper_look(), agent_keeper_end() and agent_keeper_predecessor(). */
int agent_link_look(struct agent_link *link, uint32_t look, unsigned answer_ms, const struct look_wants *wants);
int agent_link_end(struct agent_link *link, const struct agent_end *end);
int agent_link_predecessor(struct agent_link *link, uint32_t request, int64_t started_us);

#endif
