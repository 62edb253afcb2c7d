/* The marks: see supervisor/handles/marks.h. Never waits, and never forgets a mark that may still be on. */
#include "supervisor/handles/marks.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/handles/holders.h"

#define PATIENCE_US INT64_C(20000)
enum { MISSED_MOST = 3 };

/* -- one duplicate, with the reserve if need be -------------------------------------------------------------------- */

static bool is_gone(int error)
{
    return error == ESTALE || error == ESRCH;
}

/* Nothing is marked without the reserve that takes the mark off again. */
static int take(struct marks *marks, pid_t pid, int fd, uint64_t inode)
{
    int taken = batch_hand_out(&marks->batch, pid, fd, inode, marks->until_us);
    if (taken >= 0 || errno != EMFILE)
        return taken;
    reserve_give(&marks->reserve);
    return duplicate_take_until(pid, fd, inode, marks->until_us);
}

static void put_back(struct marks *marks, int *fd)
{
    fd_close(fd);
    int error = errno;
    reserve_keep(&marks->reserve);
    errno = error;
}

/* -- what is remembered -------------------------------------------------------------------------------------------- */

static bool is_of(const struct marked *marked, const struct handle_row *row)
{
    return marked->inode == row->inode && endpoint_equal(&marked->local, &row->local);
}

/* Rows and marks are made in the same order: it is nearly always where the last one was, plus one. */
static struct marked *marks_find(struct marks *marks, const struct handle_row *row, size_t position)
{
    if (position < marks->count && is_of(&marks->list[position], row))
        return &marks->list[position];
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
    *marked = (struct marked){.inode = row->inode, .local = row->local, .pid = row->pid, .fd = row->fd,
                              .seen = true, .shared = row->holders != 1, .sent = row->bytes_sent};
    return marked;
}

/* -- marking ------------------------------------------------------------------------------------------------------- */

struct noting {
    struct hold_base *base;
    bool *noted;
};

static void note_base(int fd, struct marked *marked, const struct noting *noting)
{
    struct socket_counters counters;
    marked->blocking = socket_blocks(fd);
    if (socket_read_counters(fd, &counters) < 0)
        return;
    *noting->base = (struct hold_base){.sent = counters.sent, .received = counters.received,
                                       .unsent = counters.unsent, .blocking = marked->blocking};
    *noting->noted = true;
}

static int set_cork(int fd, struct marked *marked, bool on, const struct noting *noting)
{
    bool lost = on && marked->corked && marked->check_cork && socket_get_cork(fd) == 0;
    marked->check_cork = false;
    if (marked->corked == on && !lost)
        return 0;
    if (socket_set_cork(fd, on) < 0)
        return -1;
    marked->corked = on;
    if (on)
        note_base(fd, marked, noting);
    return 0;
}

static bool wants_brake(const struct marked *marked, const struct hold_order *order)
{
    return order->brake && (order->blocking_too || !marked->blocking);
}

static int set_brake(int fd, struct marked *marked, const struct hold_order *order, const struct noting *noting)
{
    bool on = wants_brake(marked, order);
    if (on && !marked->braked && !marked->blocking && socket_blocks(fd)) {
        note_base(fd, marked, noting); /* it blocks since it was looked at last */
        on = wants_brake(marked, order);
    }
    if (marked->braked == on)
        return 0;
    if ((on ? socket_set_brake(fd, &marked->brake) : socket_release_brake(fd, &marked->brake)) < 0)
        return -1;
    marked->braked = on;
    return 0;
}

static int step(int fd, struct marked *marked, const struct noting *noting)
{
    note_base(fd, marked, noting);
    marked->stepped = true;
    return socket_step(fd);
}

static bool changes(const struct marked *marked, const struct hold_order *order)
{
    if (!marked)
        return order->cork || order->brake || order->step;
    return order->step || marked->check_cork || marked->again || marked->corked != order->cork ||
           marked->braked != wants_brake(marked, order);
}

static int apply(int fd, struct marked *marked, const struct hold_order *order, const struct noting *noting)
{
    if (marked->again)
        note_base(fd, marked, noting); /* a look did not show it: what was known of it may be forgotten */
    marked->again = false;
    int result = set_cork(fd, marked, order->cork, noting);
    result |= set_brake(fd, marked, order, noting);
    if (order->step)
        result |= step(fd, marked, noting);
    return result;
}

