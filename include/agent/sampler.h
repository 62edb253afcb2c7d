/* When to look: on each LOOK, and by itself every sample interval. One round at a time: the sockets first, then all
 * targets at once, then the answer when all have answered or the time is up. A new LOOK takes the place of a round that
 * has not ended. Also passes END on, which runs beside. */
#ifndef AGENT_SAMPLER_H
#define AGENT_SAMPLER_H

#include "wire/message.h"

struct ev_loop;
struct sampler;

/* Sends one message to the supervisor; must not call back. */
typedef void sampler_send_fn(void *context, const void *message);

/* Returns NULL and errno. The settings are copied. */
struct sampler *sampler_create(struct ev_loop *loop, const struct message_settings *settings, sampler_send_fn *send,
                               void *context);
void sampler_destroy(struct sampler *sampler);

/* Returns 0, or -1 when there is no room for another. A target that cannot be made is kept as one that is down. */
int sampler_add_target(struct sampler *sampler, const struct message_target *message);
/* All targets are there: takes the first sample, which connects to them, and goes on sampling. */
void sampler_start(struct sampler *sampler);

void sampler_look(struct sampler *sampler, const struct message_look *message);
void sampler_end(struct sampler *sampler, const struct message_end *message);

#endif
