/* Ends what a predecessor of the same application_name has left on the servers, when the supervisor asks for it: see
 * struct message_predecessor. Runs beside the sampler, on links of its own: no look ever waits for it. */
#ifndef AGENT_PREDECESSOR_H
#define AGENT_PREDECESSOR_H

#include "wire/message.h"

struct predecessor;
struct sampler;

/* Begins, for all targets of the sampler; one that is under way is given up. Each target is answered for once, by
 * PREDECESSOR_ENDED, within about fifteen seconds. */
void predecessor_begin(struct sampler *sampler, const struct message_predecessor *message);
void predecessor_destroy(struct predecessor *predecessor); /* NULL is fine */

#endif
