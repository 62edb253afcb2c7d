/* The table of socket facts: see agent/sockets/fact.h. Pure: no kernel call is made here. */
#include "agent/sockets/fact.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

struct socket_fact socket_fact_none(void)
{
    return (struct socket_fact){.path = -1, .pid = -1, .fd = -1, .epoll = EPOLL_UNKNOWN};
}

static uint32_t less_one(uint32_t count)
{
    return count ? count - 1 : 0;
}

/* rcv_nxt counts the peer's FIN, and copied_seq passes it when the app reads the end of the stream: as long as anything
 * is unread in these states, one of it is the FIN. The other way round for our own FIN, and for the SYN. */
void socket_fact_count_bytes_only(struct socket_fact *fact)
{
    switch (fact->tcp_state) {
    case TCP_CLOSE_WAIT:
        fact->unread_bytes = less_one(fact->unread_bytes);
        break;
    case TCP_LAST_ACK:
    case TCP_CLOSING:
        fact->unread_bytes = less_one(fact->unread_bytes);
        /* fall through */
    case TCP_FIN_WAIT1:
    case TCP_SYN_SENT:
        fact->unacked_bytes = less_one(fact->unacked_bytes);
        fact->unsent_bytes = less_one(fact->unsent_bytes);
        break;
    default:
        break;
    }
}

int socket_table_add(struct socket_table *table, const struct socket_fact *fact)
{
    if (table->count == table->room) {
        size_t room = table->room ? table->room * 2 : 64;
        struct socket_fact *at = realloc(table->at, room * sizeof *at);
        if (!at) {
            errno = ENOMEM;
            return -1;
        }
        table->at = at;
        table->room = room;
    }
    table->at[table->count++] = *fact;
    return 0;
}

static int compare_inodes(const void *a, const void *b)
{
    uint64_t x = ((const struct socket_fact *)a)->inode, y = ((const struct socket_fact *)b)->inode;
    return x < y ? -1 : x > y;
}

void socket_table_sort(struct socket_table *table)
{
    size_t kept = 0;
    if (table->count > 1)
        qsort(table->at, table->count, sizeof *table->at, compare_inodes);
    for (size_t i = 0; i < table->count; i++)
        if (kept == 0 || table->at[i].inode != table->at[kept - 1].inode)
            table->at[kept++] = table->at[i];
    table->count = kept;
}

struct socket_fact *socket_table_find(const struct socket_table *table, uint64_t inode)
{
    struct socket_fact key = {.inode = inode};
    if (!table->count)
        return NULL;
    return bsearch(&key, table->at, table->count, sizeof *table->at, compare_inodes);
}

void socket_table_finish(struct socket_table *table)
{
    free(table->at);
    *table = (struct socket_table){0};
}
