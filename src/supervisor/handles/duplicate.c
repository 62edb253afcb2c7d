/* Duplicates by pidfd_getfd(2): see supervisor/handles/duplicate.h. */
#include "supervisor/handles/duplicate.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fd.h"

static int pidfd_open_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int pidfd_getfd_of(int pidfd, int fd)
{
    return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

/* The descriptor may have been closed and reused since it was seen: the inode tells. */
static bool is_socket_with(int fd, uint64_t inode)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && (uint64_t)st.st_ino == inode;
}

int duplicate_take(pid_t pid, int fd, uint64_t inode)
{
    int pidfd _cleanup_close_ = pidfd_open_of(pid);
    if (pidfd < 0)
        return -1;
    int duplicate = pidfd_getfd_of(pidfd, fd);
    if (duplicate < 0) {
        errno = errno == EBADF ? ESTALE : errno;
        return -1;
    }
    if (is_socket_with(duplicate, inode))
        return duplicate;
    close(duplicate);
    errno = ESTALE;
    return -1;
}

int duplicate_probe(pid_t pid)
{
    int pidfd _cleanup_close_ = pidfd_open_of(pid);
    if (pidfd < 0)
        return errno;
    int duplicate _cleanup_close_ = pidfd_getfd_of(pidfd, 0);
    return duplicate >= 0 || errno == EBADF ? 0 : errno;
}
