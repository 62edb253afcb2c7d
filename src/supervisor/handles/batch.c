/* A batch of duplicates: see supervisor/handles/batch.h. Never keeps one that nobody asked for. */
#include "supervisor/handles/batch.h"

#include <errno.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/process.h"

bool batch_add(struct batch *batch, unsigned most, pid_t pid, int fd, uint64_t inode)
{
    if (batch->count >= most || batch->count == DUPLICATES_MOST)
        return false;
    batch->items[batch->count++] = (struct batch_item){.pid = pid, .fd = fd, .inode = inode, .duplicate = -1};
    return true;
}

/* Those of one process that are not settled. */
struct group {
    struct batch_item *items[DUPLICATES_MOST];
    int fds[DUPLICATES_MOST], duplicates[DUPLICATES_MOST];
    uint64_t inodes[DUPLICATES_MOST];
    unsigned count;
};

static void group_fill(struct group *group, struct batch *batch, unsigned from)
{
    group->count = 0;
    for (unsigned i = from; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];
        if (item->pid != batch->items[from].pid || item->duplicate >= 0 || item->error)
            continue;
        group->fds[group->count] = item->fd;
        group->inodes[group->count] = item->inode;
        item->tried = true;
        group->items[group->count++] = item;
    }
}

static void group_settle(struct group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        group->items[i]->duplicate = group->duplicates[i];
        group->items[i]->error = group->duplicates[i] < 0 ? ESTALE : 0;
    }
}

static void group_fail(struct group *group, int error)
{
    for (unsigned i = 0; i < group->count; i++)
        group->items[i]->error = error;
}

/* One that is closed fails them all. False: none of them is. */
static bool group_find_closed(struct group *group)
{
    bool found = false;
    for (unsigned i = 0; i < group->count; i++) {
        struct batch_item *item = group->items[i];
        if (process_socket_inode(item->pid, item->fd) == item->inode)
            continue;
        item->error = ESTALE;
        found = true;
    }
    return found;
}

enum { CLOSED_MOST = 3 }; /* times that some were found closed: an app that closes all the time has them taken singly */

/* True: what is left of the group may be tried again. */
static bool may_try_again(struct group *group, int error, unsigned *closed, int64_t until_us)
{
    if (error == ESTALE)
        return ++*closed <= CLOSED_MOST && group_find_closed(group);
    if (error == EAGAIN && clock_now_us() < until_us) {
        duplicate_pause();
        return true;
    }
    if (error != ENOTSUP && error != EMFILE)
        group_fail(group, error);
    return false;
}

/* What is not settled here (no batch by this way, no room for all) is taken when it is asked for. */
static void take_of_process(struct batch *batch, unsigned from, int64_t until_us)
{
    struct group group;
    unsigned closed = 0;
    pid_t pid = batch->items[from].pid;
    do {
        group_fill(&group, batch, from);
        if (group.count == 0)
            return;
        if (duplicate_take_all(pid, group.fds, group.inodes, group.count, group.duplicates) == 0) {
            group_settle(&group);
            return;
        }
    } while (may_try_again(&group, errno, &closed, until_us));
}

void batch_take(struct batch *batch, int64_t until_us)
{
    for (unsigned i = 0; i < batch->count; i++)
        if (!batch->items[i].tried)
            take_of_process(batch, i, until_us);
}

/* They are asked for in their order: it is nearly always the next one. */
static struct batch_item *find(struct batch *batch, pid_t pid, int fd, uint64_t inode)
{
    for (unsigned i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[(batch->next + i) % batch->count];
        if (item->pid != pid || item->fd != fd || item->inode != inode)
            continue;
        batch->next = (batch->next + i + 1) % batch->count;
        return item;
    }
    return NULL;
}

int batch_hand_out(struct batch *batch, pid_t pid, int fd, uint64_t inode, int64_t until_us)
{
    struct batch_item *item = find(batch, pid, fd, inode);
    if (!item || (item->duplicate < 0 && !item->error))
        return duplicate_take_until(pid, fd, inode, until_us);
    int duplicate = item->duplicate;
    errno = item->error;
    item->duplicate = -1;
    item->error = 0; /* whoever asks again gets a new one */
    return duplicate;
}

void batch_finish(struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        fd_close(&batch->items[i].duplicate);
    batch->count = batch->next = 0;
}
