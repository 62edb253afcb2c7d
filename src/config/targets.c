/* `targets:` of the file: name → {kind, url …}. A first pass takes the fields as text with their places, a second one
 * makes targets of them, because `server` may name a target that stands further down. */
#include "config/targets.h"

#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "config/errors.h"
#include "config/nearest.h"
#include "config/source.h"
#include "config/value.h"

const struct target_field target_fields[TARGET_FIELDS] = {
    [TARGET_FIELD_KIND] = {"kind", "postgres", "postgres, pgbouncer or redis; default: what the URL says"},
    [TARGET_FIELD_URL] = {"url", "postgresql://app@db:5432/app",
                          "how the app connects: a URL or libpq's key=value string"},
    [TARGET_FIELD_URL_ENV] = {"url_env", "PRIMARY_URL", "instead of url: the environment variable that holds it"},
    [TARGET_FIELD_URL_FILE] = {"url_file", "/run/secrets/primary_url", "instead of url: the file that holds it"},
    [TARGET_FIELD_LIMIT] = {"limit", "20",
                            "connections the app's own pool may open; default: connection_limit of the URL"},
    [TARGET_FIELD_SERVER] = {"server", "direct", "pgbouncer: the name of the postgres target behind it"},
    [TARGET_FIELD_LOOK_ONLY] = {"look_only", "true", "the app does not use it: lastcall only looks through it"},
};

/* One target as the file has it. */
struct written {
    const char *name; /* into its entry */
    struct yaml_place at;
    const struct yaml_entry *fields[TARGET_FIELDS];
    struct config_target *target; /* NULL: could not be made */
};

struct taking {
    struct config *config;
    struct yaml_errors *errors;
    struct written list[WIRE_TARGETS];
    size_t count;
};

struct config_target *targets_add(struct config *config, const char *name, const char *origin)
{
    if (config->target_count == WIRE_TARGETS)
        return NULL;
    struct config_target *target = &config->targets[config->target_count++];
    *target = (struct config_target){.server = -1, .limit = -1};
    text_copy(target->name, sizeof target->name, name);
    text_copy(target->origin, sizeof target->origin, origin);
    return target;
}

void targets_apply_url(struct config_target *target, const struct url_target *url)
{
    target->kind = url->kind;
    target->limit = url->limit;
    memcpy(target->params, url->params, sizeof target->params);
    if (*url->stripped)
        log_debug("target %s: left out of its URL: %s", target->name, url->stripped);
}

/* ---- first pass: entries → written ---- */

static const char *behind_targets(const char *path)
{
    return strncmp(path, "targets.", 8) == 0 ? path + 8 : NULL;
}

static void tell_unknown_field(struct taking *taking, const struct yaml_entry *entry, const char *field)
{
    char shown[200];
    struct nearest nearest = nearest_to(field);
    for (size_t i = 0; i < TARGET_FIELDS; i++)
        nearest_offer(&nearest, target_fields[i].name, target_fields[i].name);
    const char *best = nearest_found(&nearest);
    config_show_key(shown, sizeof shown, entry->path);
    yaml_errors_add(taking->errors, entry->key, "%s: unknown key%s%s%s", shown, best ? ": did you mean " : "",
                    best ? best : "", best ? "?" : "");
}

static void take_field(struct taking *taking, struct written *written, const struct yaml_entry *entry,
                       const char *field)
{
    size_t row = 0;
    while (row < TARGET_FIELDS && strcmp(target_fields[row].name, field) != 0)
        row++;
    if (strchr(field, '.'))
        return; /* below something that was told */
    if (row == TARGET_FIELDS)
        tell_unknown_field(taking, entry, field);
    else if (entry->kind == YAML_MAP || entry->kind == YAML_LIST)
        yaml_errors_add(taking->errors, entry->at, "%s: must be a plain value", entry->path);
    else if (entry->kind == YAML_VALUE && *entry->value)
        written->fields[row] = entry;
}

static void begin_target(struct taking *taking, const struct yaml_entry *entry, const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    char shown[200];
    config_show_key(shown, sizeof shown, entry->path);
    if (!*name || name[strspn(name, letters)] || strlen(name) >= WIRE_NAME)
        yaml_errors_add(taking->errors, entry->key, "%s: a target's name is at most %d letters, digits, '_' and '-'",
                        shown, WIRE_NAME - 1);
    else if (entry->kind != YAML_MAP)
        yaml_errors_add(taking->errors, entry->at, "%s: must be a map with url, url_env or url_file", shown);
    else if (taking->count == WIRE_TARGETS)
        yaml_errors_add(taking->errors, entry->key, "%s: more than %d targets", shown, WIRE_TARGETS);
    else
        taking->list[taking->count++] = (struct written){.name = name, .at = entry->key};
}

static struct written *find_written(struct taking *taking, const char *name, size_t length)
{
    for (size_t i = 0; i < taking->count; i++)
        if (strlen(taking->list[i].name) == length && strncmp(taking->list[i].name, name, length) == 0)
            return &taking->list[i];
    return NULL;
}

static void take_entry(struct taking *taking, const struct yaml_entry *entry)
{
    const char *name = behind_targets(entry->path);
    if (!name || entry->kind == YAML_ITEM)
        return;
    const char *dot = strchr(name, '.');
    struct written *written = find_written(taking, name, dot ? (size_t)(dot - name) : strlen(name));
    if (!dot && !written)
        begin_target(taking, entry, name);
    else if (dot && written)
        take_field(taking, written, entry, dot + 1);
}

/* ---- second pass: written → targets ---- */

static void field_error(struct taking *taking, const struct written *written, enum target_field_id id,
                        const char *story)
{
    yaml_errors_add(taking->errors, written->fields[id]->at, "targets.%s.%s%s%s", written->name, target_fields[id].name,
                    *story == ',' ? "" : ": ", story);
}

