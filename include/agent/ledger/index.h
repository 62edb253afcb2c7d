/* A target's sessions, findable by client address and by id. Borrows the sessions; pure. */
#ifndef AGENT_LEDGER_INDEX_H
#define AGENT_LEDGER_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/targets/target.h"

struct index_entry {
    struct endpoint client;
    const struct session *session;
};

struct session_index {
    struct index_entry *at; /* heap; sorted */
    size_t count;
};

/* Which address stands for a session; false: none does. */
typedef bool index_client_fn(const void *context, const struct session *session, struct endpoint *client);

/* Returns 0, or -1 and ENOMEM. */
int index_build_by_client(struct session_index *index, const struct session *sessions, size_t count,
                          index_client_fn *client_of, const void *context);
int index_build_by_id(struct session_index *index, const struct session *sessions, size_t count);
void index_finish(struct session_index *index);

/* The session of this client, or NULL. Of several (a pooler's server connections keep the name of their last client)
 * the one that is at work, else the one whose state changed last. */
const struct session *index_find_client(const struct session_index *index, const struct endpoint *client);
const struct session *index_find_id(const struct session_index *index, uint64_t id);

#endif
