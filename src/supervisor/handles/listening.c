/* Does the app listen anywhere? See supervisor/handles/listening.h. Reads only, and not much. */
#include "supervisor/handles/listening.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/handles/holders.h"

enum { LISTENING_MOST = 64, BYTES_MOST = 16384 };

/* "sl: local remote st tx:rx tr:when retransmits uid timeout inode …". True when it is one that listens. */
static bool read_line(const char *line, uint64_t *inode)
{
    unsigned state;
    unsigned long long number;
    if (sscanf(line, " %*d: %*s %*s %x %*s %*s %*s %*u %*u %llu", &state, &number) != 2 || state != TCP_LISTEN)
        return false;
    *inode = number;
    return number != 0;
}

/* The kernel gives it a page at a time. */
static size_t read_beginning(const char *path, char bytes[BYTES_MOST])
{
    int fd _cleanup_close_ = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t more = fd < 0 ? 0 : read(fd, bytes, BYTES_MOST);
    while (more > 0) {
        length += (size_t)more;
        more = read(fd, bytes + length, BYTES_MOST - length);
    }
    return length;
}

static size_t read_file(const char *path, struct holder *holders, size_t count)
{
    static char bytes[BYTES_MOST + 1];
    char *rest = bytes;
    bytes[read_beginning(path, bytes)] = '\0';
    strsep(&rest, "\n"); /* the headings */
    for (char *line = strsep(&rest, "\n"); line && count < LISTENING_MOST; line = strsep(&rest, "\n")) {
        uint64_t inode;
        if (!read_line(line, &inode))
            break; /* those that listen come first */
        holders[count++] = (struct holder){.inode = inode};
    }
    return count;
}

bool listening_any(void)
{
    struct holder holders[LISTENING_MOST];
    size_t count = read_file("/proc/self/net/tcp", holders, 0);
    count = read_file("/proc/self/net/tcp6", holders, count);
    holders_find(holders, count);
    for (size_t i = 0; i < count; i++)
        if (holders[i].pid)
            return true;
    return false;
}
