/* Values of keys: from text into struct config, checked, and back. One handler a type. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "common/error.h"
#include "common/text.h"
#include "config/keys.h"

/* Where a value from `source` belongs: `config`, or, when a source that goes before it has set the key already, a place
 * where it is only checked and then forgotten. */
struct config *value_place(struct config *config, const struct key *key, enum config_source source);

/* Sets the field of `key`. An empty text is allowed where "none" is (names, paths, user, listen address). Returns 0, or
 * -1 and what is wrong with the value ("'10 sec' is not a duration: write …"): the caller says where it stood. */
int value_set(struct config *config, const struct key *key, const char *text, struct error *error);

/* Lists and maps (KEY_SIGNALS, KEY_SIGNAL_MAP, KEY_EXIT_CODES, KEY_SEQUENCE, KEY_HOOK, KEY_TARGETS): first clear, then
 * add each. An item is "TERM", "INT 3s", an argument or, of a map, "TERM:QUIT". */
bool value_has_items(const struct key *key);
bool value_is_map(const struct key *key);
void value_clear_items(struct config *config, const struct key *key);
int value_add_item(struct config *config, const struct key *key, const char *item, struct error *error);

/* As value_set(), but a map keeps what is in it already: for an option that is given again. */
int value_set_more(struct config *config, const struct key *key, const char *text, struct error *error);

/* Is it shown as a list or a map, so that value_format() is YAML already? */
bool value_is_list(const struct config *config, const struct key *key);

/* Appends the value as value_set() takes it, unquoted. */
void value_format(const struct config *config, const struct key *key, struct text *text);

/* "a duration", "one of error, warning, info, debug", … for messages and the reference. */
void value_describe(const struct key *key, struct text *text);

/* true, false, yes, no, on, off, 1, 0. Returns 0, or -1. */
int value_parse_bool(const char *text, bool *value);

#endif
