/* Facts about processes from procfs: see common/process.h. Reads only. */
#include "common/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"

static pid_t left_out; /* see process_leave_out() */

void process_leave_out(pid_t pid)
{
    left_out = pid;
}

pid_t process_left_out(void)
{
    return left_out;
}

/* An orphan of it is a child of `root` by now: its process group tells. */
static bool is_left_out(pid_t pid)
{
    struct process_stat stat;
    return left_out && (pid == left_out || (process_read_stat(pid, &stat) == 0 && stat.pgrp == left_out));
}

static bool counts(pid_t pid, pid_t except)
{
    return pid > 0 && pid != except && !is_left_out(pid);
}

static int tree_add(struct process_tree *tree, pid_t pid)
{
    if (tree->count == tree->room) {
        size_t room = tree->room ? tree->room * 2 : 64;
        pid_t *pids = realloc(tree->pids, room * sizeof *pids);
        if (!pids)
            return -1;
        tree->pids = pids;
        tree->room = room;
    }
    tree->pids[tree->count++] = pid;
    return 0;
}

/* Calls `each` for the children that one thread forked ("12 34 56 ") until it returns other than 0, and returns that.
 * The file may be long: read in pieces, a number may be cut. */
static int each_child_of_task(const char *path, pid_t except, int (*each)(void *context, pid_t child), void *context)
{
    int fd _cleanup_close_ = open(path, O_RDONLY | O_CLOEXEC);
    char piece[4096];
    pid_t number = 0;
    ssize_t n;
    int result = 0;
    if (fd < 0)
        return -1;
    while ((n = read(fd, piece, sizeof piece)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (piece[i] >= '0' && piece[i] <= '9') {
                number = number * 10 + (piece[i] - '0');
                continue;
            }
            if (counts(number, except) && (result = each(context, number)) != 0)
                return result;
            number = 0;
        }
    return 0;
}

static DIR *open_tasks(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    return opendir(path);
}

/* As each_child_of_task(), over all threads. A process that is gone has no children; one that cannot be
 * read (EMFILE) is not gone. */
static int each_child(pid_t pid, pid_t except, int (*each)(void *context, pid_t child), void *context)
{
    DIR *tasks = open_tasks(pid);
    if (!tasks)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    int result = 0;
    for (struct dirent *e; result == 0 && (e = readdir(tasks));) {
        char path[352];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, e->d_name);
        result = each_child_of_task(path, except, each, context);
        if (result < 0 && (errno == ENOENT || errno == ESRCH))
            result = 0;
    }
    closedir(tasks);
    return result;
}

static int add_child(void *tree, pid_t child)
{
    return tree_add(tree, child);
}

static int tree_add_children(struct process_tree *tree, pid_t pid, pid_t except)
{
    return each_child(pid, except, add_child, tree);
}

static bool kernel_lists_children(void)
{
    static int known = -1;
    if (known < 0)
        known = access("/proc/thread-self/children", R_OK) == 0;
    return known;
}

static int tree_read_by_lists(struct process_tree *tree, pid_t root, pid_t except)
{
    if (tree_add_children(tree, root, except) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++)
        if (tree_add_children(tree, tree->pids[i], except) < 0)
            return -1;
    return 0;
}

struct parent { pid_t pid, ppid; };

static size_t read_parents(struct parent **all)
{
    DIR *proc = opendir("/proc");
    size_t count = 0, room = 0;
    for (struct dirent *e; proc && (e = readdir(proc));) {
        struct process_stat stat;
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid <= 0 || process_read_stat(pid, &stat) < 0)
            continue;
        if (count == room) {
            struct parent *more = realloc(*all, (room = room ? room * 2 : 256) * sizeof *more);
            if (!more)
                break;
            *all = more;
        }
        (*all)[count++] = (struct parent){pid, stat.ppid};
    }
    if (proc)
        closedir(proc);
    return count;
}

static int tree_add_from_parents(struct process_tree *tree, const struct parent *all, size_t count, pid_t parent,
                                 pid_t except)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].ppid == parent && counts(all[i].pid, except) && tree_add(tree, all[i].pid) < 0)
            return -1;
    return 0;
}

static int tree_read_by_parents(struct process_tree *tree, pid_t root, pid_t except)
{
    struct parent *all _cleanup_free_ = NULL;
    size_t count = read_parents(&all);
    if (tree_add_from_parents(tree, all, count, root, except) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++)
        if (tree_add_from_parents(tree, all, count, tree->pids[i], except) < 0)
            return -1;
    return 0;
}

