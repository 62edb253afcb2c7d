/* Sockets from /proc/self/net/tcp and tcp6: see agent/sockets/proc_net.h. Reads text of the kernel; never a path that
 * ProcSubset=pid hides. */
#include "agent/sockets/proc_net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sockets/diag.h"
#include "common/clock.h"
#include "common/fd.h"

enum { TICKS_PER_SECOND = 100, LINE_BYTES = 512 }; /* USER_HZ: fixed for user space on all we run on */

/* Addresses stand as one or four 32-bit words in the host's order, each printed as a number: "0100007F:1538". */
static bool read_endpoint(const char *text, int family, struct endpoint *endpoint)
{
    uint32_t words[4] = {0};
    unsigned port;
    if (family == AF_INET) {
        if (sscanf(text, "%8" SCNx32 ":%4x", &words[0], &port) != 2)
            return false;
    } else if (sscanf(text, "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 ":%4x", &words[0], &words[1], &words[2],
                      &words[3], &port) != 5) {
        return false;
    }
    *endpoint = endpoint_from_bytes(family, words, (uint16_t)port);
    return true;
}

/* "  0: LOCAL REMOTE ST TX:RX TR:WHEN RETRANS UID TIMEOUT INODE …" */
bool proc_net_read_line(const char *line, int family, struct socket_fact *fact)
{
    char local[64], remote[64];
    unsigned state, sent, unread, timer;
    uint64_t when, inode;
    int got = sscanf(line, " %*u: %63s %63s %x %x:%x %x:%" SCNx64 " %*x %*u %*d %" SCNu64, local, remote, &state, &sent,
                     &unread, &timer, &when, &inode);
    if (got != 8 || !diag_state_is_wanted(state) || inode == 0)
        return false;
    *fact = socket_fact_none();
    if (!read_endpoint(local, family, &fact->local) || !read_endpoint(remote, family, &fact->remote))
        return false;
    fact->inode = inode;
    fact->tcp_state = (uint8_t)state;
    fact->unread_bytes = unread;
    fact->unacked_bytes = sent;
    fact->timer = (uint8_t)timer;
    fact->timer_ms = (uint32_t)(when < UINT32_MAX / 10 ? when * 1000 / TICKS_PER_SECOND : UINT32_MAX);
    fact->looked_at_us = clock_now_us();
    socket_fact_count_bytes_only(fact);
    return true;
}

static bool is_one_of(uint16_t port, const uint16_t *ports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ports[i] == port)
            return true;
    return false;
}

static void close_stream(FILE **stream)
{
    if (*stream)
        fclose(*stream);
}

static int dump_file(const char *directory, const char *name, int family, const uint16_t *ports, size_t port_count,
                     struct socket_table *table)
{
    char path[128], line[LINE_BYTES];
    struct socket_fact fact;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *stream __attribute__((cleanup(close_stream))) = fopen(path, "re");
    if (!stream)
        return -1;
    setvbuf(stream, NULL, _IOFBF, 65536);
    while (fgets(line, sizeof line, stream))
        if (proc_net_read_line(line, family, &fact) && is_one_of(fact.remote.port, ports, port_count) &&
            socket_table_add(table, &fact) < 0)
            return -1;
    return ferror(stream) ? -1 : 0;
}

int proc_net_dump(const char *directory, const uint16_t *ports, size_t port_count, struct socket_table *table)
{
    if (dump_file(directory, "tcp", AF_INET, ports, port_count, table) < 0)
        return -1;
    if (dump_file(directory, "tcp6", AF_INET6, ports, port_count, table) < 0 && errno != ENOENT)
        return -1; /* without IPv6 there is no such file */
    return 0;
}
