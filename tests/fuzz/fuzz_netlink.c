/* Any bytes as an answer of sock_diag(7): the walk over messages and attributes, and what is read from both kinds of
 * message. The kernel is trusted; its lengths, on a kernel that nobody has tried, are not. */
#include <linux/netlink.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/epoll.h"
#include "agent/sockets/netlink.h"
#include "agent/sockets/proc_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(_Bool holds)
{
    if (!holds)
        abort();
}

static void read_message(void *context, const struct nlmsghdr *message)
{
    static const struct unix_path paths[] = {{"/run/postgresql/.s.PGSQL.5432", 7, 8 << 20 | 1},
                                             {"/tmp/redis.sock", 0, 0}};
    size_t *count = context;
    struct socket_fact fact;
    struct unix_socket unix_socket;
    ++*count;
    if (inet_diag_read(message, &fact))
        require(fact.inode && diag_state_is_wanted(fact.tcp_state) && fact.has_info <= 1 && fact.path == -1);
    if (!unix_diag_read(message, paths, 2, &unix_socket))
        return;
    require(unix_socket.bound_to >= -1 && unix_socket.bound_to < 2);
    uint32_t inode = 0;
    for (size_t i = 0; i < unix_socket.pending_count; i++)
        memcpy(&inode, unix_socket.pending + i * sizeof inode, sizeof inode);
}

/* The same bytes as lines of procfs. */
static void read_lines(const char *bytes, size_t size)
{
    char line[512];
    struct socket_fact fact;
    int fd;
    uint64_t inode;
    size = size < sizeof line ? size : sizeof line - 1;
    memcpy(line, bytes, size);
    line[size] = 0;
    proc_net_read_line(line, AF_INET, &fact);
    proc_net_read_line(line, AF_INET6, &fact);
    epoll_read_line(line, &fd, &inode);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The first four bytes are the sequence number that was asked with; the rest lies aligned,
     * and ends with its memory. */
    uint32_t sequence;
    size_t count = 0;
    if (size < sizeof sequence)
        return 0;
    memcpy(&sequence, data, sizeof sequence);
    data += sizeof sequence;
    size -= sizeof sequence;
    void *aligned = malloc(size ? size : 1);
    memcpy(aligned, data, size);
    struct netlink_part part = netlink_walk(aligned, size, sequence, read_message, &count);
    require(count <= size / NLMSG_HDRLEN && part.error >= 0 && part.error <= 4095);
    read_lines(aligned, size);
    free(aligned);
    return 0;
}
