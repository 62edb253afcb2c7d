/* The termination message. Must never leave half a message, follow a link or wait. */
#include "supervisor/platform/termination_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"

/* Not truncated by open(2): first it is made sure that it is a regular file. */
static int open_regular(const char *path)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd == -1 || fstat(fd, &st) == -1)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = ENOENT;
        return -1;
    }
    int opened = fd;
    fd = -1;
    return opened;
}

/* There is no such file for us: outside Kubernetes that is usual. ELOOP: a link; ENXIO, EISDIR: something else. */
static int is_not_there(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO || error == EISDIR;
}

int termination_log_write(const char *path, const char *text, struct error *error)
{
    size_t length = strlen(text);
    _cleanup_close_ int fd = open_regular(path);
    if (fd == -1 && is_not_there(errno))
        return 0;
    if (fd == -1)
        return error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    if (length > TERMINATION_LOG_SIZE)
        return error_set(error, "%s: %zu bytes are more than the %d it may have", path, length, TERMINATION_LOG_SIZE);
    if (ftruncate(fd, 0) == -1)
        return error_set(error, "%s: cannot be emptied: %s", path, strerror(errno));
    ssize_t written = write(fd, text, length);
    if (written == (ssize_t)length)
        return 1;
    int why = written == -1 ? errno : ENOSPC;
    if (ftruncate(fd, 0) == -1)
        return error_set(error, "%s: holds a part of the message only: %s", path, strerror(why));
    return error_set(error, "%s: cannot be written: %s", path, strerror(why));
}
