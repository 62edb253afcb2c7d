/* Entries of the file against the table of keys. What is unknown is an error, with the nearest known key. */
#include "config/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "config/errors.h"
#include "config/keys.h"
#include "config/nearest.h"
#include "config/source.h"
#include "config/targets.h"
#include "config/value.h"
#include "config/yaml.h"

struct loading {
    struct config *config;
    const struct yaml_entries *entries;
    struct yaml_errors *errors;
    const char *told; /* path of a map or list that was told: what is below it is left out */
};

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* "settle" alone and "grace" mean what ends so or is written so as an option. */
const char *file_nearest_key(const char *path)
{
    static char sections[CONFIG_KEYS][32];
    struct nearest nearest = nearest_to(path), part = nearest_to(path);
    nearest_offer(&nearest, "targets", "targets");
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (keys[i].not_in_file)
            continue;
        nearest_offer(&nearest, keys[i].name, keys[i].name);
        text_copy(sections[i], sizeof sections[i], keys[i].name);
        sections[i][strcspn(sections[i], ".")] = '\0';
        if (!strchr(path, '.'))
            nearest_offer(&nearest, sections[i], sections[i]);
        nearest_offer(&part, last_part(keys[i].name), keys[i].name);
        if (keys[i].option)
            nearest_offer(&part, keys[i].option, keys[i].name);
    }
    return nearest_found(&nearest) ? nearest_found(&nearest) : nearest_found(&part);
}

static void tell_unknown(struct loading *loading, const struct yaml_entry *entry)
{
    char shown[200];
    const char *best = file_nearest_key(entry->path);
    config_show_key(shown, sizeof shown, entry->path);
    yaml_errors_add(loading->errors, entry->key, "%s: unknown key%s%s%s", shown, best ? ": did you mean " : "",
                    best ? best : "", best ? "?" : "");
}

static void set_origin(struct config *place, const struct key *key, const struct yaml_entry *entry)
{
    place->origins[key - keys] =
        (struct config_origin){.source = FROM_FILE, .line = entry->at.line, .column = entry->at.column};
}

static void take_value(struct loading *loading, const struct key *key, const struct yaml_entry *entry)
{
    struct error error;
    struct config *place = value_place(loading->config, key, FROM_FILE);
    if (value_set(place, key, entry->value, &error) == -1)
        yaml_errors_add(loading->errors, entry->at, "%s: %s", key->name, error.text);
    set_origin(place, key, entry);
}

static void tell_kind(struct loading *loading, const struct key *key, const struct yaml_entry *entry)
{
    char wanted[128];
    struct text text = text_in(wanted, sizeof wanted);
    value_describe(key, &text);
    yaml_errors_add(loading->errors, entry->at, "%s: must be %s, not a %s", key->name, wanted,
                    entry->kind == YAML_MAP ? "map" : "list");
    loading->told = entry->path;
}

static bool is_below(const char *path, const char *above)
{
    size_t length = strlen(above);
    return strncmp(path, above, length) == 0 && (length == 0 || path[length] == '.' || path[length] == '\0');
}

static void tell_pair(struct loading *loading, const struct key *key, const struct yaml_entry *pair, const char *name)
{
    char shown[100];
    config_show_key(shown, sizeof shown, name);
    yaml_errors_add(loading->errors, pair->at, "%s: %s: must be one value", key->name, shown);
}

/* What is below a map follows it. */
static void take_map(struct loading *loading, const struct key *key, const struct yaml_entry *map)
{
    struct error error;
    char item[128];
    const char *told = NULL; /* one that is itself a map or a list */
    const struct yaml_entry *end = loading->entries->list + loading->entries->count;
    struct config *place = value_place(loading->config, key, FROM_FILE);
    value_clear_items(place, key);
    set_origin(place, key, map);
    loading->told = map->path;
    for (const struct yaml_entry *pair = map + 1; pair < end && is_below(pair->path, map->path); pair++) {
        const char *name = pair->path + strlen(map->path) + 1;
        if (told && is_below(pair->path, told))
            continue;
        snprintf(item, sizeof item, "%s:%s", name, pair->value ? pair->value : "");
        told = pair->kind == YAML_VALUE ? NULL : pair->path;
        if (told)
            tell_pair(loading, key, pair, name);
        else if (value_add_item(place, key, item, &error) == -1)
            yaml_errors_add(loading->errors, pair->at, "%s: %s", key->name, error.text);
    }
}

