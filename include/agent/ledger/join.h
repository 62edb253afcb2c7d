/* What ledger.c (which target, which session exactly, rows) and by_name.c (the rest) share of one join. Nobody else
 * includes this. */
#ifndef AGENT_LEDGER_JOIN_H
#define AGENT_LEDGER_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger/index.h"
#include "agent/ledger/ledger.h"

/* A target with its sessions made findable. */
struct view {
    const struct ledger_target *target;
    struct session_index by_client, by_named_client, by_id;
    struct session_index through; /* a pooler that does not answer: its server's, by the client in their names … */
    struct session_index through_any; /* … whatever stands before it there */
    bool some_cut;                /* … some of which PostgreSQL may have cut */
    bool all_rest;                /* each session that is nobody's by now is idle: so is that of a socket without one */
    bool hides;  /* some sessions show no client: one that is not found may be among them (agent/ledger/hidden.h) */
};

/* What is known of one socket so far. */
struct match {
    int target; /* -1: no target's */
    const struct session *session;
    uint8_t known_by, told_apart;
};

struct join {
    const struct ledger_input *input;
    struct view views[WIRE_TARGETS];
    struct match *matches; /* one a socket */
};

/* by_name.c: for the sockets of the target that have no session yet. Returns 0, or -1 and ENOMEM. */
int join_by_name(struct join *join, int target);

/* After that: sets all_rest of the target. */
void join_find_rest(struct join *join, int target);

#endif
