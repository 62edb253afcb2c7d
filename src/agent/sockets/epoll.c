/* Members of a process's epoll sets, from fdinfo: see agent/sockets/epoll.h. Reads only, and at most FDINFO_BYTES of a
 * set: a server with 100,000 connections in one set must not cost the agent its time. */
#include "agent/sockets/epoll.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/as_user.h"

enum { FDINFO_BYTES = 1 << 20, LINE_BYTES = 256 };

bool epoll_read_line(const char *line, int *fd, uint64_t *inode)
{
    if (sscanf(line, "tfd: %d", fd) != 1)
        return false;
    const char *at = strstr(line, " ino:");
    *inode = at ? strtoull(at + strlen(" ino:"), NULL, 16) : 0;
    return true;
}

struct members {
    void (*each)(void *context, int fd, uint64_t inode);
    void *context;
};

static void close_stream(FILE **stream)
{
    if (*stream)
        fclose(*stream);
}

static int read_set(pid_t pid, const char *epoll_fd, const struct members *members)
{
    char path[352], line[LINE_BYTES];
    size_t seen = 0;
    int fd;
    uint64_t inode;
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%s", pid, epoll_fd);
    FILE *stream __attribute__((cleanup(close_stream))) = fopen(path, "re");
    if (!stream)
        return -1;
    while (seen < FDINFO_BYTES && fgets(line, sizeof line, stream)) {
        seen += strlen(line);
        if (epoll_read_line(line, &fd, &inode))
            members->each(members->context, fd, inode);
    }
    return seen >= FDINFO_BYTES || ferror(stream) ? -1 : 0;
}

static bool is_epoll(int directory, const char *name)
{
    char link[64];
    ssize_t n = readlinkat(directory, name, link, sizeof link - 1);
    if (n <= 0)
        return false;
    link[n] = 0;
    return strcmp(link, "anon_inode:[eventpoll]") == 0;
}

int epoll_each_member(pid_t pid, void (*each)(void *context, int fd, uint64_t inode), void *context)
{
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid, AS_USER_TO_LOOK);
    const struct members members = {each, context};
    char path[64];
    int result = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    if (!fds)
        return -1;
    for (struct dirent *e; (e = readdir(fds));)
        if (e->d_name[0] != '.' && is_epoll(dirfd(fds), e->d_name) && read_set(pid, e->d_name, &members) < 0)
            result = -1;
    closedir(fds);
    return result;
}
