/* The marks: see supervisor/handles/marks.h. */
#include "supervisor/handles/marks.h"

#include <errno.h>
#include <stdlib.h>

#include "common/fd.h"
#include "common/process.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/socket.h"

static bool is_of(const struct marked *marked, const struct handle_row *row)
{
    return marked->inode == row->inode && endpoint_equal(&marked->local, &row->local);
}

static struct marked *marks_find(struct marks *marks, const struct handle_row *row)
{
    for (size_t i = 0; i < marks->count; i++)
        if (is_of(&marks->list[i], row))
            return &marks->list[i];
    return NULL;
}

static struct marked *marks_add(struct marks *marks, const struct handle_row *row)
{
    if (marks->count == marks->room) {
        size_t room = marks->room ? marks->room * 2 : 64;
        struct marked *list = realloc(marks->list, room * sizeof *list);
        if (!list)
            return NULL;
        marks->list = list;
        marks->room = room;
    }
    struct marked *marked = &marks->list[marks->count++];
    *marked = (struct marked){.inode = row->inode, .local = row->local, .pid = row->pid, .fd = row->fd};
    return marked;
}

static void note_base(int fd, const struct marked *marked, struct hold_base *base, bool *noted)
{
    struct socket_counters counters;
    if (socket_read_counters(fd, &counters) < 0)
        return;
    *base = (struct hold_base){.sent = counters.sent, .received = counters.received, .unsent = counters.unsent,
                               .blocking = marked->blocking};
    *noted = true;
}

static int set_cork(int fd, struct marked *marked, struct hold_base *base, bool *noted)
{
    if (marked->corked)
        return 0;
    marked->nodelay_before = socket_get_nodelay(fd) == 1;
    marked->blocking = socket_blocks(fd);
    if (socket_set_cork(fd, true) < 0)
        return -1;
    marked->corked = true;
    note_base(fd, marked, base, noted);
    return 0;
}

static bool wants_brake(const struct marked *marked, const struct hold_order *order)
{
    return order->brake && (order->blocking_too || !marked->blocking);
}

static int set_brake(int fd, struct marked *marked, bool on)
{
    if (marked->braked == on)
        return 0;
    if (socket_set_brake(fd, on) < 0)
        return -1;
    marked->braked = on;
    return 0;
}

static int step(int fd, struct marked *marked, struct hold_base *base, bool *noted)
{
    note_base(fd, marked, base, noted);
    marked->stepped = true;
    return socket_step(fd);
}

static bool changes(const struct marked *marked, const struct hold_order *order)
{
    return order->step || !marked || marked->corked != order->cork || marked->braked != wants_brake(marked, order);
}

int marks_apply(struct marks *marks, const struct handle_row *row, const struct hold_order *order,
                struct hold_base *base, bool *noted)
{
    struct marked *marked = marks_find(marks, row);
    *noted = false;
    if (!changes(marked, order))
        return 0;
    int fd _cleanup_close_ = duplicate_take(row->pid, row->fd, row->inode);
    if (fd < 0)
        return -1;
    if (!marked)
        marked = marks_add(marks, row);
    if (!marked)
        return -1;
    int result = order->cork ? set_cork(fd, marked, base, noted) : 0;
    result |= set_brake(fd, marked, wants_brake(marked, order));
    if (order->step)
        result |= step(fd, marked, base, noted);
    return result;
}

/* A look may miss a handle: its marks are forgotten only with its socket. */
static bool is_still_open(const struct marked *marked)
{
    return process_socket_inode(marked->pid, marked->fd) == marked->inode;
}

void marks_forget_others(struct marks *marks, const struct handle_row *rows, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < marks->count; i++)
        marks->list[i].seen = false;
    for (size_t i = 0; i < count; i++) {
        struct marked *marked = marks_find(marks, &rows[i]);
        if (marked)
            marked->seen = true;
    }
    for (size_t i = 0; i < marks->count; i++)
        if (marks->list[i].seen || is_still_open(&marks->list[i]))
            marks->list[kept++] = marks->list[i];
    marks->count = kept;
}

/* The brake first: a reply that has waited wakes the app, whatever the cork does. */
static int clear(const struct marked *marked)
{
    int fd _cleanup_close_ = duplicate_take(marked->pid, marked->fd, marked->inode);
    if (fd < 0)
        return errno == ESTALE || errno == ESRCH ? 0 : -1;
    int result = marked->braked ? socket_set_brake(fd, false) : 0;
    if (marked->corked)
        result |= socket_set_cork(fd, false);
    if (marked->stepped && !marked->nodelay_before)
        result |= socket_set_nodelay(fd, false);
    return result;
}

size_t marks_let_go(struct marks *marks)
{
    size_t failed = 0;
    for (size_t i = 0; i < marks->count; i++)
        failed += clear(&marks->list[i]) < 0;
    marks->count = 0;
    return failed;
}

void marks_finish(struct marks *marks)
{
    free(marks->list);
    *marks = (struct marks){0};
}
