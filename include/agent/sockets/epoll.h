/* Whether a descriptor is registered in an epoll set of its process: an event loop waits for it, no thread does.
 * From /proc/PID/fdinfo/EPFD, "tfd: N events: … ino:HEX …" (Documentation/filesystems/proc.rst). */
#ifndef AGENT_SOCKETS_EPOLL_H
#define AGENT_SOCKETS_EPOLL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads one line of an epoll descriptor's fdinfo. True when it is a "tfd:" line; *inode is 0 on kernels without it. */
bool epoll_read_line(const char *line, int *fd, uint64_t *inode);

/* Calls `each` for every descriptor in every epoll set of pid. Returns 0 when all were read, -1 when some were not. */
int epoll_each_member(pid_t pid, void (*each)(void *context, int fd, uint64_t inode), void *context);

#endif
