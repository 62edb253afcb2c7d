/* Showing a configuration: what is in force, the commented example and the reference, all from the table of keys. */
#ifndef CONFIG_PRINT_H
#define CONFIG_PRINT_H

#include <stdio.h>

#include "common/text.h"
#include "config/keys.h"

/* Appends where the key's value came from: "default", "lastcall.yaml:3:5", "LASTCALL_GRACE", "--grace". */
void print_origin(const struct config *config, const struct key *key, struct text *text);

/* Appends the target's parameters as one URL or conninfo string that url_read() takes, passwords as "****". */
void print_target_url(const struct config_target *target, struct text *text);

/* Appends a value as a YAML scalar, quoted where it must be. */
void print_scalar(const char *value, struct text *text);

/* "stop:" when `key` begins a section that `before` (may be NULL) is not in. Returns the key's name within it. */
const char *print_section(FILE *stream, const struct key *before, const struct key *key);

/* config/lastcall.yaml. Returns 0, or -1 when the stream failed. */
int print_example(FILE *stream);

/* The reference, in Markdown. Returns 0, or -1 when the stream failed. */
int print_reference(FILE *stream);

#endif
