/* libyaml's events into flat entries: a handler an event. Refused here, each with its place: aliases, anchors, tags,
 * more documents, keys twice, keys that are no plain text, deep nesting. Values are never quoted in an error. */
#include "config/yaml.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/text.h"
#include "config/errors.h"

/* One map or list that is open. */
struct level {
    size_t entry;  /* its row */
    bool is_list;
    bool has_key;  /* a map: the next event is the value of `path`, whose key stood at `key` */
    char *path;    /* heap */
    struct yaml_place key;
};

struct reading {
    struct yaml_entries *entries;
    struct yaml_errors *errors;
    struct level levels[YAML_DEEPEST];
    unsigned depth;
    unsigned documents;
    unsigned skip; /* open maps and lists below one that is left out */
    bool stop;     /* what follows cannot be read */
};

static struct yaml_place place_of(const yaml_mark_t *mark)
{
    return (struct yaml_place){(unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

void yaml_entries_finish(struct yaml_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->list[i].path);
        free(entries->list[i].value);
    }
    free(entries->list);
    *entries = (struct yaml_entries){0};
}

static void give_up(struct reading *reading, struct yaml_place at, const char *why)
{
    yaml_errors_add(reading->errors, at, "%s", why);
    reading->stop = true;
}

static struct yaml_entry *add_entry(struct reading *reading, struct yaml_place at)
{
    struct yaml_entries *entries = reading->entries;
    if (entries->count == YAML_MOST_ENTRIES) {
        give_up(reading, at, "more than 1000 keys and items");
        return NULL;
    }
    if (entries->count == entries->room) {
        size_t room = entries->room ? entries->room * 2 : 32;
        struct yaml_entry *list = realloc(entries->list, room * sizeof *list);
        if (!list) {
            give_up(reading, at, "not enough memory");
            return NULL;
        }
        entries->list = list;
        entries->room = room;
    }
    struct yaml_entry *entry = &entries->list[entries->count++];
    *entry = (struct yaml_entry){.at = at, .key = at};
    return entry;
}

static struct level *top(struct reading *reading)
{
    return reading->depth ? &reading->levels[reading->depth - 1] : NULL;
}

/* The entry for a value that begins here, with the path of the key before it. NULL: give up. */
static struct yaml_entry *begin_value(struct reading *reading, struct yaml_place at, enum yaml_kind kind)
{
    struct level *level = top(reading);
    struct yaml_entry *entry = add_entry(reading, at);
    if (!entry)
        return NULL;
    entry->kind = kind;
    entry->path = strdup(!level ? "" : level->path ? level->path : "");
    if (level && level->has_key)
        entry->key = level->key;
    if (!entry->path)
        give_up(reading, at, "not enough memory");
    if (level)
        level->has_key = false;
    return entry->path ? entry : NULL;
}

static void open_level(struct reading *reading, struct yaml_place at, bool is_list)
{
    struct level *parent = top(reading);
    if (parent && parent->is_list) {
        char shown[200];
        config_show_key(shown, sizeof shown, *parent->path ? parent->path : "the file");
        yaml_errors_add(reading->errors, at, "%s: a list holds plain values only", shown);
        reading->skip = 1;
        return;
    }
    if (reading->depth == YAML_DEEPEST) {
        give_up(reading, at, "nested too deeply");
        return;
    }
    struct yaml_entry *entry = begin_value(reading, at, is_list ? YAML_LIST : YAML_MAP);
    if (!entry)
        return;
    struct level *level = &reading->levels[reading->depth++];
    *level = (struct level){.entry = (size_t)(entry - reading->entries->list), .is_list = is_list,
                            .path = strdup(entry->path)};
    if (!level->path)
        give_up(reading, at, "not enough memory");
}

static void close_level(struct reading *reading)
{
    struct level *level = top(reading);
    if (!level)
        return;
    free(level->path);
    level->path = NULL;
    reading->depth--;
}

/* A map's keys replace each other as the last part of its path. */
static char *path_of_key(const struct reading *reading, const struct level *level, const char *key)
{
    const char *map = reading->entries->list[level->entry].path;
    char *path;
    return asprintf(&path, "%s%s%s", map, *map ? "." : "", key) == -1 ? NULL : path;
}

static const struct yaml_entry *find_same(const struct reading *reading, const char *path)
{
    for (size_t i = 0; i < reading->entries->count; i++)
        if (reading->entries->list[i].kind != YAML_ITEM && strcmp(reading->entries->list[i].path, path) == 0)
            return &reading->entries->list[i];
    return NULL;
}

static void take_key(struct reading *reading, struct level *level, const yaml_event_t *event)
{
    struct yaml_place at = place_of(&event->start_mark);
    char *path = path_of_key(reading, level, (const char *)event->data.scalar.value);
    if (!path) {
        give_up(reading, at, "not enough memory");
        return;
    }
    const struct yaml_entry *same = find_same(reading, path);
    if (same) {
        char shown[200];
        config_show_key(shown, sizeof shown, path);
        yaml_errors_add(reading->errors, at, "%s: was given before, in line %u", shown, same->key.line);
    }
    free(level->path);
    level->path = path;
    level->key = at;
    level->has_key = true;
}

static bool is_null(const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*value == '\0' || strcmp(value, "~") == 0 || strcasecmp(value, "null") == 0);
}

