/* Which sessions are a predecessor's: those of its name, from our address, whose socket is not here. Pure: no I/O. */
#ifndef AGENT_PREDECESSOR_RULES_H
#define AGENT_PREDECESSOR_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "agent/sockets/fact.h"
#include "agent/targets/target.h"
#include "wire/message.h"

struct former_list {
    struct end_session sessions[WIRE_SESSIONS];
    struct endpoint clients[WIRE_SESSIONS];
    size_t count;
};

/* Takes the sessions of this name, and of a client that can be seen; what there is no room for is left out: the next
 * start finds it. */
void former_list_fill(struct former_list *list, const struct session *sessions, size_t count, const char *name);

/* Keeps those that have the address of a socket here, which is our own, and not its port. The sockets were looked at
 * after the sessions. */
void former_list_choose(struct former_list *list, const struct socket_table *sockets);

/* The statement that tells PostgreSQL to end such sessions and says how many there were. `began_before`: microseconds
 * of the server's clock. Heap; NULL: no memory, a name that is none, or too many sockets for one statement. */
char *former_command(const char *name, int64_t began_before, const struct socket_table *sockets);

#endif
