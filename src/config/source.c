/* Reading named files whole. O_NONBLOCK, so that a FIFO or a device cannot stop the start of the app. */
#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"

static const char *type_name(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* Reads until the end or until `room` is full. Returns the length, or -1 and errno. */
static ssize_t read_all(int fd, char *at, size_t room)
{
    size_t length = 0;
    while (length < room) {
        ssize_t n = read(fd, at + length, room - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

static char *fail(struct error *error, const char *what, const char *why)
{
    error_set(error, "%s%s", what, why);
    return NULL;
}

char *source_read(const char *path, size_t most, size_t *size, struct error *error)
{
    struct stat st;
    int fd _cleanup_close_ = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd == -1 && errno == ENXIO)
        return fail(error, "is a socket or a device, not a file", "");
    if (fd == -1 || fstat(fd, &st) == -1)
        return fail(error, "cannot be opened: ", strerror(errno));
    if (!S_ISREG(st.st_mode)) {
        error_set(error, "is %s, not a file", type_name(st.st_mode));
        return NULL;
    }
    char *bytes _cleanup_free_ = malloc(most + 2);
    if (!bytes)
        return fail(error, "cannot be read: ", strerror(ENOMEM));
    ssize_t length = read_all(fd, bytes, most + 1);
    if (length == -1)
        return fail(error, "cannot be read: ", strerror(errno));
    if ((size_t)length > most) {
        error_set(error, "is too large: at most %zu bytes", most);
        return NULL;
    }
    bytes[length] = '\0';
    *size = (size_t)length;
    char *result = bytes;
    bytes = NULL;
    return result;
}

char *source_read_secret(const char *path, struct error *error)
{
    enum { LARGEST = 16 * 1024 };
    size_t size;
    char *bytes _cleanup_free_ = source_read(path, LARGEST, &size, error);
    if (!bytes)
        return NULL;
    if (size > 0 && bytes[size - 1] == '\n')
        bytes[--size] = '\0';
    if (size > 0 && bytes[size - 1] == '\r')
        bytes[--size] = '\0';
    if (strlen(bytes) != size)
        return fail(error, "holds a NUL byte: it should hold one URL", "");
    if (size == 0)
        return fail(error, "is empty: it should hold one URL", "");
    char *result = bytes;
    bytes = NULL;
    return result;
}
