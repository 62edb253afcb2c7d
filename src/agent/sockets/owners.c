/* Owners of sockets in the app tree: see agent/sockets/owners.h. Reads procfs only; never touches a process. */
#include "agent/sockets/owners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/sockets/epoll.h"
#include "common/as_user.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/process.h"

enum {
    MISSES_OF_FOREIGN = 2,          /* readings without an owner: then it is not the app's */
    MISSES_OF_LOST = 100,           /* the same for one that was the app's: it may be in a message between two of it */
    REREAD_US = 1000000,            /* an owner's `holders` may be as old as this */
    REREAD_SOON_US = 20000,         /* or as this, when a look says that it wants them fresh */
    REREAD_SHARE = 50               /* and reading must not take more than a 50th of the time */
};

struct owner {
    uint64_t inode;
    int32_t pid, fd, counted; /* counted: the process that `holders` counted last */
    uint8_t holders, descriptors, epoll, misses;
    bool was_ours;
    struct socket_holder others[SOCKET_OTHERS];
};

struct owners {
    bool with_root, fresh;
    struct owner *at; /* heap; by inode: the sockets of the last table */
    size_t count;
    struct process_tree tree;
    int64_t read_at_us, read_took_us; /* the last reading; 0: none yet */
    bool unreadable, said, said_as_user;
    unsigned scans;
};

struct owners *owners_create(void)
{
    return calloc(1, sizeof(struct owners));
}

void owners_destroy(struct owners *owners)
{
    if (!owners)
        return;
    process_tree_finish(&owners->tree);
    free(owners->at);
    free(owners);
}

unsigned owners_scans(const struct owners *owners)
{
    return owners->scans;
}

static int compare_inodes(const void *a, const void *b)
{
    uint64_t x = ((const struct owner *)a)->inode, y = ((const struct owner *)b)->inode;
    return x < y ? -1 : x > y;
}

static struct owner *find(const struct owners *owners, uint64_t inode)
{
    struct owner key = {.inode = inode};
    return owners->count ? bsearch(&key, owners->at, owners->count, sizeof key, compare_inodes) : NULL;
}

static bool is_foreign(const struct owner *owner)
{
    return owner->pid < 0 && owner->misses >= (owner->was_ours ? MISSES_OF_LOST : MISSES_OF_FOREIGN);
}

static struct owner nobody(uint64_t inode)
{
    return (struct owner){.inode = inode, .pid = -1, .fd = -1, .counted = -1, .epoll = EPOLL_UNKNOWN};
}

static struct owner owner_of(const struct owners *owners, uint64_t inode)
{
    const struct owner *before = find(owners, inode);
    return before ? *before : nobody(inode);
}

/* The foreign ones that a partial table does not show still live, as far as anybody knows. */
static size_t keep_foreign(const struct owners *owners, const struct socket_table *table, struct owner *at)
{
    size_t kept = 0;
    for (size_t i = 0; i < owners->count; i++)
        if (is_foreign(&owners->at[i]) && !socket_table_find(table, owners->at[i].inode))
            at[kept++] = owners->at[i];
    return kept;
}

/* One owner a socket of the table, with what was known of it before; who is not in a whole table is forgotten. */
static int carry_over(struct owners *owners, const struct socket_table *table, bool whole)
{
    size_t count = table->count;
    struct owner *at = calloc(count + owners->count + 1, sizeof *at);
    if (!at)
        return -1;
    for (size_t i = 0; i < table->count; i++)
        at[i] = owner_of(owners, table->at[i].inode);
    if (!whole)
        count += keep_foreign(owners, table, at + count);
    if (count > table->count)
        qsort(at, count, sizeof *at, compare_inodes);
    free(owners->at);
    owners->at = at;
    owners->count = count;
    return 0;
}

static void disown(struct owner *owner)
{
    struct owner before = *owner;
    *owner = nobody(before.inode);
    owner->misses = before.misses;
    owner->was_ours = before.was_ours;
}

