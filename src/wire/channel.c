/* The channel's two ends. Never blocks, never allocates, and hands nothing on that message_is_valid() has not seen:
 * what is sent is checked too, so that a bug is found by the side that has it. */
#include "wire/channel.h"

#include <errno.h>
#include <sys/socket.h>

#include "wire/message.h"

_Static_assert(sizeof(union channel_packet) == WIRE_PACKET, "a buffer holds any packet");

int channel_open_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}

int channel_send(int fd, const void *message)
{
    const struct message_header *header = message;
    if (!message_is_valid(message, header->size)) {
        errno = EINVAL;
        return -1;
    }
    ssize_t sent;
    do
        sent = send(fd, message, header->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    return sent == -1 ? -1 : 0; /* a packet goes as a whole or not at all */
}

long channel_receive(int fd, union channel_packet *packet)
{
    ssize_t size;
    do /* MSG_TRUNC: the length of the packet, also when it is longer than the buffer */
        size = recv(fd, packet->bytes, sizeof packet->bytes, MSG_DONTWAIT | MSG_TRUNC);
    while (size == -1 && errno == EINTR);
    if (size <= 0)
        return size;
    if ((size_t)size > sizeof packet->bytes || !message_is_valid(packet->bytes, (size_t)size)) {
        errno = EBADMSG;
        return -1;
    }
    return size;
}
