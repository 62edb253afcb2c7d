/* Values of keys about signals and exit codes: single signals, maps, the sequence. Private to src/config/: the table of
 * types in value.c has a row for each. Texts of errors as in config/value.h. */
#ifndef CONFIG_VALUE_LISTS_H
#define CONFIG_VALUE_LISTS_H

#include "common/error.h"
#include "common/text.h"
#include "config/keys.h"

/* Job control, faults and the two that nobody can catch neither begin a stop nor end an app in order. */
bool signal_may_stop(int signo);

/* Appends "TERM", or the number of a signal that has no name of its own. */
void signal_format(int signo, struct text *text);

/* Adds each item of "a, b", "[a, b]" or "{a: b}" by value_add_item(). Returns 0, or -1 at the first that is wrong. */
int value_lists_add_all(struct config *config, const struct key *key, const char *value, struct error *error);

typedef int value_set_fn(struct config *config, const struct key *key, const char *value, struct error *error);
typedef void value_format_fn(const struct config *config, const struct key *key, struct text *text);
typedef void value_describe_fn(const struct key *key, struct text *text);
typedef void value_clear_fn(struct config *config, const struct key *key);

value_set_fn stop_signal_set, any_signal_set, signal_map_add, exit_codes_add, sequence_add;
value_format_fn one_signal_format, signal_map_format, exit_codes_format, sequence_format;
value_describe_fn one_signal_describe, signal_map_describe, exit_codes_describe, sequence_describe;
value_clear_fn map_clear, sequence_clear;

#endif
