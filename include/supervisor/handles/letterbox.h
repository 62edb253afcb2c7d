/* Where descriptors arrive that another process sends us: a unix socket of our own, which lives for one passing. */
#ifndef SUPERVISOR_HANDLES_LETTERBOX_H
#define SUPERVISOR_HANDLES_LETTERBOX_H

#include <sys/socket.h>
#include <sys/un.h>

/* As many as one message carries (SCM_MAX_FD: unix(7), "SCM_RIGHTS"). */
enum { LETTER_FDS_MOST = 253 };

/* The box, and where it is: a name of the kernel's choice (unix(7), "Autobind feature"). It needs no file system, and
 * no process but the app's could know it in time; what comes is to be looked at all the same. -1 and errno. */
int letterbox_open(struct sockaddr_un *at, socklen_t *size);

/* The `count` descriptors (close-on-exec) of the message that has come; all of them, or none. 0, or -1 and errno:
 * EAGAIN (nothing has come), EMFILE (there were not enough numbers for them). */
int letterbox_take(int box, int *fds, unsigned count);

#endif
