/* The configuration file: which keys it may hold, and where. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config/config.h"

/* Reads config->file and sets what it holds. Errors, all of them, with file:line:column, in the file's order. */
void file_load(struct config *config, struct config_errors *errors);

/* The same from memory; `name` stands in for the path in errors and origins. */
void file_load_bytes(struct config *config, const char *name, const char *bytes, size_t size,
                     struct config_errors *errors);

/* The known key or section nearest to one that was mistyped, or NULL. */
const char *file_nearest_key(const char *path);

#endif