/* -- the duplicates of a round, some at a time --------------------------------------------------------------------- */

/* All that wait in a batch stay open for as long as it takes to touch them: 5 us each. */
enum { TOGETHER_MOST = 64 };

void marks_begin(struct marks *marks, const struct handle_row *rows, const struct hold_order *orders, size_t count)
{
    marks->rows = rows;
    marks->orders = orders;
    marks->order_count = count;
    marks->batched = 0;
}

void marks_end(struct marks *marks)
{
    batch_finish(&marks->batch);
    marks_begin(marks, NULL, NULL, 0);
}

static bool add_order(struct marks *marks, const struct hold_order *order)
{
    const struct handle_row *row = &marks->rows[order->row];
    return !changes(marks_find(marks, row, order->row), order) ||
           batch_add(&marks->batch, TOGETHER_MOST, row->pid, row->fd, row->inode);
}

/* From this order on, unless it was looked at already. */
static void batch_orders(struct marks *marks, const struct hold_order *order)
{
    size_t i = marks->orders ? (size_t)(order - marks->orders) : 0;
    if (i < marks->batched || i >= marks->order_count)
        return;
    batch_finish(&marks->batch);
    while (i < marks->order_count && add_order(marks, &marks->orders[i]))
        i++;
    marks->batched = i;
    batch_take(&marks->batch, marks->until_us);
}

int marks_apply(struct marks *marks, const struct handle_row *row, const struct hold_order *order,
                struct hold_base *base, bool *noted)
{
    struct noting noting = {base, noted};
    struct marked *marked = marks_find(marks, row, order->row);
    *noted = false;
    if (!changes(marked, order))
        return 0;
    if (!reserve_keep(&marks->reserve) && !marked)
        return -1;
    batch_orders(marks, order);
    int fd = take(marks, row->pid, row->fd, row->inode);
    for (size_t i = 0; fd < 0 && is_gone(errno) && i < SOCKET_OTHERS && row->others[i].pid; i++)
        fd = take(marks, row->others[i].pid, row->others[i].fd, row->inode);
    if (fd < 0)
        return -1;
    if (!marked)
        marked = marks_add(marks, row);
    int result = marked ? apply(fd, marked, order, &noting) : -1;
    put_back(marks, &fd);
    return result;
}

/* -- taking the marks off ------------------------------------------------------------------------------------------ */

static bool is_marked(const struct marked *marked)
{
    return marked->corked || marked->braked;
}

/* The brake first: a reply that has waited wakes the app, whatever the cork does. */
static int clear_duplicate(int fd, struct marked *marked)
{
    static const struct hold_order nothing;
    struct hold_base base;
    bool noted;
    struct noting noting = {&base, &noted};
    int result = set_brake(fd, marked, &nothing, &noting);
    return result | set_cork(fd, marked, false, &noting);
}

/* Returns 0, or -1 and errno; is_gone(errno): it is not where it was. */
static int clear(struct marks *marks, struct marked *marked)
{
    if (!is_marked(marked))
        return 0;
    int fd = take(marks, marked->pid, marked->fd, marked->inode);
    if (fd < 0)
        return -1;
    int result = clear_duplicate(fd, marked);
    put_back(marks, &fd);
    return result;
}

static void clear_here(struct marks *marks, struct marked *marked)
{
    bool kept_by_recv = marked->braked && marked->blocking;
    int result = clear(marks, marked);
    marked->lost = result < 0 && is_gone(errno);
    marks->nudge |= kept_by_recv && !marked->lost;
}

static size_t list_lost(struct marks *marks, bool all, struct marked **lost, struct holder *holders)
{
    size_t count = 0;
    for (size_t i = 0; i < marks->count; i++) {
        struct marked *marked = &marks->list[i];
        if (!marked->lost || !(all || marked->shared))
            continue;
        lost[count] = marked;
        holders[count++].inode = marked->inode;
    }
    return count;
}

static void clear_there(struct marks *marks, struct marked *marked, const struct holder *holder)
{
    if (holder->pid == 0)
        return;
    marked->pid = holder->pid;
    marked->fd = holder->fd;
    clear_here(marks, marked);
}

