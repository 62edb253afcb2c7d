/* A duplicate of an app's socket: the hand. By pidfd_getfd(2), which needs PTRACE_MODE_ATTACH on the process; where
 * seccomp refuses that, by ptrace(2) (supervisor/handles/ptrace_duplicate.h).
 *
 * A duplicate shares the open file: its options are the app's, and the socket stays open while it lives. So it lives
 * for one call only, until the end begins; then the table in supervisor/handles/adopted.h owns it. */
#ifndef SUPERVISOR_HANDLES_DUPLICATE_H
#define SUPERVISOR_HANDLES_DUPLICATE_H

#include <stdint.h>
#include <sys/types.h>

/* The duplicate (close-on-exec) of descriptor fd of pid, if it still is the socket with that inode. -1 and errno:
 * ESTALE (the app has closed or reused it), ESRCH (the process is gone), EPERM, ENOSYS (no hands here), EMFILE, EAGAIN
 * (no thread of the process could be stopped just now: only by ptrace). */
int duplicate_take(pid_t pid, int fd, uint64_t inode);

/* The same, tried again until `until_us` of the monotonic clock when it is EAGAIN: where a duplicate that is not had
 * costs more than a late answer. */
int duplicate_take_until(pid_t pid, int fd, uint64_t inode, int64_t until_us);

/* The duplicates of `count` descriptors of one process (at most DUPLICATES_MOST) by one stop of it, where it is by
 * ptrace; duplicates[i] is -1 where fds[i] is not the socket with inodes[i] any more. Returns 0, or -1 and errno as
 * duplicate_take(), and none was taken. ESTALE: one of them is closed, which one is not told; EMFILE: there is no room
 * for all; ENOTSUP: it is not by ptrace, and one by one is as good. Use it by supervisor/handles/batch.h. */
enum { DUPLICATES_MOST = 253 };
int duplicate_take_all(pid_t pid, const int *fds, const uint64_t *inodes, unsigned count, int *duplicates);

/* Between two tries: the processor is the app's for a moment. */
void duplicate_pause(void);

/* "pidfd_getfd" or "ptrace": by what duplicates are taken, as far as that was tried. */
const char *duplicate_way(void);

#endif
