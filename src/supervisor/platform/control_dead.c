/* Dead control sockets. Must never remove the socket of a living supervisor, also of one that begins to listen at the
 * very moment: what is removed is moved aside first, and looked at again there. */
#include "supervisor/platform/control_dead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"

enum { LOOKED_AT_MOST = 512 };
#define START_MOST_US (10 * US_PER_SECOND) /* from bind(2) to a name: microseconds, unless it was killed */

/* Refused: nobody is behind it any more. A full backlog (EAGAIN) is a living one's. */
static bool is_refused(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return false;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd != -1 && connect(fd, (const void *)&address, sizeof address) == -1 && errno == ECONNREFUSED;
}

void control_dead_name(char name[static PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    struct text text = text_in(name, PATH_MAX);
    unsigned number = ((unsigned)getpid() * 2654435761u ^ (unsigned)clock_now_us()) & 0xffffff;
    text_add(&text, "%.*s.%06x", slash ? (int)(slash - path) + 1 : 0, path, number);
}

/* A file system that cannot rename so (EINVAL) can link. */
int control_dead_rename(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(from, to) == 0 ? unlink(from) : -1;
}

int control_dead_remove(const char *path)
{
    struct stat st;
    char aside[PATH_MAX];
    if (lstat(path, &st) == -1 || !S_ISSOCK(st.st_mode) || !is_refused(path))
        return 0;
    control_dead_name(aside, path);
    if (rename(path, aside) == -1)
        return errno == ENOENT ? 0 : -1;
    if (is_refused(aside)) /* its inode would not tell: one that took its place may have the same */
        return unlink(aside) == 0 ? 1 : -1;
    return control_dead_rename(aside, path);
}

static bool is_old(const struct stat *st)
{
    int64_t since_us = st->st_mtim.tv_sec * US_PER_SECOND + st->st_mtim.tv_nsec / 1000;
    return clock_wall_us() - since_us >= START_MOST_US;
}

/* Only by what the name and the file say: is it worth asking who is behind it? */
static bool may_be_dead(const char *name, const struct stat *st)
{
    size_t length = strlen(name);
    bool named = length > 5 && strcmp(name + length - 5, ".sock") == 0;
    return S_ISSOCK(st->st_mode) && st->st_uid == geteuid() && (name[0] == '.' ? is_old(st) : named);
}

unsigned control_dead_sweep(const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    unsigned removed = 0;
    if (!entries)
        return 0;
    for (int left = LOOKED_AT_MOST; left > 0 && (entry = readdir(entries)); left--) {
        char path[PATH_MAX];
        struct stat st;
        struct text text = text_in(path, sizeof path);
        text_add(&text, "%s/%s", directory, entry->d_name);
        if (!text.cut && lstat(path, &st) == 0 && may_be_dead(entry->d_name, &st))
            removed += control_dead_remove(path) == 1;
    }
    closedir(entries);
    return removed;
}
