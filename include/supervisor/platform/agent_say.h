/* What the supervisor says to the agent: making each message and sending it on the channel. Never blocks. */
#ifndef SUPERVISOR_PLATFORM_AGENT_SAY_H
#define SUPERVISOR_PLATFORM_AGENT_SAY_H

#include "config/config.h"
#include "supervisor/platform/agent_keeper.h"

/* Each returns 0, or -1 and the errno of channel_send(). */

/* SETTINGS, a TARGET for each of the configuration, READY. */
int agent_say_hello(int fd, const struct config *config);
int agent_say_look(int fd, uint32_t look, unsigned answer_ms, const struct look_wants *wants);
/* EINVAL also when there are more than WIRE_SESSIONS sessions. */
int agent_say_end(int fd, const struct agent_end *end);
int agent_say_predecessor(int fd, uint32_t request, int64_t started_us);

#endif
