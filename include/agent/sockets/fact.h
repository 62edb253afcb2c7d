/* What the kernel says about one socket, before any server was asked, and a growing table of such facts. */
#ifndef AGENT_SOCKETS_FACT_H
#define AGENT_SOCKETS_FACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/endpoint.h"
#include "common/process.h"

enum { SOCKET_KEY_BYTES = 48, EPOLL_UNKNOWN = 255 };

/* How the kernel names a socket in sock_diag(7): enough to ask for this one again, and only this one (the cookie is
 * never given to another socket). `id` holds a struct inet_diag_sockid. */
struct socket_key {
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX as the kernel has it: v4-mapped is AF_INET6; 0: not known */
    uint32_t cookie[2];
    uint8_t id[SOCKET_KEY_BYTES]; /* TCP only */
};

/* Fields have the meaning they have in struct handle_row. Queues count bytes only: the kernel's own figures count the
 * FIN and the SYN as one each, these do not. */
struct socket_fact {
    uint64_t inode;
    struct endpoint local, remote;
    struct socket_key key;
    uint64_t peer_inode;  /* AF_UNIX: the other end, 0: none */
    int16_t path;         /* AF_UNIX: which of the asked paths it is connected to; -1: TCP */
    uint8_t tcp_state, has_info, timer;
    uint8_t epoll;        /* 1, 0, EPOLL_UNKNOWN */
    uint8_t holders;      /* processes of the tree that have it; 0: not the app's */
    uint8_t descriptors;  /* of it, in all of them together */
    int32_t pid, fd;      /* one of them, -1: none */
    struct socket_holder others[SOCKET_OTHERS];
    uint32_t unread_bytes, unacked_bytes, unsent_bytes, last_sent_ms, last_received_ms, last_ack_ms, rtt_us;
    uint32_t unacked_segments; /* of the same instant as the ages and counters; unacked_bytes is of one before it */
    uint64_t bytes_sent, bytes_acked, bytes_received;
    uint32_t data_segments_out, data_segments_in, timer_ms;
    int64_t looked_at_us;
    int64_t absent_at_us; /* when a look at all sockets did not show it yet, the last one before it did; 0: not known */
};

struct socket_table {
    struct socket_fact *at; /* heap */
    size_t count, room;
};

/* An empty fact: nothing known, nobody's. */
struct socket_fact socket_fact_none(void);

/* Takes FIN and SYN out of the queues that tcp_state implies them in. */
void socket_fact_count_bytes_only(struct socket_fact *fact);

/* Appends a copy. Returns 0, or -1 and ENOMEM (the table is then as before). */
int socket_table_add(struct socket_table *table, const struct socket_fact *fact);
/* Sorts by inode and drops a second fact of one inode (a dump may show a socket twice while its bucket changes). */
void socket_table_sort(struct socket_table *table);
/* The fact of an inode in a sorted table, or NULL. */
struct socket_fact *socket_table_find(const struct socket_table *table, uint64_t inode);
void socket_table_finish(struct socket_table *table);

#endif
