/* Where the control socket is put. Must never enter a directory that somebody else could have prepared, and never take
 * the place of a living supervisor. A socket gets its name only when it listens, so that a name that refuses is never
 * that of a lastcall which is just starting. */
#include "supervisor/platform/control_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/text.h"
#include "supervisor/platform/control_dead.h"
#include "wire/control.h"

enum { BACKLOG = 16 };

/* error_set() that keeps an errno. */
#define FAIL(number, error, ...)                                                                                     \
    ({                                                                                                               \
        int number_ = (number);                                                                                      \
        error_set(error, __VA_ARGS__);                                                                               \
        errno = number_;                                                                                             \
        -1;                                                                                                          \
    })

static int remove_keeping_errno(const char *path)
{
    int why = errno;
    unlink(path);
    errno = why;
    return -1;
}

/* The file's mode comes from the umask at the moment of bind(2): 0600 from the very beginning. */
static int bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0177);
    int result = bind(fd, (const void *)address, sizeof *address);
    int why = errno;
    umask(before);
    errno = why;
    return result;
}

static int listen_at(int fd, const char *first, const char *path, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!text_copy(address.sun_path, sizeof address.sun_path, first))
        return FAIL(ENAMETOOLONG, error, "%s: the path of its directory is too long for a socket", path);
    if (bind_private(fd, &address) == -1)
        return FAIL(errno, error, "%s: %s", path, strerror(errno));
    if (listen(fd, BACKLOG) == 0)
        return 0;
    FAIL(errno, error, "%s: %s", path, strerror(errno));
    return remove_keeping_errno(first);
}

static int give_name(const char *first, const char *path)
{
    if (control_dead_rename(first, path) == 0)
        return 0;
    if (errno != EEXIST)
        return -1;
    if (control_dead_remove(path) == 1)
        return control_dead_rename(first, path);
    errno = EEXIST;
    return -1;
}

static int name_socket(const char *first, const char *path, struct error *error)
{
    if (give_name(first, path) == 0)
        return 0;
    FAIL(errno == EEXIST ? EADDRINUSE : errno, error, "%s: %s", path,
         errno == EEXIST ? "somebody else answers there, or it is no socket" : strerror(errno));
    return remove_keeping_errno(first);
}

int control_place_bind(struct control_place *place, const char *path, struct error *error)
{
    char first[PATH_MAX];
    struct stat st;
    place->fd = -1;
    if (!text_copy(place->path, sizeof place->path, path))
        return FAIL(ENAMETOOLONG, error, "%s: the path of a socket may have %zu bytes, this one has %zu", path,
                    sizeof place->path - 1, strlen(path));
    control_dead_name(first, path);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return FAIL(errno, error, "%s: no socket: %s", path, strerror(errno));
    if (listen_at(fd, first, path, error) == -1 || name_socket(first, path, error) == -1)
        return -1;
    if (lstat(path, &st) == -1)
        return FAIL(errno, error, "%s: %s", path, strerror(errno));
    place->device = st.st_dev;
    place->inode = st.st_ino;
    place->fd = fd;
    fd = -1;
    return 0;
}

int control_place_prepare_directory(const char *path, struct error *error)
{
    struct stat st;
    if (mkdir(path, 0700) == -1 && errno != EEXIST)
        return FAIL(errno, error, "%s: cannot be made: %s", path, strerror(errno));
    if (lstat(path, &st) == -1)
        return FAIL(errno, error, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return FAIL(ENOTDIR, error, "%s: is no directory (a link is not followed)", path);
    if (st.st_uid != geteuid())
        return FAIL(EPERM, error, "%s: belongs to uid %u, not to us", path, (unsigned)st.st_uid);
    if ((st.st_mode & 077) != 0)
        return FAIL(EPERM, error, "%s: may be entered by others (mode %04o); it must be 0700", path,
                    (unsigned)st.st_mode & 07777);
    return 0;
}

static int bind_in_directory(struct control_place *place, const char *directory, const char *instance,
                             struct error *error)
{
    char path[512];
    if (control_place_prepare_directory(directory, error) == -1)
        return -1;
    struct text text = text_in(path, sizeof path);
    text_add(&text, "%s/%s.sock", directory, instance);
    if (control_place_bind(place, path, error) == -1)
        return -1;
    unsigned removed = control_dead_sweep(directory);
    if (removed > 0)
        log_debug("control socket: %u of ended lastcalls removed from %s", removed, directory);
    return 0;
}

int control_place_choose(struct control_place *place, const char *instance, struct error *error)
{
    char directory[256];
    place->fd = -1;
    if (strchr(instance, '/') || instance[0] == '.' || instance[0] == 0)
        return FAIL(EINVAL, error, "the instance's name \"%s\" cannot be a file's name", instance);
    error_set(error, "no directory for it: %s", strerror(ENOENT));
    for (unsigned choice = 0; control_socket_directory(choice, geteuid(), directory, sizeof directory) == 0; choice++) {
        if (bind_in_directory(place, directory, instance, error) == 0)
            return 0;
        if (errno == EADDRINUSE || errno == ENAMETOOLONG)
            return -1; /* another place would not make it better */
    }
    return -1;
}

void control_place_close(struct control_place *place)
{
    struct stat st;
    if (place->fd == -1)
        return;
    if (lstat(place->path, &st) == 0 && st.st_dev == place->device && st.st_ino == place->inode)
        unlink(place->path);
    fd_close(&place->fd); /* until here the inode is ours, and nobody else's */
}