/* The one of the three that was given, or TARGET_FIELDS after an error was told. */
static enum target_field_id choose_url(struct taking *taking, const struct written *written)
{
    static const enum target_field_id ids[] = {TARGET_FIELD_URL, TARGET_FIELD_URL_ENV, TARGET_FIELD_URL_FILE};
    enum target_field_id chosen = TARGET_FIELDS;
    for (size_t i = 0; i < 3; i++) {
        if (!written->fields[ids[i]])
            continue;
        if (chosen != TARGET_FIELDS) {
            field_error(taking, written, ids[i], "only one of url, url_env and url_file may be given");
            return TARGET_FIELDS;
        }
        chosen = ids[i];
    }
    if (chosen == TARGET_FIELDS)
        yaml_errors_add(taking->errors, written->at, "targets.%s: url, url_env or url_file is missing", written->name);
    return chosen;
}

/* The URL on the heap, or NULL after an error was told. */
static char *fetch_url(struct taking *taking, const struct written *written, enum target_field_id id)
{
    const char *value = written->fields[id]->value;
    struct error error;
    char *url = NULL;
    if (id == TARGET_FIELD_URL)
        return strdup(value);
    if (id == TARGET_FIELD_URL_ENV) {
        const char *set = getenv(value);
        url = set && *set ? strdup(set) : NULL;
        if (!url)
            field_error(taking, written, id, "that environment variable is not set");
        return url;
    }
    url = source_read_secret(value, &error);
    if (!url) {
        struct error story;
        error_set(&story, "%.200s %.200s", value, error.text);
        field_error(taking, written, id, story.text);
    }
    return url;
}

static int read_url(struct taking *taking, const struct written *written, struct url_target *target)
{
    struct error error, story;
    enum target_field_id id = choose_url(taking, written);
    char *url _cleanup_free_ = id == TARGET_FIELDS ? NULL : fetch_url(taking, written, id);
    if (!url)
        return -1;
    if (url_read(target, url, &error) == URL_OK)
        return 0;
    error_set(&story, ", %s", error.text);
    field_error(taking, written, id, story.text);
    return -1;
}

static void take_kind(struct taking *taking, const struct written *written)
{
    static const enum target_kind kinds[] = {TARGET_POSTGRES, TARGET_PGBOUNCER, TARGET_REDIS};
    static const char *const names[] = {"postgres", "pgbouncer", "redis"};
    const struct yaml_entry *field = written->fields[TARGET_FIELD_KIND];
    if (!field)
        return;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(names[i], field->value) != 0)
            continue;
        if ((kinds[i] == TARGET_REDIS) != (written->target->kind == TARGET_REDIS))
            field_error(taking, written, TARGET_FIELD_KIND, "the URL is of another kind");
        else
            written->target->kind = kinds[i];
        return;
    }
    field_error(taking, written, TARGET_FIELD_KIND, "must be postgres, pgbouncer or redis");
}

static void take_limit(struct taking *taking, const struct written *written)
{
    const struct yaml_entry *field = written->fields[TARGET_FIELD_LIMIT];
    if (!field)
        return;
    size_t digits = strspn(field->value, "0123456789");
    long limit = strtol(field->value, NULL, 10);
    if (digits == 0 || digits > 6 || field->value[digits] || limit < 1 || limit > 100000)
        field_error(taking, written, TARGET_FIELD_LIMIT, "must be a whole number from 1 to 100000");
    else
        written->target->limit = (int)limit;
}

static void take_look_only(struct taking *taking, const struct written *written)
{
    const struct yaml_entry *field = written->fields[TARGET_FIELD_LOOK_ONLY];
    if (field && value_parse_bool(field->value, &written->target->look_only) == -1)
        field_error(taking, written, TARGET_FIELD_LOOK_ONLY, "must be true or false");
}

static void make_target(struct taking *taking, struct written *written)
{
    char origin[512];
    struct url_target url;
    struct text text = text_in(origin, sizeof origin);
    if (read_url(taking, written, &url) == -1)
        return;
    text_add(&text, "%s:%u:%u", taking->config->file, written->at.line, written->at.column);
    written->target = targets_add(taking->config, written->name, origin);
    targets_apply_url(written->target, &url);
    take_kind(taking, written);
    take_limit(taking, written);
    take_look_only(taking, written);
}

static void take_server(struct taking *taking, const struct written *written)
{
    const struct yaml_entry *field = written->fields[TARGET_FIELD_SERVER];
    if (!field || !written->target)
        return;
    const struct written *server = find_written(taking, field->value, strlen(field->value));
    if (written->target->kind != TARGET_PGBOUNCER)
        field_error(taking, written, TARGET_FIELD_SERVER,
                    "only a pgbouncer has a server behind it: add kind: pgbouncer");
    else if (!server)
        field_error(taking, written, TARGET_FIELD_SERVER, "there is no target of that name");
    else if (server->target && server->target->kind != TARGET_POSTGRES)
        field_error(taking, written, TARGET_FIELD_SERVER, "must name a postgres target");
    else if (server->target)
        written->target->server = (int)(server->target - taking->config->targets);
}

void targets_take_file(struct config *config, const struct yaml_entries *entries, struct yaml_errors *errors)
{
    struct taking taking = {.config = config, .errors = errors};
    for (size_t i = 0; i < entries->count; i++)
        take_entry(&taking, &entries->list[i]);
    for (size_t i = 0; i < taking.count; i++)
        make_target(&taking, &taking.list[i]);
    for (size_t i = 0; i < taking.count; i++)
        take_server(&taking, &taking.list[i]);
}