/* Checks each known owner by one readlink(2). True when the tables must be read: some socket has no owner. */
static bool check_known(struct owners *owners)
{
    struct as_user as _cleanup_as_user_ = {0};
    bool missing = false;
    for (size_t i = 0; i < owners->count; i++) {
        struct owner *owner = &owners->at[i];
        if (owner->pid >= 0)
            as_user_of(&as, owner->pid, AS_USER_TO_LOOK);
        if (owner->pid >= 0 && process_socket_inode(owner->pid, owner->fd) != owner->inode) {
            owner->misses = 0;
            owner->was_ours = true;
            disown(owner);
        }
        missing |= owner->pid < 0 && !is_foreign(owner);
    }
    return missing;
}

/* True when some socket has an owner and the last reading is so old that others may have come or gone. */
static bool reading_is_old(const struct owners *owners)
{
    int64_t least = owners->read_took_us * REREAD_SHARE, age_us = owners->fresh ? REREAD_SOON_US : REREAD_US;
    if (clock_now_us() - owners->read_at_us < (least > age_us ? least : age_us))
        return false;
    for (size_t i = 0; i < owners->count; i++)
        if (owners->at[i].pid >= 0)
            return true;
    return false;
}

/* A descriptor of it, the known one apart: dup(2), fork(2) and messages make several. */
static void take_other(struct owner *owner, pid_t pid, int fd)
{
    bool known = owner->pid == pid && owner->fd == fd;
    for (size_t i = 0; !known && i < SOCKET_OTHERS; i++)
        if (owner->others[i].pid == 0) {
            owner->others[i] = (struct socket_holder){pid, fd};
            return;
        }
}

static void take_socket(void *context, pid_t pid, int fd, uint64_t inode)
{
    struct owner *owner = find(context, inode);
    if (!owner)
        return;
    if (owner->pid < 0) {
        owner->pid = pid;
        owner->fd = fd;
    }
    take_other(owner, pid, fd);
    owner->descriptors += owner->descriptors < UINT8_MAX;
    if (owner->counted == pid)
        return;
    owner->counted = pid;
    owner->holders += owner->holders < UINT8_MAX;
}

/* The links of /proc/PID need the same right as those of /proc/PID/fd (PTRACE_MODE_READ), whose directory alone root
 * may list without it. A zombie has no descriptors, and nobody may look at those it has not. */
static bool has_unreadable_descriptors(pid_t pid, int *error)
{
    char path[64], link[8];
    struct process_stat stat;
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    if (readlink(path, link, sizeof link) >= 0 || (errno != EACCES && errno != EPERM))
        return false;
    *error = errno;
    return process_read_stat(pid, &stat) == 0 && stat.state != 'Z' && stat.state != 'X';
}

static void say_unreadable(struct owners *owners, pid_t pid, int error)
{
    char why[160];
    if (owners->said)
        return;
    owners->said = true;
    if (!as_user_find_obstacle(pid, why, sizeof why))
        snprintf(why, sizeof why, "process %d: %s", pid, strerror(error));
    log_warning("some connections of the app cannot be seen: %s", why);
}

static void say_as_user(struct owners *owners, const struct as_user *as)
{
    if (as->on && !owners->said_as_user)
        log_info("the app runs as uid %u and lastcall as %u: it is looked at as that user", as->uid, as->own_uid);
    owners->said_as_user |= as->on;
}

/* 0, or why it could not be read. */
static int read_descriptors(struct owners *owners, pid_t pid, struct as_user *said)
{
    struct as_user as _cleanup_as_user_ = {0};
    struct process_stat stat;
    int error = 0;
    as_user_of(&as, pid, AS_USER_TO_LOOK);
    *said = as;
    if (has_unreadable_descriptors(pid, &error))
        return error;
    if (process_each_socket(pid, take_socket, owners) == 0 || errno == ENOENT || errno == ESRCH)
        return 0;
    error = errno;
    return process_read_stat(pid, &stat) < 0 || stat.state == 'Z' || stat.state == 'X' ? 0 : error;
}

