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
    uint32_t unacked_segments;
    uint32_t last_sent_ms, last_received_ms, last_ack_ms; /* ages */
};

/* Returns 0, or -1 and errno. */
int socket_read_counters(int fd, struct socket_counters *counters);

/* The peer has ended its stream, or the connection is no more. TCP and AF_UNIX. */
bool socket_peer_has_closed(int fd);

/* The marks: what each of them keeps back is said in src/supervisor/hold/README.md. -1 and errno. */
int socket_set_cork(int fd, bool on);      /* TCP_CORK; off: what is queued goes */
int socket_get_cork(int fd);               /* 1, 0, -1 */
bool socket_blocks(int fd);                /* O_NONBLOCK is off */

/* Sends exactly what is queued on a corked socket; the cork stays. TCP_NODELAY 1 does it, and is put back at once to
 * what it was: the app has it changed for a microsecond. */
int socket_step(int fd);

/* The brake is SO_RCVLOWAT at 32,749 bytes, or at what the receive buffer allows: a number that nobody else uses, so
 * that a brake of ours is known as one even when nothing was noted of it. */
struct socket_brake {
    int before;  /* the app's own value, to go back to */
    int ours;    /* what the kernel made of ours */
};
int socket_set_brake(int fd, struct socket_brake *brake);
/* Leaves alone what the app has set by itself meanwhile. */
int socket_release_brake(int fd, const struct socket_brake *brake);

/* The PostgreSQL protocol's own end: Terminate ("Frontend/Backend Protocol", Message Formats), then end of stream. Not
 * inside TLS. Returns 0, or -1 and errno: EAGAIN (the send queue is full), EPIPE (the server has closed). */
int socket_say_terminate(int fd);

/* End of stream: Redis' goodbye, and what follows every other. */
int socket_end_stream(int fd);

/* Throws away what is queued and not sent: connect(AF_UNSPEC) (tcp_disconnect sends a reset, and no byte of it). */
int socket_discard(int fd);

#endif
