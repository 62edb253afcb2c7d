/* All that the agent said about one look, in one piece. Pure data: no message, no descriptor, no clock is needed to
 * read it, so the hold and the report can be tested without an agent. */
#ifndef WIRE_FACTS_H
#define WIRE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

/* Whoever is handed a `const struct facts *` may read it until it returns; the memory is the giver's. */
struct facts {
    uint32_t look;              /* the number of the look it answers; 0: a sample the agent took by itself */
    const struct handle_row *rows;
    size_t count;
    const struct message_target_state *targets; /* of this look, in the order they came */
    size_t target_count;
    const struct message_inbound *inbound; /* of this look; NULL: it did not ask, or brought none */
    bool alone;                 /* the look was at what comes in alone: rows and targets say nothing */
    uint8_t sockets_seen, owners_seen; /* as in struct message_rows; owners_seen only when all its packets say so */
    int64_t took_us;            /* the whole look, by the agent; -1: not known */
    int64_t received_at_us;     /* when its last packet came */
};

#endif
