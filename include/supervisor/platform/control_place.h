/* Where the control socket is put: choosing and checking the directory, replacing what is stale, and nothing else. */
#ifndef SUPERVISOR_PLATFORM_CONTROL_PLACE_H
#define SUPERVISOR_PLATFORM_CONTROL_PLACE_H

#include <sys/stat.h>
#include <sys/un.h>

#include "common/error.h"

struct control_place {
    int fd;                 /* listening, non-blocking, close-on-exec; -1: none */
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
    dev_t device;           /* with the inode: whether the file is still ours */
    ino_t inode;
};

/* Binds and listens, and only then gives it the name `path` (0600). A socket that nobody listens on is replaced; a
 * living one, or a file that is no socket, is not. Returns 0, or -1 with errno (EADDRINUSE: somebody answers there;
 * ENAMETOOLONG) and the story. */
int control_place_bind(struct control_place *place, const char *path, struct error *error);

/* Makes sure that `path` is a directory of ours that nobody else may enter: made 0700 when it is not there. Returns 0,
 * or -1 and errno (EROFS, EACCES, ENOENT: not here; ENOTDIR, EPERM, ELOOP: it is not ours), and the story. */
int control_place_prepare_directory(const char *path, struct error *error);

/* Tries the directories of control_socket_directory() in turn, with `<instance>.sock` in them. As control_place_bind().
 * In the one that is chosen, the sockets of lastcalls that were killed are removed. */
int control_place_choose(struct control_place *place, const char *instance, struct error *error);

/* Closes, and removes the file if it is still ours. */
void control_place_close(struct control_place *place);

#endif
