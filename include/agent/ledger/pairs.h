/* Which socket and which session are one connection, where addresses change on the way and a name is all that they
 * share: told by what moves together. The memory of earlier looks for one target; pure: no I/O.
 *
 * Three things show that a socket and a session are not one, whatever the timing, as long as a look at the sockets
 * comes before the look at the sessions:
 *   - the session did something, and nothing had left the socket, which was answered at the beginning;
 *   - the socket asked and was answered, and the session did nothing;
 *   - the session did many things, and no byte of the socket moved at all.
 * When all sessions but one are ruled out for a socket, these two are told apart from the rest. What is ruled out stays
 * so: a mistake (a session that speaks without being asked) costs the telling apart, no more. */
#ifndef AGENT_LEDGER_PAIRS_H
#define AGENT_LEDGER_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/sockets/fact.h"

enum { PAIRS_MOST = 128 }; /* sockets, and sessions; with more of either nothing is told apart */

struct pairs;

/* What a session does, as far as its server tells. */
struct pair_session {
    uint64_t id;
    int64_t start;
    int64_t change; /* when it did something last, by any clock; 0: not told */
    uint8_t state;
};

/* NULL: no memory. */
struct pairs *pairs_create(void);
void pairs_destroy(struct pairs *pairs);

/* A look that the server answered: the sockets that may be any of the sessions', and those sessions. Who is in neither
 * list any more is forgotten. `all_there`: no session of a socket is missing; when one may be, who is left over is not
 * it before they have moved together much more often. */
void pairs_note(struct pairs *pairs, const struct socket_fact *const *sockets, size_t socket_count,
                const struct pair_session *sessions, size_t session_count, bool all_there);

/* A look without an answer: what it has missed cannot be compared with. */
void pairs_break(struct pairs *pairs);

/* The id of the session that the socket was told to have; 0: it is one of several. */
uint64_t pairs_session_of(const struct pairs *pairs, uint64_t inode);

#endif
