/* Descriptors: closing by attribute, reading small kernel files. */
#ifndef COMMON_FD_H
#define COMMON_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* int fd _cleanup_close_ = open(…): closed when it goes out of scope; -1 is fine. errno is kept. */
#define _cleanup_close_ __attribute__((cleanup(fd_cleanup_close)))
/* char *p _cleanup_free_ = malloc(…): freed when it goes out of scope. */
#define _cleanup_free_ __attribute__((cleanup(fd_cleanup_free)))

void fd_cleanup_close(int *fd);
void fd_cleanup_free(void *pointer);

/* Closes *fd unless it is -1, and sets it to -1. Never retried on EINTR: Linux has released the descriptor. */
void fd_close(int *fd);

/* Adds O_NONBLOCK to the open file description behind fd. Only for descriptors that nobody else holds. -1 and errno. */
int fd_set_nonblocking(int fd);

/* Reads at most size - 1 bytes of the file at path (relative to dirfd, or AT_FDCWD) and ends them with NUL.
 * For procfs and small files: one open, reads until the end, close. Returns the length, or -1 and errno. */
ssize_t fd_read_file(int dirfd, const char *path, char *at, size_t size);

/* Writes all of `bytes` to a regular file or a blocking descriptor. Returns 0, or -1 and errno. */
int fd_write_all(int fd, const void *bytes, size_t size);

#endif
