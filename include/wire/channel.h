/* The channel that carries messages: one end of a SOCK_SEQPACKET socketpair, never blocking on either side. */
#ifndef WIRE_CHANNEL_H
#define WIRE_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

/* A buffer for one packet, aligned for every message. */
union channel_packet {
    uint64_t align;
    unsigned char bytes[65536];
};

/* A pair of connected, non-blocking, close-on-exec ends. Returns 0, or -1 and errno. */
int channel_open_pair(int ends[2]);

/* Sends one message (its header.size bytes). Returns 0, or -1 and errno: EAGAIN when the other side does
 * not read, EINVAL when it is no valid message (a bug of the caller), EPIPE when the other end is
 * closed. Never raises SIGPIPE. */
int channel_send(int fd, const void *message);

/* Receives one message. Returns its size; 0 at the end of the stream; -1 and errno: EAGAIN when there is none,
 * EBADMSG when what came is no valid message (the channel is then worth nothing any more). */
long channel_receive(int fd, union channel_packet *packet);

#endif
