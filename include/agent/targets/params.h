/* A target's connection parameters: NUL-ended "keyword=value" strings, one behind the other, ended by an empty one, as
 * struct message_target carries them. Read only. Values may be passwords: nothing here logs. */
#ifndef AGENT_TARGETS_PARAMS_H
#define AGENT_TARGETS_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

/* True when the strings and the empty one at their end lie within `size` bytes, and each has a keyword and a '='. */
bool params_are_valid(const char *params, size_t size);

/* The value, or NULL when the keyword is not there or its value is empty (as libpq takes an empty value). */
const char *params_get(const char *params, const char *keyword);

/* Walks: `*at` starts as the params. Copies the keyword into `keyword` and returns the value; NULL at the end.
 * A keyword that does not fit is cut (none that means anything is that long). */
const char *params_next(const char **at, char *keyword, size_t size);

#endif