static void read_process(struct owners *owners, pid_t pid)
{
    struct as_user as;
    int error = read_descriptors(owners, pid, &as);
    say_as_user(owners, &as);
    if (error == 0)
        return;
    owners->unreadable = true;
    say_unreadable(owners, pid, error);
}

static int read_tables(struct owners *owners, pid_t root, pid_t except)
{
    int64_t start = clock_now_us();
    if (process_tree_read(&owners->tree, root, except) < 0)
        return -1;
    owners->unreadable = false;
    for (size_t i = 0; i < owners->count; i++) {
        owners->at[i].holders = owners->at[i].descriptors = 0;
        owners->at[i].counted = -1;
        memset(owners->at[i].others, 0, sizeof owners->at[i].others);
    }
    for (size_t i = 0; i < owners->tree.count; i++)
        read_process(owners, owners->tree.pids[i]);
    if (owners->with_root)
        read_process(owners, root);
    for (size_t i = 0; i < owners->count; i++)
        if (owners->at[i].holders == 0) {
            owners->at[i].misses += owners->at[i].misses < MISSES_OF_LOST;
            disown(&owners->at[i]);
        }
    owners->said &= owners->unreadable;
    owners->scans++;
    owners->read_at_us = clock_now_us();
    owners->read_took_us = owners->read_at_us - start;
    return 0;
}

static void fill_facts(const struct owners *owners, struct socket_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct owner *owner = find(owners, table->at[i].inode);
        table->at[i].pid = owner->pid;
        table->at[i].fd = owner->fd;
        table->at[i].holders = owner->holders;
        table->at[i].descriptors = owner->descriptors;
        memcpy(table->at[i].others, owner->others, sizeof owner->others);
        table->at[i].epoll = owner->epoll;
    }
}

void owners_want_fresh(struct owners *owners, bool fresh)
{
    owners->fresh = fresh;
}

void owners_count_root(struct owners *owners, bool count)
{
    owners->with_root = count;
}

int owners_fill(struct owners *owners, struct socket_table *table, bool whole, pid_t root, pid_t except)
{
    if (carry_over(owners, table, whole) < 0)
        return -1;
    bool missing = check_known(owners);
    if ((missing || owners->with_root || reading_is_old(owners)) && read_tables(owners, root, except) < 0)
        return -1;
    fill_facts(owners, table);
    return !owners->unreadable;
}

struct epoll_reading {
    struct owners *owners;
    int32_t pid;
};

static void mark_process(struct owners *owners, int32_t pid, int from, int to)
{
    for (size_t i = 0; i < owners->count; i++)
        if (owners->at[i].pid == pid && (from < 0 || owners->at[i].epoll == from))
            owners->at[i].epoll = (uint8_t)to;
}

static void take_member(void *context, int fd, uint64_t inode)
{
    struct epoll_reading *reading = context;
    struct owner *owner = inode ? find(reading->owners, inode) : NULL;
    if (owner && owner->pid == reading->pid)
        owner->epoll = 1;
    for (size_t i = 0; !inode && i < reading->owners->count; i++)
        if (reading->owners->at[i].pid == reading->pid && reading->owners->at[i].fd == fd)
            reading->owners->at[i].epoll = 1;
}

static void read_epoll_of(struct owners *owners, int32_t pid)
{
    struct epoll_reading reading = {owners, pid};
    mark_process(owners, pid, -1, 0);
    if (epoll_each_member(pid, take_member, &reading) < 0)
        mark_process(owners, pid, 0, EPOLL_UNKNOWN); /* not found where not all was read: not known */
}

void owners_look_at_epoll(struct owners *owners, struct socket_table *table)
{
    for (size_t i = 0; i < owners->count; i++) {
        bool first = owners->at[i].pid >= 0;
        for (size_t before = 0; first && before < i; before++)
            first = owners->at[before].pid != owners->at[i].pid;
        if (first)
            read_epoll_of(owners, owners->at[i].pid);
    }
    fill_facts(owners, table);
}