static void take_value(struct reading *reading, const yaml_event_t *event)
{
    struct level *level = top(reading);
    bool in_list = level && level->is_list;
    enum yaml_kind kind = in_list ? YAML_ITEM : is_null(event) ? YAML_NULL : YAML_VALUE;
    struct yaml_entry *entry = begin_value(reading, place_of(&event->start_mark), kind);
    if (!entry || kind == YAML_NULL)
        return;
    entry->value = strdup((const char *)event->data.scalar.value);
    if (!entry->value)
        give_up(reading, entry->at, "not enough memory");
}

/* ---- a handler an event ---- */

static void check_properties(struct reading *reading, const yaml_event_t *event, const yaml_char_t *anchor,
                             const yaml_char_t *tag)
{
    if (anchor)
        yaml_errors_add(reading->errors, place_of(&event->start_mark), "an anchor (&): write the value out");
    if (tag)
        yaml_errors_add(reading->errors, place_of(&event->start_mark), "a tag (!): not needed, take it away");
}

static void on_document(struct reading *reading, const yaml_event_t *event)
{
    struct yaml_place at = place_of(&event->start_mark);
    if (++reading->documents > 1)
        give_up(reading, at, "a second document (---): one file is one document");
    else if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
        yaml_errors_add(reading->errors, at, "a %%TAG directive: not needed, take it away");
}

static void on_alias(struct reading *reading, const yaml_event_t *event)
{
    struct level *level = top(reading);
    yaml_errors_add(reading->errors, place_of(&event->start_mark), "an alias (*): write the value out");
    if (level && !level->is_list)
        level->has_key = !level->has_key;
}

