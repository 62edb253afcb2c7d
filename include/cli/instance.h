/* Finding a running lastcall by its control socket. */
#ifndef CLI_INSTANCE_H
#define CLI_INSTANCE_H

#include <sys/types.h>

#include "common/error.h"

struct instance {
    char name[64];      /* the socket's file name without ".sock" */
    char path[108];
    int fd;             /* connected, blocking, close-on-exec; the caller closes it */
};

/* The instance called `name` (or at that path, when it has a slash). NULL: the one of $LASTCALL_SOCKET, else the only
 * one in the directories of control_socket_directory() for our uid; root looks into other users' directories too.
 * Sockets that nobody listens on are not counted. Returns 0; else the verb's exit code and why: 1 when there is none
 * (or it is not ours to ask), 2 when there are several (they are listed in `error`). */
int instance_find(struct instance *instance, const char *name, struct error *error);

#endif
