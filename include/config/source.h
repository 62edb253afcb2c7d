/* Reading the files that a configuration names: the file itself, and the secrets of url_file and *_FILE. */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <stddef.h>

#include "common/error.h"

/* Reads a regular file of at most `most` bytes. Never blocks (a FIFO is refused, not waited for). Returns the bytes on
 * the heap, a NUL behind them, and their number in *size; or NULL and why, without the path ("is a directory"). */
char *source_read(const char *path, size_t most, size_t *size, struct error *error);

/* The same for a file that holds one URL: one line end at its end is taken away, a NUL byte is refused. */
char *source_read_secret(const char *path, struct error *error);

#endif
