/* YAML into a flat list of entries, each with its full key and its place. Knows the form, not the meaning: which keys
 * there are is file.h's. By libyaml's events, so that aliases cannot multiply and every error
 * has a line and a column. */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <stddef.h>

#include "common/error.h"

enum yaml_kind {
    YAML_VALUE, /* a scalar */
    YAML_NULL,  /* nothing, ~ or null, unquoted */
    YAML_MAP,   /* a map begins; its keys follow as entries of their own */
    YAML_LIST,  /* a list begins; its scalars follow as YAML_ITEM */
    YAML_ITEM
};

struct yaml_place {
    unsigned line, column; /* from 1; columns count characters */
};

struct yaml_entry {
    char *path;  /* heap: "stop.signals"; "" for the root */
    char *value; /* heap: VALUE and ITEM; else NULL */
    enum yaml_kind kind;
    struct yaml_place key, at; /* of the key, and of the value */
};

struct yaml_error {
    struct yaml_place at;
    struct error error;
};

/* Errors of one file, from whoever found them. */
struct yaml_errors {
    struct yaml_error list[64];
    size_t count; /* may be larger than the list */
};

struct yaml_entries {
    struct yaml_entry *list; /* heap */
    size_t count, room;
};

enum { YAML_DEEPEST = 8, YAML_MOST_ENTRIES = 1000, YAML_LARGEST = 1024 * 1024 };

/* Reads one document. What can be read before an error is in `entries`, also when errors were found. `entries` must be
 * zero at first; free it with yaml_entries_finish() in any case. */
void yaml_read(const char *bytes, size_t size, struct yaml_entries *entries, struct yaml_errors *errors);
void yaml_entries_finish(struct yaml_entries *entries);

void yaml_errors_add(struct yaml_errors *errors, struct yaml_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sorts them by place, those of one place in the order they were added. */
void yaml_errors_sort(struct yaml_errors *errors);

#endif
