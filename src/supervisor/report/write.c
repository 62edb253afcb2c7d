/* The report's file: whole or not at all, and never waiting for anybody.
 *
 * Never blocks on a pipe or a terminal, never replaces what is not a regular file, and never calls fsync(2): a slow
 * disk must not make the stop late. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/report/report.h"

/* The line to write: the JSON and a newline. */
struct line {
    struct iovec parts[2];
    size_t size;
};

static struct line line_of(const char *json)
{
    size_t length = strlen(json);
    return (struct line){ .parts = { { (void *)(uintptr_t)json, length }, { (void *)(uintptr_t)"\n", 1 } },
                          .size = length + 1 };
}

/* What remains of the line when `written` bytes of it are out. */
static void line_advance(struct line *line, size_t written)
{
    line->size -= written;
    for (unsigned i = 0; i < 2; i++) {
        size_t here = written < line->parts[i].iov_len ? written : line->parts[i].iov_len;
        line->parts[i].iov_base = (char *)line->parts[i].iov_base + here;
        line->parts[i].iov_len -= here;
        written -= here;
    }
}

/* A socket has no description of its own to make non-blocking: MSG_DONTWAIT is for this call only. */
static ssize_t write_once(int fd, struct line *line, bool socket)
{
    struct msghdr message = { .msg_iov = line->parts, .msg_iovlen = 2 };
    return socket ? sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) : writev(fd, line->parts, 2);
}

static int write_line(int fd, const char *json, bool socket)
{
    struct line line = line_of(json);
    while (line.size > 0) {
        ssize_t written = write_once(fd, &line, socket);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        line_advance(&line, (size_t)written);
    }
    return 0;
}

static int story(struct error *error, const char *path, int number)
{
    static const struct { int number; const char *advice; } table[] = {
        { EINVAL, "name a file" },
        { ENOENT, "its directory does not exist: create it, or name another file" },
        { ENOTDIR, "a part of the path is no directory: name another file" },
        { EISDIR, "this is a directory: name a file in it" },
        { EACCES, "this user may not write there: name another file, or change its owner" },
        { EPERM, "this user may not write there: name another file, or change its owner" },
        { EROFS, "mount a volume there, or name a file on one" },
        { ENXIO, "nobody reads this pipe: start its reader before lastcall" },
        { EAGAIN, "the reader of this pipe is too slow, and the report did not wait: read faster, or name a file" },
        { ENOSPC, "the disk is full; nothing was written" },
        { EFBIG, "the limit on a file's size (ulimit -f) is below it" },
        { EDQUOT, "the quota is used up" },
        { ENAMETOOLONG, "the path is too long" },
        { ELOOP, "its symbolic links go in a circle" },
    };
    const char *advice = NULL;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].number == number)
            advice = table[i].advice;
    error_set(error, "report file %s: %s%s%s", path, strerror(number), advice == NULL ? "" : " – ",
              advice == NULL ? "" : advice);
    errno = number;
    return -1;
}

/* Is it our own standard output or error, by whatever name? Returns its number, or -1. */
static int own_stream(const struct stat *status)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat own;
        if (fstat(fd, &own) == 0 && own.st_dev == status->st_dev && own.st_ino == status->st_ino)
            return fd;
    }
    return -1;
}

static int write_stream(const char *path, int number, const struct stat *status, const char *json)
{
    if (S_ISSOCK(status->st_mode))
        return write_line(number, json, true);
    int fd _cleanup_close_ = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -1 : write_line(fd, json, false);
}

/* A regular file that could only be written in part is emptied: half a report is none. */
static int write_in_place(const char *path, const char *json)
{
    int fd _cleanup_close_ = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    if (write_line(fd, json, false) == 0)
        return 0;
    int number = errno;
    if (ftruncate(fd, 0) != 0)
        errno = number; /* a pipe or a device: there is nothing to take back */
    errno = number;
    return -1;
}

/* "DIRECTORY/.lastcall-report-XXXXXX": a name of its own, since the file's name may be as long as names can be. */
static int temporary_name(char *name, size_t size, const char *path)
{
    const char *slash = strrchr(path, '/');
    int directory = slash == NULL ? 0 : (int)(slash - path) + 1;
    int length = snprintf(name, size, "%.*s.lastcall-report-XXXXXX", directory, path);
    if (length >= 0 && (size_t)length < size)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

static int write_temporary(int fd, const char *name, const char *path, const char *json)
{
    return fchmod(fd, 0644) != 0 || write_line(fd, json, false) != 0 ? -1 : rename(name, path);
}

static int replace_file(const char *path, const char *json)
{
    char name[PATH_MAX];
    if (temporary_name(name, sizeof name, path) != 0)
        return -1;
    int fd _cleanup_close_ = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (write_temporary(fd, name, path, json) == 0)
        return 0;
    int number = errno;
    unlink(name);
    errno = number;
    return -1;
}

/* A mount point cannot be replaced (EBUSY), and the directory may not be ours though the file is. */
static bool may_be_written_in_place(int number)
{
    return number == EBUSY || number == EACCES || number == EPERM || number == EROFS || number == EXDEV;
}

static int write_regular(const char *path, const char *json)
{
    char *real _cleanup_free_ = realpath(path, NULL); /* the link stays, its file is replaced */
    if (replace_file(real == NULL ? path : real, json) == 0)
        return 0;
    return may_be_written_in_place(errno) ? write_in_place(path, json) : -1;
}

/* What no file answers to: a new file, or a symbolic link to one that is not there yet. */
static int write_new(const char *path, const char *json)
{
    struct stat status;
    bool link = lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
    return link ? write_in_place(path, json) : replace_file(path, json);
}

static int write_path(const char *path, const char *json)
{
    struct stat status;
    if (path[0] == '\0') {
        errno = EINVAL;
        return -1;
    }
    if (stat(path, &status) != 0)
        return errno == ENOENT ? write_new(path, json) : -1;
    int stream = own_stream(&status);
    if (stream >= 0)
        return write_stream(path, stream, &status, json);
    return S_ISREG(status.st_mode) ? write_regular(path, json) : write_in_place(path, json);
}

int report_write_file(const char *path, const char *json, struct error *error)
{
    return write_path(path, json) == 0 ? 0 : story(error, path, errno);
}
