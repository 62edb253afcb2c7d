/* The kept duplicates: see supervisor/handles/adopted.h. */
#include "supervisor/handles/adopted.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/process.h"
#include "supervisor/handles/batch.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/holders.h"

#define PATIENCE_US INT64_C(20000) /* for all: the app stands still meanwhile */
enum { FOLLOWED_AT_ONCE = 64 };
enum { CLOSE_NOTIFY_MOST = 64 }; /* bytes of a TLS alert record, whatever the cipher */

struct adopted *adopted_find(struct adopted_table *table, uint64_t inode, const struct endpoint *local)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->list[i].row.inode == inode && endpoint_equal(&table->list[i].row.local, local))
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

/* Rows come in the same order each time: it is nearly always at the row's own place. */
static struct adopted *adopted_of(struct adopted_table *table, const struct handle_row *row, size_t position)
{
    if (position < table->count && table->list[position].row.inode == row->inode &&
        endpoint_equal(&table->list[position].row.local, &row->local))
        return &table->list[position];
    return adopted_find(table, row->inode, &row->local);
}

enum { KEPT_FREE = 24 }; /* descriptors that killing, looking and reporting need */

/* Without the last descriptors nothing could be read any more, not even whom to kill. */
static bool takes_the_last(int fd)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)fd + KEPT_FREE >= limit.rlim_cur;
}

static bool is_gone(int error)
{
    return error == ESTALE || error == ESRCH;
}

static void note_failure(struct adopted_table *table, pid_t pid, int error)
{
    if (is_gone(error))
        return;
    table->error = error;
    table->refused = pid;
}

/* From whoever has it: who had it when it was looked at may have closed it, or ended, since. */
static int take_from_another(const struct handle_row *row, int64_t until_us)
{
    struct holder holder = {.inode = row->inode};
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < SOCKET_OTHERS && row->others[i].pid; i++)
        fd = duplicate_take_until(row->others[i].pid, row->others[i].fd, row->inode, until_us);
    if (fd < 0 && holders_find(&holder, 1) == 0 && holder.pid)
        fd = duplicate_take_until(holder.pid, holder.fd, row->inode, until_us);
    return fd;
}

static bool adopt_row(struct adopted_table *table, const struct handle_row *row, struct batch *batch,
                      int64_t until_us)
{
    struct socket_counters counters;
    int fd = batch_hand_out(batch, row->pid, row->fd, row->inode, until_us);
    if (fd < 0 && is_gone(errno) && row->descriptors > 1)
        fd = take_from_another(row, until_us);
    if (fd < 0) {
        note_failure(table, row->pid, errno);
        return false;
    }
    if (takes_the_last(fd)) {
        note_failure(table, row->pid, EMFILE);
        fd_close(&fd);
        return false;
    }
    struct adopted *adopted = socket_read_counters(fd, &counters) == 0 ? adopted_add(table) : NULL;
    if (!adopted) {
        fd_close(&fd);
        return false;
    }
    *adopted = (struct adopted){.row = *row, .fd = fd, .sent_last = counters.sent};
    return true;
}

/* Of those from i on that are new, as many as go together; returns where that ends. */
static size_t batch_new(struct adopted_table *table, const struct handle_row *rows, size_t i, size_t count,
                        struct batch *batch, int64_t until_us)
{
    batch_finish(batch);
    for (; i < count; i++)
        if (!adopted_of(table, &rows[i], i) &&
            !batch_add(batch, DUPLICATES_MOST, rows[i].pid, rows[i].fd, rows[i].inode))
            break;
    batch_take(batch, until_us);
    return i;
}

size_t adopted_take(struct adopted_table *table, const struct handle_row *rows, size_t count)
{
    struct batch batch = {.count = 0};
    size_t new = 0, batched = 0;
    int64_t until_us = clock_now_us() + PATIENCE_US;
    for (size_t i = 0; i < count; i++) {
        if (i == batched)
            batched = batch_new(table, rows, i, count, &batch, until_us);
        struct adopted *known = adopted_of(table, &rows[i], i);
        if (known) {
            known->row = rows[i];
            known->without_holder = false;
        } else
            new += adopt_row(table, &rows[i], &batch, until_us);
    }
    batch_finish(&batch);
    return new;
}

static bool server_has_closed(int fd, const struct socket_counters *counters)
{
    if (counters->tcp_state == 0)
        return socket_peer_has_closed(fd); /* AF_UNIX */
    /* After our own end of stream: FIN_WAIT1 and FIN_WAIT2 wait for the server's, anything later has it. */
    return counters->tcp_state == TCP_CLOSE_WAIT || counters->tcp_state == TCP_CLOSE ||
           counters->tcp_state == TCP_LAST_ACK || counters->tcp_state == TCP_CLOSING ||
           counters->tcp_state == TCP_TIME_WAIT;
}

