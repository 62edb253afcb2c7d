/* Questions to, and answers of, sock_diag(7) about TCP and AF_UNIX sockets. Facts only; owners are not known here. */
#ifndef AGENT_SOCKETS_DIAG_H
#define AGENT_SOCKETS_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/sockets/fact.h"

struct netlink;
struct nlmsghdr;

enum { DIAG_PORTS = 64, DIAG_PATHS = 16 };

/* The states a handle can be in (include/net/tcp_states.h): not listening, not waiting out its time, not closed. */
bool diag_state_is_wanted(unsigned tcp_state);

/* Reads one SOCK_DIAG_BY_FAMILY message about a TCP socket. True when it is a socket of a wanted state that some
 * process has (an inode): then `fact` is filled. tcp_info may be shorter or longer than ours (another kernel). */
bool inet_diag_read(const struct nlmsghdr *message, struct socket_fact *fact);

/* Adds all TCP sockets of the namespace that are connected to one of the ports, AF_INET and AF_INET6, as the kernel
 * filtered them. Returns 0, or -1 and errno. */
int inet_diag_dump(struct netlink *netlink, const uint16_t *ports, size_t port_count, struct socket_table *table);

/* The same for what listens, of the whole namespace: unread_bytes counts the connections that wait to be accepted. And
 * for the connections whose own port is one of those: established, or closed by the peer only. */
int inet_diag_dump_listening(struct netlink *netlink, struct socket_table *table);
int inet_diag_dump_inbound(struct netlink *netlink, const uint16_t *ports, size_t port_count,
                           struct socket_table *table);

/* Looks at one known socket again, by its addresses and cookie. Returns 0, or -1 and errno: ENOENT, ESTALE: gone. */
int inet_diag_ask(struct netlink *netlink, const struct socket_key *key, struct socket_fact *fact);

/* Where a path is bound, so that it is found under whatever name it was bound with. */
struct unix_path {
    const char *name;    /* the socket's file */
    uint32_t inode;      /* of that file; 0: not there */
    uint32_t device;     /* as the kernel counts it: major << 20 | minor */
};
struct unix_path unix_path_of(const char *name);

/* One AF_UNIX stream socket, as read from a message. */
struct unix_socket {
    struct socket_fact fact;
    int16_t bound_to; /* which of the paths it is bound to; -1: none */
    const unsigned char *pending; /* of a listening one: 32-bit inodes of clients not accepted yet; in the message */
    size_t pending_count;
};
bool unix_diag_read(const struct nlmsghdr *message, const struct unix_path *paths, size_t path_count,
                    struct unix_socket *unix_socket);

/* Adds the client ends of connections to the paths. Sockets of `known` whose server end has gone keep the path they
 * had. Returns 0, or -1 and errno. */
int unix_diag_dump(struct netlink *netlink, const char *const *paths, size_t path_count,
                   const struct socket_table *known, struct socket_table *table);
int unix_diag_ask(struct netlink *netlink, const struct socket_fact *known, struct socket_fact *fact);

#endif
