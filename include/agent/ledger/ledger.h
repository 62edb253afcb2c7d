/* Handle ⇄ session: what the kernel says about a socket, joined with what its server says about it. Pure: no I/O, no
 * verdict, and no memory of earlier looks but the pairs it is given. Each row says how it is known. */
#ifndef AGENT_LEDGER_LEDGER_H
#define AGENT_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger/pairs.h"
#include "agent/sockets/fact.h"
#include "agent/targets/target.h"
#include "wire/message.h"

enum { LEDGER_ADDRESSES = 32 };

/* One target as it stands in this look. */
struct ledger_target {
    bool look_only;
    int16_t server;         /* pgbouncer: the postgres target behind it; -1 */
    uint16_t port;          /* as configured */
    int16_t path;           /* which of the looked-at unix paths is its; -1: TCP */
    struct endpoint addresses[LEDGER_ADDRESSES];
    size_t address_count;   /* 0: not known */
    int translated;         /* as target_is_translated() */
    bool answered;          /* within this look; else the sessions are nothing */
    const struct session *sessions;
    size_t session_count;
    int64_t hidden_since_us; /* as in struct hidden */
    struct pairs *pairs;     /* the caller's; noted in each join, where names are all there is. NULL: none are kept */
};

struct ledger_input {
    const struct socket_fact *sockets;
    size_t socket_count;
    const struct ledger_target *targets;
    size_t target_count;          /* WIRE_TARGETS at most */
    const char *application_name; /* of the app: matched as a prefix */
    bool query_text;              /* false: rows carry none */
};

/* Writes a row for each socket that belongs to a target, in the order of the sockets; `rows` has room for one a socket.
 * A socket belongs to a target when its port and one of its addresses are the target's; when a session of it has
 * exactly this client; or when the target's addresses are not known yet and no other's fit. Returns how many rows, or
 * -1 and ENOMEM. */
long ledger_join(const struct ledger_input *input, struct handle_row *rows);

#endif
