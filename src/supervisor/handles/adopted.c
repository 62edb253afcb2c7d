/* The kept duplicates: see supervisor/handles/adopted.h. */
#include "supervisor/handles/adopted.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "common/fd.h"
#include "common/process.h"
#include "supervisor/handles/duplicate.h"

static struct adopted *adopted_find(struct adopted_table *table, const struct handle_row *row)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->list[i].row.inode == row->inode && endpoint_equal(&table->list[i].row.local, &row->local))
            return &table->list[i];
    return NULL;
}

static struct adopted *adopted_add(struct adopted_table *table)
{
    if (table->count == table->room) {
        size_t room = table->room ? table->room * 2 : 64;
        struct adopted *list = realloc(table->list, room * sizeof *list);
        if (!list)
            return NULL;
        table->list = list;
        table->room = room;
    }
    return &table->list[table->count++];
}

static bool adopt_row(struct adopted_table *table, const struct handle_row *row)
{
    struct socket_counters counters;
    int fd = duplicate_take(row->pid, row->fd, row->inode);
    if (fd < 0) {
        table->error = errno == ESTALE || errno == ESRCH ? table->error : errno;
        return false;
    }
    struct adopted *adopted = socket_read_counters(fd, &counters) == 0 ? adopted_add(table) : NULL;
    if (!adopted) {
        fd_close(&fd);
        return false;
    }
    *adopted = (struct adopted){.row = *row, .fd = fd, .sent_at_first = counters.sent};
    return true;
}

size_t adopted_take(struct adopted_table *table, const struct handle_row *rows, size_t count)
{
    size_t new = 0;
    for (size_t i = 0; i < count; i++) {
        struct adopted *known = adopted_find(table, &rows[i]);
        if (known)
            known->row = rows[i];
        else
            new += adopt_row(table, &rows[i]);
    }
    return new;
}

static bool server_has_closed(const struct socket_counters *counters)
{
    return counters->tcp_state == TCP_CLOSE_WAIT || counters->tcp_state == TCP_CLOSE ||
           counters->tcp_state == TCP_LAST_ACK;
}

static bool adopted_look(struct adopted *adopted, int64_t now_us)
{
    struct socket_counters counters;
    enum adopted_fate before = adopted->fate;
    if (adopted->fd < 0 || adopted->fate == FATE_CLOSED)
        return false;
    if (adopted->fate == FATE_OPEN && process_socket_inode(adopted->row.pid, adopted->row.fd) != adopted->row.inode) {
        adopted->fate = FATE_DROPPED;
        adopted->dropped_at_us = now_us;
    }
    if (adopted->fate == FATE_DROPPED && socket_read_counters(adopted->fd, &counters) == 0 && server_has_closed(&counters))
        adopted->fate = FATE_CLOSED;
    return adopted->fate != before;
}

bool adopted_watch(struct adopted_table *table, int64_t now_us)
{
    bool changed = false;
    for (size_t i = 0; i < table->count; i++)
        changed |= adopted_look(&table->list[i], now_us);
    return changed;
}

void adopted_release(struct adopted *adopted)
{
    fd_close(&adopted->fd);
}

void adopted_finish(struct adopted_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        adopted_release(&table->list[i]);
    free(table->list);
    *table = (struct adopted_table){0};
}
