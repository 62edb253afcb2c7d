/* The app's listening sockets, and the connections to their ports: what an app that serves has coming in. Facts only;
 * whether a request is in progress on one is not decided here.
 *
 * Asked only while a stop drains the intake: nothing is looked at, and nothing costs, before. One question for what
 * listens, and when the app has such a socket one more for the connections. By sock_diag(7) alone: without its ages and
 * counters nobody could tell an idle connection. Synchronous, as a look at the targets' sockets is. */
#ifndef AGENT_SOCKETS_INBOUND_H
#define AGENT_SOCKETS_INBOUND_H

#include <sys/types.h>

#include "agent/sockets/fact.h"

struct inbound;

struct inbound_answer {
    const struct socket_fact *at; /* of the app tree only: what listens, then the connections by inode; valid until the
                                   * next look. unread_bytes of what listens: connections not accepted yet */
    size_t count, left_out;       /* left_out: listening ports beyond what one question can ask for */
    uint8_t sockets_seen;         /* 0: nothing is known */
    uint8_t owners_seen;          /* 1: every process of the tree could be read */
};

/* Returns NULL and ENOMEM. */
struct inbound *inbound_create(void);
void inbound_destroy(struct inbound *inbound);

/* The tree as in agent/sockets/owners.h. */
struct inbound_answer inbound_look(struct inbound *inbound, pid_t root, pid_t except);

#endif
