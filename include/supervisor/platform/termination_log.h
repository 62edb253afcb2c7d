/* Kubernetes' termination message: a small file that is mounted into the container and read when it has ended
 * (terminationMessagePath, 4096 bytes at most, shared by the pod's containers beyond 12 KiB). */
#ifndef SUPERVISOR_PLATFORM_TERMINATION_LOG_H
#define SUPERVISOR_PLATFORM_TERMINATION_LOG_H

#include "common/error.h"

#define TERMINATION_LOG_PATH "/dev/termination-log"
enum { TERMINATION_LOG_SIZE = 1024 }; /* bytes at most */

/* Writes `text` in place (the file is a mount of its own: no rename), whole or not at all: after a failure the file is
 * empty. Does nothing unless `path` is a regular file that is there. Returns 1 when it was written, 0 when there is no
 * such file, -1 and why. */
int termination_log_write(const char *path, const char *text, struct error *error);

#endif
