/* A duplicate of an app's socket: the hand. By pidfd_getfd(2), which needs PTRACE_MODE_ATTACH on the process.
 *
 * A duplicate shares the open file: its options are the app's, and the socket stays open while it lives. So it lives for
 * one call only, until the end begins; then the table in supervisor/handles/adopted.h owns it. */
#ifndef SUPERVISOR_HANDLES_DUPLICATE_H
#define SUPERVISOR_HANDLES_DUPLICATE_H

#include <stdint.h>
#include <sys/types.h>

/* The duplicate (close-on-exec) of descriptor fd of pid, if it still is the socket with that inode. -1 and errno: ESTALE
 * (the app has closed or reused it), ESRCH (the process is gone), EPERM, ENOSYS (no hands here), EMFILE. */
int duplicate_take(pid_t pid, int fd, uint64_t inode);

/* Can sockets be duplicated here at all? Tried on our own process and `pid`. 0, or the errno that says why not. */
int duplicate_probe(pid_t pid);

#endif
