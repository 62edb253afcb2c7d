/* What the parts of the report's JSON are built with. Shared by json.c and json_targets.c, and by nothing else.
 *
 * A value that is not known is null, and never a number. */
#ifndef SUPERVISOR_REPORT_JSON_BUILDER_H
#define SUPERVISOR_REPORT_JSON_BUILDER_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "supervisor/report/record.h"
#include "supervisor/report/said.h"

/* What is in it. A short report leaves out one more of these at each try, in this order. */
enum { SHOW_CONNECTIONS = 1, SHOW_DETAILS = 2, SHOW_TARGETS = 4, SHOW_UNKNOWN = 8, SHOW_ALL = 15 };

struct builder {
    const struct record *record;
    unsigned show;
    bool failed; /* there was no memory: what was built is not whole */
};

static inline void put(struct builder *builder, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        builder->failed = true;
}

static inline void append(struct builder *builder, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        builder->failed = true;
}

static inline bool shows(const struct builder *builder, unsigned what)
{
    return (builder->show & what) != 0;
}

static inline json_t *count_or_null(bool known, unsigned count)
{
    return known ? json_integer(count) : json_null();
}

static inline json_t *number_or_null(int number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

static inline json_t *seconds_or_null(bool known, int64_t us)
{
    return known ? json_real((double)us / 1e6) : json_null();
}

/* Bounded text from outside: escaped, or null when there is none. */
static inline json_t *text_or_null(const char *bytes, size_t length)
{
    char said[SAID_ROOM];
    struct text text = text_in(said, sizeof said);
    text_add_escaped(&text, bytes, strnlen(bytes, length));
    return text.length > 0 ? json_string(said) : json_null();
}
#define ARRAY_OR_NULL(array) text_or_null(array, sizeof(array))

/* json_targets.c: each server with the app's connections to it; null when they are not shown */
json_t *json_targets(struct builder *builder);

#endif
