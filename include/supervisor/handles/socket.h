/* One socket seen and touched through a duplicate: counters, marks, the step, the goodbye, the discard. Each is one or
 * two bounded system calls that never wait (tcp(7), socket(7)). */
#ifndef SUPERVISOR_HANDLES_SOCKET_H
#define SUPERVISOR_HANDLES_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

struct socket_counters {
    uint8_t tcp_state;        /* <netinet/tcp.h>; 0: not TCP */
    uint64_t sent, received;  /* payload bytes; sent without retransmissions */
    uint32_t unsent, unacked, unread;
};

/* Returns 0, or -1 and errno. */
int socket_read_counters(int fd, struct socket_counters *counters);

/* The marks, DESIGN "Holding". -1 and errno. */
int socket_set_cork(int fd, bool on);      /* TCP_CORK */
int socket_set_brake(int fd, bool on);     /* SO_RCVLOWAT: 32 KiB, or 1. Never on a blocking socket: see socket_blocks() */
int socket_step(int fd);                   /* TCP_NODELAY 1 on a corked socket: what is queued goes, the cork stays */
int socket_get_nodelay(int fd);            /* 1, 0, -1 */
int socket_set_nodelay(int fd, bool on);
bool socket_blocks(int fd);                /* O_NONBLOCK is off */

/* The PostgreSQL protocol's own end: Terminate ("Frontend/Backend Protocol", Message Formats), then end of stream. Not
 * inside TLS. Returns 0, or -1 and errno: EAGAIN (the send queue is full), EPIPE (the server has closed). */
int socket_say_terminate(int fd);

/* End of stream: Redis' goodbye, and what follows every other. */
int socket_end_stream(int fd);

/* Throws away what is queued and not sent: connect(AF_UNSPEC) (tcp_disconnect sends a reset, and no byte of it). */
int socket_discard(int fd);

#endif
