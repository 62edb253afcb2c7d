/* The packets of one look, put together into one struct facts. Pure memory: no libev, no descriptor. */
#ifndef SUPERVISOR_PLATFORM_FACTS_BUFFER_H
#define SUPERVISOR_PLATFORM_FACTS_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/facts.h"

enum {
    FACTS_ROWS_AT_FIRST = 1024, /* room that is there from the beginning */
    FACTS_ROWS = 65536          /* more rows in one look are refused */
};

enum facts_progress { FACTS_REFUSED = -1, FACTS_MORE, FACTS_COMPLETE };

struct facts_buffer {
    struct handle_row *rows;    /* heap */
    size_t count, room;
    struct message_target_state targets[WIRE_TARGETS];
    size_t target_count;
    uint32_t look;
    struct message_inbound *inbound; /* heap: room for one with all its rows */
    bool inbound_came;          /* of `look` */
    bool begun;                 /* packets of `look` have come, its last one has not */
    bool lossy;                 /* there was no memory for some rows */
    uint8_t sockets_seen, owners_seen;
};

/* Returns 0, or -1 and errno ENOMEM. finish() frees; fine on a zeroed one. */
int facts_buffer_init(struct facts_buffer *buffer);
void facts_buffer_finish(struct facts_buffer *buffer);

/* Forgets a look that will not be completed. */
void facts_buffer_clear(struct facts_buffer *buffer);

/* Adds one valid message; a packet of another look than the last one begins anew. REFUSED and errno when the packet
 * names a target that is not among the first `targets` (EBADMSG), or the look has too many rows or targets (E2BIG). */
enum facts_progress facts_buffer_add_target(struct facts_buffer *buffer, const struct message_target_state *state,
                                            size_t targets);
enum facts_progress facts_buffer_add_rows(struct facts_buffer *buffer, const struct message_rows *rows, size_t targets);

/* The same for the one INBOUND of a look; never refused. */
void facts_buffer_add_inbound(struct facts_buffer *buffer, const struct message_inbound *inbound);

/* The facts of a look that is complete; points into the buffer, until the next packet is added. When there was no
 * memory for all rows, sockets_seen and owners_seen are 0: what is missing is not known. */
struct facts facts_buffer_take(struct facts_buffer *buffer, int64_t took_us, int64_t now_us);

#endif
