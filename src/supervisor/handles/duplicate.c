/* Duplicates by pidfd_getfd(2), or by ptrace(2) where that is refused: see supervisor/handles/duplicate.h. Never hands
 * out another socket than the one that is meant. */
#include "supervisor/handles/duplicate.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/handles/letterbox.h"
#include "supervisor/handles/ptrace_duplicate.h"

_Static_assert((int)DUPLICATES_MOST == (int)LETTER_FDS_MOST, "one letter carries them");

/* seccomp refuses pidfd_getfd(2) to this process, and ptrace(2) was not; or it is known that it does not. */
static bool by_ptrace, by_getfd;

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

static int take_by_getfd(pid_t pid, int fd)
{
    int pidfd _cleanup_close_ = pidfd_open_of(pid);
    int duplicate = pidfd < 0 ? -1 : pidfd_getfd_of(pidfd, fd);
    if (duplicate < 0 && pidfd >= 0 && errno == EBADF)
        errno = ESTALE;
    return duplicate;
}

static bool is_refusal(int error)
{
    return error == EPERM || error == ENOSYS;
}

/* Also of a descriptor of our own: then it is not the process that refuses. */
static bool getfd_is_refused(void)
{
    int pidfd _cleanup_close_ = pidfd_open_of(getpid());
    int duplicate _cleanup_close_ = pidfd < 0 ? -1 : pidfd_getfd_of(pidfd, pidfd);
    by_getfd = duplicate >= 0;
    return pidfd >= 0 && duplicate < 0 && is_refusal(errno);
}

static int take_by_any(pid_t pid, int fd)
{
    int duplicate = by_ptrace ? -1 : take_by_getfd(pid, fd), error = errno;
    if (!by_ptrace && (duplicate >= 0 || !is_refusal(error) || !getfd_is_refused())) {
        errno = error;
        return duplicate;
    }
    duplicate = ptrace_duplicate(pid, fd);
    by_ptrace |= duplicate >= 0 || !is_refusal(errno);
    if (!by_ptrace)
        errno = error;
    return duplicate;
}

int duplicate_take(pid_t pid, int fd, uint64_t inode)
{
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid, AS_USER_TO_TOUCH);
    int duplicate = take_by_any(pid, fd);
    if (duplicate < 0 || is_socket_with(duplicate, inode))
        return duplicate;
    close(duplicate);
    errno = ESTALE;
    return -1;
}

static void check_inodes(const uint64_t *inodes, unsigned count, int *duplicates)
{
    for (unsigned i = 0; i < count; i++)
        if (!is_socket_with(duplicates[i], inodes[i]))
            fd_close(&duplicates[i]);
}

int duplicate_take_all(pid_t pid, const int *fds, const uint64_t *inodes, unsigned count, int *duplicates)
{
    if (!by_ptrace && (by_getfd || !getfd_is_refused())) {
        errno = ENOTSUP;
        return -1;
    }
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid, AS_USER_TO_TOUCH);
    int result = ptrace_duplicate_all(pid, fds, count, duplicates);
    by_ptrace |= result == 0 || !is_refusal(errno);
    if (result == 0)
        check_inodes(inodes, count, duplicates);
    return result;
}

void duplicate_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

int duplicate_take_until(pid_t pid, int fd, uint64_t inode, int64_t until_us)
{
    int duplicate = duplicate_take(pid, fd, inode);
    while (duplicate < 0 && errno == EAGAIN && clock_now_us() < until_us) {
        duplicate_pause();
        duplicate = duplicate_take(pid, fd, inode);
    }
    return duplicate;
}

const char *duplicate_way(void)
{
    return by_ptrace ? "ptrace" : "pidfd_getfd";
}
