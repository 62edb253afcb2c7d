/* What was before this life of the app, as JSON. Never writes an unknown as a number: it is null. */
#include "supervisor/report/json_before.h"

#include <string.h>

#include "common/clock.h"
#include "common/signals.h"
#include "common/text.h"

json_t *json_wall(int64_t wall_us)
{
    char at[32];
    if (wall_us <= 0)
        return json_null();
    clock_format_wall(at, wall_us);
    return json_string(at);
}

static json_t *life_json(const struct record_life *life)
{
    bool by_code = life->exit_signal == 0 && life->exit_code >= 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}",
        "pid", life->pid > 0 ? json_integer(life->pid) : json_null(),
        "exit_code", by_code ? json_integer(life->exit_code) : json_null(),
        "signal", life->exit_signal != 0 ? json_string(signal_name(life->exit_signal)) : json_null(),
        "seconds", life->ran_us >= 0 ? json_real((double)life->ran_us / 1e6) : json_null(),
        "ended_at", json_wall(life->ended_wall_us));
}

json_t *json_earlier(const struct record_past *past)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < past->count; i++)
        if (json_array_append_new(array, life_json(&past->lives[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *text_json(const char *bytes, size_t size)
{
    char said[640];
    struct text text = text_in(said, sizeof said);
    text_add_escaped(&text, bytes, strnlen(bytes, size));
    return json_string(said);
}

static json_t *unknown_json(const struct record *record, unsigned i)
{
    const char *name = record->targets[i].name, *why = record->predecessor.targets[i].why;
    return json_pack("{s:o, s:o}", "target", text_json(name, WIRE_NAME), "why",
                     record->predecessor.targets[i].told ? text_json(why, sizeof record->predecessor.targets[i].why)
                                                         : json_string("no answer"));
}

static json_t *unknown_list(const struct record *record, unsigned *known)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < record->target_count; i++) {
        *known += record->predecessor.targets[i].known;
        if (!record->predecessor.targets[i].known && json_array_append_new(array, unknown_json(record, i)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *json_predecessor(const struct record *record)
{
    const struct record_predecessor *predecessor = &record->predecessor;
    unsigned known = 0;
    if (!predecessor->asked)
        return json_null();
    json_t *unknown = unknown_list(record, &known);
    return json_pack("{s:o, s:o, s:o}",
        "ended", known > 0 ? json_integer(predecessor->ended) : json_null(),
        "still_there", known > 0 ? json_integer(predecessor->still_there) : json_null(),
        "unknown", unknown);
}
