/* Sessions that a server shows without their client: those of other roles, to a role that may not see them. A socket
 * that no session is found for may belong to one of them, unless all of them were there before the socket was. */
#ifndef AGENT_LEDGER_HIDDEN_H
#define AGENT_LEDGER_HIDDEN_H

#include <stddef.h>
#include <stdint.h>

#include "agent/targets/target.h"

struct hidden {
    uint64_t *ids, *before;  /* heap: those of the last answer, sorted, and room for the next */
    size_t count, room;
    int64_t asked_at_us;     /* of that answer; 0: there was none */
    int64_t since_us;        /* when the question was sent whose answer first showed the newest of them; 0: none */
};

/* Takes an answer to a question that was sent at `asked_at_us` (monotonic). All of them count as new without memory,
 * and when the answer before is so old that a backend's pid may have been given out again. */
void hidden_note(struct hidden *hidden, const struct session *sessions, size_t count, int64_t asked_at_us);
void hidden_finish(struct hidden *hidden);

#endif
