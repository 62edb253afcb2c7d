/* PgBouncer's console: rows of SHOW POOLS, CLIENTS and SERVERS made into sessions. Pure: no connection, no I/O.
 *
 * Columns are found by name, since each version adds some; one that is not there is a NULL here. */
#ifndef AGENT_TARGETS_PGBOUNCER_ROWS_H
#define AGENT_TARGETS_PGBOUNCER_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/targets/session_table.h"

enum pool_mode { POOL_MODE_UNKNOWN, POOL_MODE_SESSION, POOL_MODE_TRANSACTION /* or statement */ };

struct pool {
    char database[128], user[128];
    enum pool_mode mode;
};

struct pool_list {
    struct pool *pools; /* heap */
    size_t count, room;
};

/* A row of SHOW POOLS. Returns 0, or -1 and errno ENOMEM. */
int pool_list_add(struct pool_list *list, const char *database, const char *user, const char *mode);

/* The mode of a client's pool. A database with a forced user names another user than the client: then the mode that all
 * pools of the database have; when they differ, or there is none, it is unknown. */
enum pool_mode pool_list_mode(const struct pool_list *list, const char *database, const char *user);
void pool_list_finish(struct pool_list *list);

/* A row of SHOW CLIENTS. */
struct pgbouncer_client {
    const char *user, *database, *state, *addr, *port, *wait, *wait_us, *ptr, *link, *tls, *application_name, *id;
};

/* Fills `session`, a fresh row. The number of the linked server connection comes back in `link`, 0 for none. In session
 * mode, or when the mode is not known, a linked client's state is left unknown: the server behind it knows. */
void pgbouncer_read_client(struct session *session, const struct pgbouncer_client *client, enum pool_mode mode,
                           uint64_t *link);

/* A pointer as PgBouncer prints it ("0x55…"); 0 for NULL, "" and what is none. */
uint64_t pgbouncer_pointer(const char *text);

#endif
