/* A target as the agent sees it: one asynchronous connection to a server, questions, and a table of sessions.
 *
 * One `struct target` a target, behind one table of operations a kind (postgres.c, pgbouncer.c, redis.c). Nothing here
 * waits: every step is an event on the agent's libev loop, every question has a time limit. One probe at a time: a
 * question while one is under way is refused. Connecting again happens by itself, with backoff, and only on demand:
 * target_ask() on an unconnected target starts to connect and answers as soon as it can, or fails at its limit. */
#ifndef AGENT_TARGETS_TARGET_H
#define AGENT_TARGETS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/endpoint.h"
#include "wire/message.h"

struct ev_loop;
struct target;

/* A session as the server reports it. Facts only. */
struct session {
    uint64_t id;               /* backend pid; Redis client id; PgBouncer's ptr */
    struct endpoint client;    /* client address and port; family ENDPOINT_UNIX for a local one, NONE: not visible */
    uint8_t state;             /* enum session_state */
    uint8_t tls;               /* 1, 0, 255 */
    uint8_t waits_for_client;  /* PostgreSQL: it waits for the client's next message: 1, 0; 255: not known */
    uint64_t server_pid;       /* PgBouncer session mode: the linked server connection's backend pid; else 0 */
    uint64_t linked_pid;       /* PgBouncer, any mode, with texts or a `server`: the same; 0: not linked, not known */
    int64_t start, state_change; /* the server's clock, microseconds; 0: not known */
    int64_t state_age_us, transaction_age_us; /* -1: not known, none */
    int64_t transaction_start; /* PostgreSQL's xact_start, by the server's clock; 0: not known, none */
    char application_name[128];
    char query[WIRE_QUERY];
};

/* One answered, or failed, question. Valid until the next target_ask(). */
struct target_answer {
    bool ok;                   /* false: `why` says why; sessions are then none, and nothing is known */
    int64_t asked_at_us, took_us;
    const struct session *sessions;
    size_t session_count;
    int32_t server_sessions, server_max; /* -1: not known */
    const char *why;           /* one line, no password; never NULL. Of target_say(): what the server said */
};

typedef void target_answer_fn(void *context, struct target *target, const struct target_answer *answer);
typedef void target_ended_fn(void *context, struct target *target, uint32_t request, const uint8_t *how, size_t count,
                             const char *why);

/* The message is copied. `application_name` is "lastcall-agent/<instance>": the agent's own sessions must be told apart
 * from the app's. Returns NULL and errno (ENOMEM, EINVAL). */
struct target *target_create(struct ev_loop *loop, const struct message_target *message, const char *application_name);
void target_destroy(struct target *target);

/* Asks for the sessions. `want_text`: with the queries' beginnings. The answer comes by `done` once, at the latest
 * after limit_us, always from the loop, never from within this call. For PgBouncer and Redis two answers are
 * awaited, so that what a client had sent before this call was read by the time of the second. Returns 0, or -1
 * and EBUSY: one is asked. */
int target_ask(struct target *target, int64_t limit_us, bool want_text, target_answer_fn *done, void *context);

/* Says one command to the server and gives its answer, as target_ask() gives the sessions: `why` holds the first value
 * of what came (ok), or why there is none; the answer has no sessions. `command` lives until `done` was called: an SQL
 * query, a command of PgBouncer's console, words for Redis with blanks between. */
int target_say(struct target *target, int64_t limit_us, const char *command, target_answer_fn *done, void *context);

/* Ends sessions by server command as struct message_end says; `done` comes once, at the latest after wait_ms +
 * linger_ms plus 100 ms. May run beside a probe: it waits for its turn. Returns 0, or -1 and errno. */
int target_end_sessions(struct target *target, const struct message_end *message, target_ended_fn *done, void *context);

const struct message_target *target_message(const struct target *target);
enum target_up target_up(const struct target *target);
const char *target_why(const struct target *target); /* why it is not up; "" when it is */

/* The addresses the name resolved to, and the peer of the agent's own connection: how sockets of the app are matched.
 * Writes at most `room`; returns how many there are. */
size_t target_addresses(const struct target *target, struct endpoint *at, size_t room);

/* The directory of a unix socket target (host=/run/postgresql) or its socket's path; NULL for TCP. */
const char *target_unix_path(const struct target *target);

/* 1: the server sees another client address than our socket has; 0: the same; -1: not known yet. */
int target_is_translated(const struct target *target);

#endif
