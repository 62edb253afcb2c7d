/* Gathering everything that is wrong with a configuration, to be told at once. */
#ifndef CONFIG_ERRORS_H
#define CONFIG_ERRORS_H

#include "common/text.h"
#include "config/config.h"

/* Adds one; counts it only when the list is full. Always returns -1. */
int config_errors_add(struct config_errors *errors, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends 'value' as an error may show it: escaped, at most 48 bytes of it, and "****" in place of anything that looks
 * as if it held a password. */
void config_quote(struct text *text, const char *value);

/* "'value' " followed by the story, into `error`; the value as config_quote() shows it. Returns -1. */
int config_refuse(struct error *error, const char *value, const char *story);

/* Writes a key as a user wrote it into `at`, escaped and cut; "****" in place of one that holds a URL. */
void config_show_key(char *at, size_t size, const char *key);

#endif