int process_tree_read(struct process_tree *tree, pid_t root, pid_t except)
{
    tree->count = 0;
    int result = kernel_lists_children() ? tree_read_by_lists(tree, root, except)
                                         : tree_read_by_parents(tree, root, except);
    if (result < 0)
        tree->count = 0;
    return result;
}

static int is_enough(void *context, pid_t child)
{
    (void)context, (void)child;
    return 1;
}

static int has_child_by_parents(pid_t pid, pid_t except)
{
    DIR *proc = opendir("/proc");
    int found = 0;
    if (!proc)
        return -1;
    for (struct dirent *e; !found && (e = readdir(proc));) {
        struct process_stat stat;
        pid_t child = (pid_t)atoi(e->d_name);
        found = counts(child, except) && process_read_stat(child, &stat) == 0 && stat.ppid == pid;
    }
    closedir(proc);
    return found;
}

int process_has_child(pid_t pid, pid_t except)
{
    return kernel_lists_children() ? each_child(pid, except, is_enough, NULL) : has_child_by_parents(pid, except);
}

void process_tree_finish(struct process_tree *tree)
{
    free(tree->pids);
    *tree = (struct process_tree){0};
}

/* proc(5): "pid (comm) state ppid pgrp session …"; comm may hold anything, so the last ')' ends it. */
int process_read_stat(pid_t pid, struct process_stat *stat)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof text) < 0)
        return -1;
    char *open = strchr(text, '('), *end = strrchr(text, ')');
    if (!open || !end || end < open) {
        errno = EBADMSG;
        return -1;
    }
    *end = 0;
    snprintf(stat->name, sizeof stat->name, "%s", open + 1);
    int got = sscanf(end + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
                     &stat->state, &stat->ppid, &stat->pgrp, &stat->session, &stat->start_ticks);
    if (got == 5)
        return 0;
    errno = EBADMSG;
    return -1;
}

static bool status_field(const char *status, const char *name, int base, uint64_t *value)
{
    const char *at = strstr(status, name);
    if (!at)
        return false;
    *value = strtoull(at + strlen(name), NULL, base);
    return true;
}

static int read_blocked_of_task(pid_t pid, const char *task, uint64_t *blocked)
{
    char path[352], status[16384];
    snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, task);
    if (fd_read_file(AT_FDCWD, path, status, sizeof status) < 0)
        return -1;
    return status_field(status, "\nSigBlk:", 16, blocked) ? 0 : -1;
}

int process_read_signals(pid_t pid, struct process_signals *signals)
{
    char path[64], status[16384];
    *signals = (struct process_signals){0};
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (fd_read_file(AT_FDCWD, path, status, sizeof status) < 0)
        return -1;
    if (!status_field(status, "\nSigCgt:", 16, &signals->caught) ||
        !status_field(status, "\nSigIgn:", 16, &signals->ignored)) {
        errno = EBADMSG; /* a very long list of groups before it: not known is not "caught by nobody" */
        return -1;
    }
    DIR *tasks = open_tasks(pid);
    if (!tasks)
        return -1;
    for (struct dirent *e; (e = readdir(tasks));) {
        uint64_t blocked = 0;
        if (e->d_name[0] != '.' && read_blocked_of_task(pid, e->d_name, &blocked) == 0)
            signals->blocked |= blocked;
    }
    closedir(tasks);
    return 0;
}

int process_read_uid(pid_t pid, uid_t *uid)
{
    char path[64], status[4096];
    unsigned real, effective;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (fd_read_file(AT_FDCWD, path, status, sizeof status) < 0)
        return -1;
    const char *at = strstr(status, "\nUid:");
    if (!at || sscanf(at, "\nUid: %u %u", &real, &effective) != 2) {
        errno = EBADMSG;
        return -1;
    }
    *uid = effective;
    return 0;
}

static uint64_t socket_inode_at(int dirfd, const char *name)
{
    char link[64];
    uint64_t inode;
    ssize_t n = readlinkat(dirfd, name, link, sizeof link - 1);
    if (n <= 0)
        return 0;
    link[n] = 0;
    return sscanf(link, "socket:[%" SCNu64 "]", &inode) == 1 ? inode : 0;
}

int process_each_socket(pid_t pid, void (*each)(void *context, pid_t pid, int fd, uint64_t inode), void *context)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    if (!fds)
        return -1;
    for (struct dirent *e; (e = readdir(fds));) {
        uint64_t inode = e->d_name[0] == '.' ? 0 : socket_inode_at(dirfd(fds), e->d_name);
        if (inode)
            each(context, pid, atoi(e->d_name), inode);
    }
    closedir(fds);
    return 0;
}

uint64_t process_socket_inode(pid_t pid, int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    return socket_inode_at(AT_FDCWD, path);
}