/* What is not where it was may be with another process of the app: one that was forked, or that got it by a message. */
static void clear_elsewhere(struct marks *marks, bool all)
{
    struct marked **lost _cleanup_free_ = calloc(marks->count, sizeof *lost);
    struct holder *holders _cleanup_free_ = calloc(marks->count, sizeof *holders);
    if (!lost || !holders) {
        for (size_t i = 0; i < marks->count; i++)
            marks->list[i].lost = false; /* not known: kept */
        return;
    }
    size_t count = list_lost(marks, all, lost, holders);
    if (count == 0)
        return;
    reserve_give(&marks->reserve); /* the walk takes two descriptors, too */
    holders_find(holders, count);
    reserve_keep(&marks->reserve);
    for (size_t i = 0; i < count; i++)
        clear_there(marks, lost[i], &holders[i]);
}

/* Of those from i on that are due, as many as go together; returns where that ends. */
static size_t batch_due(struct marks *marks, size_t i, unsigned missed)
{
    batch_finish(&marks->batch);
    for (; i < marks->count; i++) {
        const struct marked *marked = &marks->list[i];
        if (marked->missed >= missed && is_marked(marked) &&
            !batch_add(&marks->batch, TOGETHER_MOST, marked->pid, marked->fd, marked->inode))
            break;
    }
    batch_take(&marks->batch, marks->until_us);
    return i;
}

static void clear_due(struct marks *marks, unsigned missed)
{
    size_t batched = 0;
    for (size_t i = 0; i < marks->count; i++) {
        if (i == batched)
            batched = batch_due(marks, i, missed);
        if (marks->list[i].missed >= missed)
            clear_here(marks, &marks->list[i]);
    }
    batch_finish(&marks->batch);
}

/* Clears the marks of those that so many looks have not shown, and forgets them. Returns how many could not be
 * cleared. */
static size_t clear_missed(struct marks *marks, unsigned missed, bool search_all)
{
    size_t kept = 0, failed = 0;
    clear_due(marks, missed);
    clear_elsewhere(marks, search_all);
    for (size_t i = 0; i < marks->count; i++) {
        struct marked *marked = &marks->list[i];
        bool due = marked->missed >= missed, stays = is_marked(marked) && !marked->lost;
        failed += due && stays;
        if (!due || stays)
            marks->list[kept++] = *marked;
    }
    marks->count = kept;
    return failed;
}

/* -- the rounds ---------------------------------------------------------------------------------------------------- */

static void follow_row(struct marked *marked, const struct handle_row *row)
{
    marked->check_cork |= marked->corked && !marked->stepped && row->bytes_sent != marked->sent;
    marked->again = marked->missed > 0;
    marked->shared |= row->holders != 1;
    marked->pid = row->pid;
    marked->fd = row->fd;
    marked->sent = row->bytes_sent;
    marked->missed = 0;
    marked->stepped = false;
    marked->seen = true;
}

void marks_follow(struct marks *marks, const struct handle_row *rows, size_t count)
{
    bool some_missed = false;
    for (size_t i = 0; i < marks->count; i++)
        marks->list[i].seen = false;
    for (size_t i = 0; i < count && marks->count > 0; i++) {
        struct marked *marked = marks_find(marks, &rows[i], i);
        if (marked)
            follow_row(marked, &rows[i]);
    }
    for (size_t i = 0; i < marks->count; i++)
        if (!marks->list[i].seen)
            some_missed |= ++marks->list[i].missed >= MISSED_MOST;
    if (some_missed)
        clear_missed(marks, MISSED_MOST, false);
    if (marks->count == 0)
        reserve_give(&marks->reserve);
}

size_t marks_let_go(struct marks *marks, bool *nudge)
{
    marks->until_us = clock_now_us() + PATIENCE_US; /* for all */
    size_t failed = marks->count ? clear_missed(marks, 0, true) : 0;
    marks->until_us = 0;
    *nudge = marks->nudge;
    marks->nudge = false;
    if (marks->count == 0)
        reserve_give(&marks->reserve);
    return failed;
}

void marks_finish(struct marks *marks)
{
    batch_finish(&marks->batch);
    reserve_give(&marks->reserve);
    free(marks->list);
    *marks = (struct marks){0};
}
