/* Names to addresses, by c-ares on the agent's loop: /etc/hosts, then DNS with resolv.conf's search domains. The C
 * library's resolver is never called: it blocks. One lookup an object; resolv.conf is read anew for each. */
#ifndef AGENT_TARGETS_RESOLVE_H
#define AGENT_TARGETS_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "common/endpoint.h"

struct ev_loop;
struct resolve;

/* `why` is NULL when there is at least one address, else one line that names no host. The object is gone afterwards. */
typedef void resolve_done_fn(void *context, const struct endpoint *addresses, size_t count, const char *why);

/* Looks `host` up. `done` is called once, always from the loop. NULL and errno ENOMEM when it cannot start. It has no
 * limit of its own but c-ares' (some seconds): the caller cancels. */
struct resolve *resolve_start(struct ev_loop *loop, const char *host, uint16_t port, resolve_done_fn *done,
                              void *context);
void resolve_cancel(struct resolve *resolve); /* `done` is not called any more; NULL is fine */

#endif