/* The items of a list follow it, with its path. */
static void take_list(struct loading *loading, const struct key *key, const struct yaml_entry *list)
{
    struct error error;
    const struct yaml_entry *end = loading->entries->list + loading->entries->count;
    const struct yaml_entry *item = list + 1;
    struct config *place = value_place(loading->config, key, FROM_FILE);
    value_clear_items(place, key);
    set_origin(place, key, list);
    for (; item < end && item->kind == YAML_ITEM; item++)
        if (value_add_item(place, key, item->value, &error) == -1)
            yaml_errors_add(loading->errors, item->at, "%s: %s", key->name, error.text);
    if (item == list + 1 && key->type == KEY_SIGNALS)
        yaml_errors_add(loading->errors, list->at, "%s: names no signal: write [TERM, INT]", key->name);
}

static void take_key(struct loading *loading, const struct key *key, const struct yaml_entry *entry)
{
    char name[64];
    if (key->not_in_file) {
        key_environment_name(key, name);
        yaml_errors_add(loading->errors, entry->key, "%s: cannot be set in the file: use %s", key->name, name);
    } else if (entry->kind == YAML_VALUE) {
        take_value(loading, key, entry);
    } else if (entry->kind == YAML_LIST && value_has_items(key)) {
        take_list(loading, key, entry);
    } else if (entry->kind == YAML_MAP && value_is_map(key)) {
        take_map(loading, key, entry);
    } else if (entry->kind != YAML_NULL) {
        tell_kind(loading, key, entry);
    }
}

static void take_section(struct loading *loading, const struct yaml_entry *entry)
{
    if (entry->kind == YAML_MAP || entry->kind == YAML_NULL)
        return;
    yaml_errors_add(loading->errors, entry->at, "%s: must be a map of keys", *entry->path ? entry->path : "the file");
    loading->told = entry->path;
}

static void take_entry(struct loading *loading, const struct yaml_entry *entry)
{
    const struct key *key = key_find(entry->path);
    if (entry->kind == YAML_ITEM || strncmp(entry->path, "targets.", 8) == 0)
        return;
    if (loading->told && is_below(entry->path, loading->told))
        return;
    if (key) {
        take_key(loading, key, entry);
    } else if (*entry->path == '\0' || strcmp(entry->path, "targets") == 0 || key_is_section(entry->path)) {
        take_section(loading, entry);
    } else {
        tell_unknown(loading, entry);
        loading->told = entry->path;
    }
    if (strcmp(entry->path, "targets") == 0 && entry->kind == YAML_MAP)
        loading->config->targets_in_file = true;
}

static void hand_over(const struct yaml_errors *found, const char *name, struct config_errors *errors)
{
    size_t room = sizeof found->list / sizeof *found->list;
    for (size_t i = 0; i < found->count; i++) {
        const struct yaml_error *error = &found->list[i < room ? i : room - 1];
        config_errors_add(errors, "%.150s:%u:%u: %.300s", name, error->at.line, error->at.column, error->error.text);
    }
}

void file_load_bytes(struct config *config, const char *name, const char *bytes, size_t size,
                     struct config_errors *errors)
{
    struct yaml_entries entries = {0};
    struct yaml_errors *found _cleanup_free_ = calloc(1, sizeof *found);
    if (!found) {
        config_errors_add(errors, "%.200s: not enough memory", name);
        return;
    }
    yaml_read(bytes, size, &entries, found);
    struct loading loading = {.config = config, .entries = &entries, .errors = found};
    for (size_t i = 0; i < entries.count; i++)
        take_entry(&loading, &entries.list[i]);
    log_set_level(config->log_level); /* targets say at debug level what they leave out */
    targets_take_file(config, &entries, found);
    yaml_errors_sort(found);
    hand_over(found, name, errors);
    yaml_entries_finish(&entries);
}

void file_load(struct config *config, struct config_errors *errors)
{
    struct error error;
    size_t size;
    char *bytes _cleanup_free_ = source_read(config->file, YAML_LARGEST, &size, &error);
    if (!bytes) {
        config_errors_add(errors, "%.250s: %.200s", config->file, error.text);
        return;
    }
    file_load_bytes(config, config->file, bytes, size, errors);
}