static bool link_is_there(int pid, const char *name)
{
    char path[64], link[8];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return readlink(path, link, sizeof link) >= 0;
}

/* The descriptors of a process that ends are gone too, all at once (do_exit: exit_files); its memory goes before that
 * (exit_mm), and with it the link to its program. So one that is missing while the program or any other descriptor is
 * still there was closed by the app. Its standard ones stand for all: giving up its memory takes it a millisecond. */
static bool process_closed_it(const struct handle_row *row)
{
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, row->pid, AS_USER_TO_LOOK);
    return link_is_there(row->pid, "exe") || link_is_there(row->pid, "fd/0") || link_is_there(row->pid, "fd/1") ||
           link_is_there(row->pid, "fd/2");
}

/* True when the app has closed it. */
static bool follow(struct adopted *adopted, const struct holder *holder, int64_t now_us)
{
    if (holder->pid) {
        adopted->row.pid = holder->pid;
        adopted->row.fd = holder->fd;
    } else if (process_closed_it(&adopted->row)) {
        adopted->fate = FATE_DROPPED;
        adopted->dropped_at_us = now_us;
        socket_set_cork(adopted->fd, false); /* its goodbye may be held: a close sends it, but for our duplicate */
    } else
        adopted->without_holder = true;
    return adopted->fate == FATE_DROPPED;
}

static bool is_away(const struct adopted *adopted, struct as_user *as)
{
    if (adopted->fd < 0 || adopted->fate != FATE_OPEN || adopted->without_holder)
        return false;
    as_user_of(as, adopted->row.pid, AS_USER_TO_LOOK);
    return process_socket_inode(adopted->row.pid, adopted->row.fd) != adopted->row.inode;
}

/* What is not where it was may be with another holder, by whatever way it got it (another number of the same process,
 * a child, a message): that one stands for it from now on. One walk over the app for all of them. */
static bool follow_holders(struct adopted_table *table, int64_t now_us)
{
    struct as_user as _cleanup_as_user_ = {0};
    struct adopted *away[FOLLOWED_AT_ONCE];
    struct holder holders[FOLLOWED_AT_ONCE];
    size_t count = 0;
    bool dropped = false;
    for (size_t i = 0; i < table->count && count < FOLLOWED_AT_ONCE; i++)
        if (is_away(&table->list[i], &as)) {
            away[count] = &table->list[i];
            holders[count++] = (struct holder){.inode = table->list[i].row.inode};
        }
    as_user_end(&as);
    if (count == 0 || holders_find(holders, count) < 0)
        return false; /* not known: looked for again the next time, as are those that were too many */
    for (size_t i = 0; i < count; i++)
        dropped |= follow(away[i], &holders[i], now_us);
    return dropped;
}

bool adopted_is_found_again(struct adopted *adopted)
{
    struct holder holder = {.inode = adopted->row.inode};
    if (holders_find(&holder, 1) < 0)
        return true;
    if (holder.pid == 0)
        return false;
    adopted->fate = FATE_OPEN;
    adopted->row.pid = holder.pid;
    adopted->row.fd = holder.fd;
    return true;
}

static bool adopted_look(struct adopted *adopted)
{
    struct socket_counters counters;
    enum adopted_fate before = adopted->fate;
    if (adopted->fd < 0 || adopted->fate == FATE_CLOSED || socket_read_counters(adopted->fd, &counters) < 0)
        return false;
    adopted->sent_last = counters.sent;
    if (adopted->fate == FATE_DROPPED && server_has_closed(adopted->fd, &counters))
        adopted->fate = FATE_CLOSED;
    return adopted->fate != before;
}

int adopted_server_has_closed(const struct adopted *adopted)
{
    struct socket_counters counters;
    if (adopted->fd < 0 || socket_read_counters(adopted->fd, &counters) < 0)
        return -1;
    return server_has_closed(adopted->fd, &counters);
}

bool adopted_was_ended_by_server(const struct adopted *adopted)
{
    struct socket_counters counters;
    return adopted->fd >= 0 && socket_read_counters(adopted->fd, &counters) == 0 &&
           server_has_closed(adopted->fd, &counters) && counters.unread > CLOSE_NOTIFY_MOST;
}

bool adopted_has_sent_since(const struct adopted *adopted)
{
    struct socket_counters counters;
    return adopted->fd >= 0 && socket_read_counters(adopted->fd, &counters) == 0 &&
           (counters.sent > adopted->sent_last || counters.unacked > counters.unsent);
}

bool adopted_is_held_back(const struct adopted *adopted)
{
    struct socket_counters counters;
    return socket_read_counters(adopted->fd, &counters) == 0 && counters.unsent > 0;
}

bool adopted_watch(struct adopted_table *table, int64_t now_us)
{
    bool changed = follow_holders(table, now_us);
    for (size_t i = 0; i < table->count; i++)
        changed |= adopted_look(&table->list[i]);
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