static void on_scalar(struct reading *reading, const yaml_event_t *event)
{
    struct level *level = top(reading);
    bool is_key = level && !level->is_list && !level->has_key;
    check_properties(reading, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        give_up(reading, place_of(&event->start_mark), "a NUL byte");
    else if (is_key)
        take_key(reading, level, event);
    else
        take_value(reading, event);
}

/* A map or list as a key: nothing inside of it or behind it means anything. */
static bool is_key_place(struct reading *reading, const yaml_event_t *event)
{
    struct level *level = top(reading);
    if (!level || level->is_list || level->has_key)
        return false;
    give_up(reading, place_of(&event->start_mark), "a key must be plain text");
    return true;
}

static void on_map(struct reading *reading, const yaml_event_t *event)
{
    check_properties(reading, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    if (!is_key_place(reading, event))
        open_level(reading, place_of(&event->start_mark), false);
}

static void on_list(struct reading *reading, const yaml_event_t *event)
{
    check_properties(reading, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    if (!is_key_place(reading, event))
        open_level(reading, place_of(&event->start_mark), true);
}

static void on_end(struct reading *reading, const yaml_event_t *event)
{
    (void)event;
    close_level(reading);
}

static void (*const handlers[])(struct reading *reading, const yaml_event_t *event) = {
    [YAML_NO_EVENT] = NULL,
    [YAML_STREAM_START_EVENT] = NULL,
    [YAML_STREAM_END_EVENT] = NULL,
    [YAML_DOCUMENT_START_EVENT] = on_document,
    [YAML_DOCUMENT_END_EVENT] = NULL,
    [YAML_ALIAS_EVENT] = on_alias,
    [YAML_SCALAR_EVENT] = on_scalar,
    [YAML_SEQUENCE_START_EVENT] = on_list,
    [YAML_SEQUENCE_END_EVENT] = on_end,
    [YAML_MAPPING_START_EVENT] = on_map,
    [YAML_MAPPING_END_EVENT] = on_end,
};

/* While something is left out, only its end counts. */
static void handle(struct reading *reading, const yaml_event_t *event)
{
    bool opens = event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    if (reading->skip > 0)
        reading->skip = reading->skip + opens - closes;
    else if (handlers[event->type])
        handlers[event->type](reading, event);
}

/* ---- syntax ---- */

/* libyaml's reader knows a byte's offset only. */
static struct yaml_place place_of_offset(const char *bytes, size_t offset)
{
    struct yaml_place place = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        place.line += bytes[i] == '\n';
        place.column = bytes[i] == '\n' ? 1 : place.column + ((bytes[i] & 0xc0) != 0x80);
    }
    return place;
}

static bool is_indented_by_tab(const char *bytes, size_t size, size_t line)
{
    const char *at = bytes, *end = bytes + size;
    for (; line > 0 && at; line--) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    while (at && at < end && *at == ' ')
        at++;
    return at && at < end && *at == '\t';
}

static void tell_syntax(const yaml_parser_t *parser, const char *bytes, size_t size, struct yaml_errors *errors)
{
    const char *problem = parser->problem ? parser->problem : "cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        yaml_errors_add(errors, place_of(&parser->mark), "not enough memory");
    else if (parser->error == YAML_READER_ERROR)
        yaml_errors_add(errors, place_of_offset(bytes, parser->problem_offset < size ? parser->problem_offset : size),
                        "%s: the file must be UTF-8 text", problem);
    else if (is_indented_by_tab(bytes, size, parser->problem_mark.line))
        yaml_errors_add(errors, place_of(&parser->problem_mark), "a tab in the indentation: YAML wants blanks");
    else
        yaml_errors_add(errors, place_of(&parser->problem_mark), "no valid YAML: %s%s%s", problem,
                        parser->context ? " " : "", parser->context ? parser->context : "");
}

static void read_events(yaml_parser_t *parser, struct reading *reading, const char *bytes, size_t size)
{
    bool at_end = false;
    while (!reading->stop && !at_end) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            tell_syntax(parser, bytes, size, reading->errors);
            return;
        }
        at_end = event.type == YAML_STREAM_END_EVENT;
        handle(reading, &event);
        yaml_event_delete(&event);
    }
}

static bool is_utf16(const char *bytes, size_t size)
{
    return size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0);
}

/* libyaml's scanner looks at every open bracket again for each further one: a megabyte of '[' would take it minutes,
 * before the first event. No file that is taken has as many as this. */
static bool has_too_many_brackets(const char *bytes, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '[' || bytes[i] == '{';
    return count > 4 * YAML_MOST_ENTRIES;
}

void yaml_read(const char *bytes, size_t size, struct yaml_entries *entries, struct yaml_errors *errors)
{
    struct reading reading = {.entries = entries, .errors = errors};
    struct yaml_place begin = {1, 1};
    yaml_parser_t parser;
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark counts as no column */
        bytes += 3;
        size -= 3;
    }
    if (is_utf16(bytes, size)) {
        yaml_errors_add(errors, begin, "the file is UTF-16: save it as UTF-8");
        return;
    }
    if (has_too_many_brackets(bytes, size)) {
        yaml_errors_add(errors, begin, "more than %d brackets", 4 * YAML_MOST_ENTRIES);
        return;
    }
    if (!yaml_parser_initialize(&parser)) {
        yaml_errors_add(errors, begin, "not enough memory");
        return;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, size);
    read_events(&parser, &reading, bytes, size);
    while (reading.depth > 0)
        close_level(&reading);
    yaml_parser_delete(&parser);
}
