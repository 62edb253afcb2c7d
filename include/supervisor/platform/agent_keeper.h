/* The agent's keeper: starts lastcall-agent, tells it what to watch, hands on what it says, and starts it again when it
 * is lost. Knows libev, and nothing about phases. Nothing the agent does or fails to do may cost the supervisor more
 * than the facts: no call here waits for it, and a bad message, a full channel or a missing answer ends the agent.
 *
 * Only the loop reaps (supervisor/app/reap.h); it hands each child's end to agent_keeper_reaped(). All memory a look
 * needs is allocated when the keeper is created, or when a look has more rows than any before it. */
#ifndef SUPERVISOR_PLATFORM_AGENT_KEEPER_H
#define SUPERVISOR_PLATFORM_AGENT_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "supervisor/app/reap.h"
#include "wire/facts.h"

struct ev_loop;

enum agent_loss {
    AGENT_NOT_THERE,   /* it could not be started: the file is not there, may not be executed, no memory, … */
    AGENT_ENDED,       /* it ended, or closed its channel */
    AGENT_BAD_MESSAGE, /* it said something that the other program may not say */
    AGENT_HUNG         /* it was stopped, does not read its channel, or did not answer in time */
};

/* Whom the keeper tells. Any of them may be NULL. They may call agent_keeper_look() and agent_keeper_end(), but not
 * agent_keeper_destroy(). */
struct agent_keeper_user {
    void *context;
    void (*started)(void *context, pid_t pid);                 /* it runs and has been told its targets */
    void (*facts)(void *context, const struct facts *facts);   /* a whole look; valid until the call returns */
    void (*ended)(void *context, const struct message_ended *ended); /* an END was answered; the same */
    /* Once for each agent that was lost, at once: looks and ENDs under way will not be answered. One that ends before
     * it could be told its targets is lost without having been `started`. NOT_THERE comes only when it is new. `why` is
     * one line for people, valid until the call returns. */
    void (*lost)(void *context, enum agent_loss loss, const char *why);
    void (*predecessor_ended)(void *context, const struct message_predecessor_ended *ended); /* of one target */
};

struct agent_keeper;

/* A keeper without an agent yet. `loop`, `config`, `environment` (of the agent; NULL-ended) must outlive it; `path` and
 * `user` are copied. NULL and errno when there is no memory. */
struct agent_keeper *agent_keeper_create(struct ev_loop *loop, const struct config *config, const char *path,
                                         char *const *environment, const struct agent_keeper_user *user);

/* Frees the keeper and closes the channel, by which a living agent ends; does not wait for it. NULL is fine. */
void agent_keeper_destroy(struct agent_keeper *keeper);

/* Starts the agent, now and after each loss, until agent_keeper_stop(). */
void agent_keeper_start(struct agent_keeper *keeper);

/* Closes the channel: the agent ends by itself, and none is started again. The loop reaps it. */
void agent_keeper_stop(struct agent_keeper *keeper);

/* Ends the agent at once (SIGKILL), if there is one that has not been reaped. */
void agent_keeper_kill(struct agent_keeper *keeper);

/* While a stop is under way a lost agent is started again at once, then every 0.1 s. */
void agent_keeper_hurry(struct agent_keeper *keeper, bool hurry);

/* A child was reaped, or stopped. Returns true when it was the agent (which is then forgotten or started again; a
 * stopped one is lost at once). */
bool agent_keeper_reaped(struct agent_keeper *keeper, const struct reaped *reaped);

/* The agent's pid until it is reaped, else 0. Not part of the app tree. */
pid_t agent_keeper_pid(const struct agent_keeper *keeper);

/* It runs, and can be asked. */
bool agent_keeper_is_up(const struct agent_keeper *keeper);

/* How the last agent was lost, in words and with its exit code or signal once it is reaped; empty: none was. */
const char *agent_keeper_last_loss(const struct agent_keeper *keeper);

/* What a look is to bring: struct message_look says what each means. */
struct look_wants {
    bool text, own, whole;
    enum look_inbound inbound;
};

/* Asks for a look; an unanswered one is replaced. `look` is not 0, which means a sample. Without a whole answer within
 * answer_ms + 500 ms the agent is ended. Returns 0, or -1 and errno: ENOTCONN (no agent; if it is found out only
 * now, `lost` has been called), EAGAIN (it does not read and is ended: `lost` has been called), EINVAL (nothing that
 * may be sent), ENOBUFS, ENOMEM (the kernel has no memory now: the agent stays). */
int agent_keeper_look(struct agent_keeper *keeper, uint32_t look, unsigned answer_ms, const struct look_wants *wants);

/* Tells the agent to end sessions (struct message_end says what the fields mean). `sessions`
 * may be freed afterwards. */
struct agent_end {
    uint32_t request;
    unsigned target;
    bool only_if_still_there, spare_busy;
    unsigned linger_ms, wait_ms;
    const struct end_session *sessions;
    size_t count; /* WIRE_SESSIONS at most */
};
/* As agent_keeper_look(), also in what it returns; but an END has no deadline of its own here. */
int agent_keeper_end(struct agent_keeper *keeper, const struct agent_end *end);

/* Tells the agent to end what a predecessor has left on the servers (struct message_predecessor says what that is).
 * Returns as agent_keeper_end(). */
int agent_keeper_predecessor(struct agent_keeper *keeper, uint32_t request, int64_t started_us);

#endif
