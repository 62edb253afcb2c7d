/* The fallback where sock_diag is refused: /proc/self/net/tcp and tcp6 (proc(5)). Queues and states, no tcp_info.
 * Never /proc/net: ProcSubset=pid takes that away, and not this. */
#ifndef AGENT_SOCKETS_PROC_NET_H
#define AGENT_SOCKETS_PROC_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/sockets/fact.h"

/* Reads one line of /proc/net/tcp (family AF_INET) or tcp6 (AF_INET6). True when it is a socket as inet_diag_read()
 * wants them. */
bool proc_net_read_line(const char *line, int family, struct socket_fact *fact);

/* Adds all sockets connected to one of the ports. `directory` is "/proc/self/net". Returns 0, or -1 and errno. */
int proc_net_dump(const char *directory, const uint16_t *ports, size_t port_count, struct socket_table *table);

#endif
