/* One socket through a duplicate: see supervisor/handles/socket.h. Nothing here waits. */
#include "supervisor/handles/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { BRAKE_BYTES = 32749 };

static uint32_t queue_of(int fd, unsigned long request)
{
    int bytes = 0;
    return ioctl(fd, request, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes : 0;
}

/* A kernel may know fewer fields than we do: what it did not fill is zero. */
static int read_tcp_info(int fd, struct tcp_info *info)
{
    socklen_t length = sizeof *info;
    *info = (struct tcp_info){0};
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length);
}

int socket_read_counters(int fd, struct socket_counters *counters)
{
    struct tcp_info info;
    *counters = (struct socket_counters){.unread = queue_of(fd, SIOCINQ)};
    if (read_tcp_info(fd, &info) < 0)
        return errno == EOPNOTSUPP || errno == ENOPROTOOPT ? 0 : -1;
    counters->tcp_state = info.tcpi_state;
    counters->sent = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
    counters->received = info.tcpi_bytes_received;
    counters->unsent = info.tcpi_notsent_bytes;
    counters->unacked = queue_of(fd, SIOCOUTQ);
    counters->unacked_segments = info.tcpi_unacked;
    counters->last_sent_ms = info.tcpi_last_data_sent;
    counters->last_received_ms = info.tcpi_last_data_recv;
    counters->last_ack_ms = info.tcpi_last_ack_recv;
    return 0;
}

bool socket_peer_has_closed(int fd)
{
    struct pollfd at = {.fd = fd, .events = POLLRDHUP};
    return poll(&at, 1, 0) > 0 && (at.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* -1 and errno; none of the options asked for is ever negative. */
static int get_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, option, &value, &length) < 0 ? -1 : value;
}

int socket_set_cork(int fd, bool on)
{
    return set_option(fd, IPPROTO_TCP, TCP_CORK, on);
}

int socket_get_cork(int fd)
{
    int value = get_option(fd, IPPROTO_TCP, TCP_CORK);
    return value < 0 ? -1 : value != 0;
}

int socket_step(int fd)
{
    int before = get_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (before < 0 || set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0)
        return -1;
    return before ? 0 : set_option(fd, IPPROTO_TCP, TCP_NODELAY, 0);
}

int socket_set_brake(int fd, struct socket_brake *brake)
{
    int before = get_option(fd, SOL_SOCKET, SO_RCVLOWAT);
    int wanted = before > BRAKE_BYTES ? before : BRAKE_BYTES;
    if (before < 0 || set_option(fd, SOL_SOCKET, SO_RCVLOWAT, wanted) < 0)
        return -1;
    *brake = (struct socket_brake){.before = before == BRAKE_BYTES ? 1 : before,
                                   .ours = get_option(fd, SOL_SOCKET, SO_RCVLOWAT)};
    return 0;
}

int socket_release_brake(int fd, const struct socket_brake *brake)
{
    int now = get_option(fd, SOL_SOCKET, SO_RCVLOWAT);
    if (now < 0)
        return -1;
    return now == brake->ours ? set_option(fd, SOL_SOCKET, SO_RCVLOWAT, brake->before) : 0;
}

bool socket_blocks(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && !(flags & O_NONBLOCK);
}

int socket_end_stream(int fd)
{
    return shutdown(fd, SHUT_WR);
}

int socket_say_terminate(int fd)
{
    static const unsigned char terminate[] = {'X', 0, 0, 0, 4};
    ssize_t n = send(fd, terminate, sizeof terminate, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return -1;
    if (n != sizeof terminate) {
        errno = EAGAIN;
        return -1;
    }
    return socket_end_stream(fd);
}

int socket_discard(int fd)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    return connect(fd, &nowhere, sizeof nowhere);
}
