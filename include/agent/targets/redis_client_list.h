/* Redis' CLIENT LIST, parsed. Pure: no connection, no I/O; every byte is a stranger's. */
#ifndef AGENT_TARGETS_REDIS_CLIENT_LIST_H
#define AGENT_TARGETS_REDIS_CLIENT_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/targets/session_table.h"

/* Reads one line (without its end) of "key=value" fields into `session`, a fresh row. False: it has no id, so it is no
 * client. `want_text`: with the name of the last command. Format: https://redis.io/docs/latest/commands/client-list */
bool redis_read_client(struct session *session, const char *line, size_t length, bool want_text);

/* Reads all lines into the table. Returns how many clients there are, or -1 and errno ENOMEM. */
long redis_read_client_list(struct session_table *table, const char *text, size_t length, bool want_text);

#endif
