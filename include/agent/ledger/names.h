/* Joins by application_name, where addresses change on the way. */
#ifndef AGENT_LEDGER_NAMES_H
#define AGENT_LEDGER_NAMES_H

#include <stdbool.h>

#include "common/endpoint.h"

/* True when `name` is the app's, alone or with what a pooler appends ("lastcall/web - 10.0.0.5:40312"). An empty prefix
 * fits nothing. */
bool names_match(const char *name, const char *prefix);

/* The client that PgBouncer's application_name_add_host appended to the prefix. False when there is none, and when
 * PostgreSQL may have cut the name (it keeps 63 bytes), so that the port may be half of one. */
bool names_read_client(const char *name, const char *prefix, struct endpoint *client);

/* The same, whatever stands before it. A name alone does not make it the app's: poolers on several hosts may each have
 * a client 127.0.0.1:40000. */
bool names_read_any_client(const char *name, struct endpoint *client);

/* So long that PostgreSQL may have cut it. */
bool names_may_be_cut(const char *name);

#endif
