/* One walk over the app's descriptors: see supervisor/handles/holders.h. Reads only. */
#include "supervisor/handles/holders.h"

#include <unistd.h>

#include "common/as_user.h"
#include "common/process.h"

struct search {
    struct holder *holders;
    size_t count, left;
};

static void see_socket(void *context, pid_t pid, int fd, uint64_t inode)
{
    struct search *search = context;
    for (size_t i = 0; i < search->count; i++) {
        struct holder *holder = &search->holders[i];
        if (holder->inode != inode || holder->pid)
            continue;
        holder->pid = pid;
        holder->fd = fd;
        search->left--;
    }
}

int holders_find(struct holder *holders, size_t count)
{
    struct search search = {holders, count, count};
    struct process_tree tree = {0};
    struct as_user as _cleanup_as_user_ = {0};
    for (size_t i = 0; i < count; i++)
        holders[i].pid = 0;
    if (count == 0)
        return 0;
    if (process_tree_read(&tree, getpid(), 0) < 0)
        return -1;
    for (size_t i = 0; i < tree.count && search.left > 0; i++) {
        as_user_of(&as, tree.pids[i], AS_USER_TO_LOOK);
        process_each_socket(tree.pids[i], see_socket, &search);
    }
    process_tree_finish(&tree);
    return 0;
}
