/* What is in force, as YAML. Passwords never get out of here: every parameter goes through show_param(). */
#include "config/print.h"

#include <string.h>

#include "config/url.h"
#include "config/value.h"

enum { COMMENT_COLUMN = 40 };

void print_origin(const struct config *config, const struct key *key, struct text *text)
{
    const struct config_origin *origin = &config->origins[key - keys];
    if (origin->source == FROM_DEFAULT)
        text_add(text, "default");
    else if (origin->source == FROM_FILE)
        text_add(text, "%s:%u:%u", config->file, origin->line, origin->column);
    else
        text_add_escaped(text, origin->written, strcspn(origin->written, "="));
}

static bool is_plain(const char *value)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:";
    size_t length = strlen(value);
    return length > 0 && value[strspn(value, letters)] == '\0' && !strchr("-.:", value[0]) &&
           value[length - 1] != ':' && strcasecmp(value, "null") != 0;
}

void print_scalar(const char *value, struct text *text)
{
    if (is_plain(value)) {
        text_add(text, "%s", value);
        return;
    }
    text_add(text, "\"");
    for (const char *at = value; *at;) {
        size_t length = strcspn(at, "\"\\");
        text_add_escaped(text, at, length);
        at += length;
        if (*at)
            text_add(text, "\\%c", *at++);
    }
    text_add(text, "\"");
}

const char *print_section(FILE *stream, const struct key *before, const struct key *key)
{
    const char *dot = strchr(key->name, '.');
    size_t length = dot ? (size_t)(dot - key->name) + 1 : 0;
    if (dot && !(before && strncmp(before->name, key->name, length) == 0))
        fprintf(stream, "%.*s:\n", (int)length - 1, key->name);
    return dot ? dot + 1 : key->name;
}

/* ---- targets ---- */

static const char *show_param(const char *params, const char *keyword)
{
    const char *value = url_param(params, keyword);
    return value && url_param_is_secret(keyword) ? "****" : value;
}

/* libpq's rules: blanks, quotes and backslashes make a value stand in quotes. */
static void add_conninfo_value(struct text *text, const char *value)
{
    if (!strpbrk(value, " \t\n\r'\\") && *value) {
        text_add(text, "%s", value);
        return;
    }
    text_add(text, "'");
    for (; *value; value++)
        text_add(text, strchr("'\\", *value) ? "\\%c" : "%c", *value);
    text_add(text, "'");
}

static void add_conninfo(const char *params, struct text *text)
{
    for (const char *at = params; *at; at += strlen(at) + 1) {
        char keyword[64] = "";
        size_t length = strcspn(at, "=");
        memcpy(keyword, at, length < sizeof keyword ? length : sizeof keyword - 1);
        text_add(text, "%s%s=", at == params ? "" : " ", keyword);
        add_conninfo_value(text, show_param(params, keyword));
    }
}

static void add_percent_encoded(struct text *text, const char *value, const char *also_plain)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (; *value; value++)
        if (strchr(plain, *value) || strchr(also_plain, *value))
            text_add(text, "%c", *value);
        else
            text_add(text, "%%%02X", (unsigned)(unsigned char)*value);
}

static void add_redis_user(const char *params, struct text *text)
{
    const char *user = url_param(params, "user"), *password = show_param(params, "password");
    if (user)
        add_percent_encoded(text, user, "");
    if (password)
        text_add(text, ":%s", password);
    if (user || password)
        text_add(text, "@");
}

static void add_redis(const char *params, struct text *text)
{
    const char *path = url_param(params, "path"), *db = url_param(params, "db"), *host = url_param(params, "host");
    text_add(text, "%s://", path ? "unix" : "redis");
    add_redis_user(params, text);
    if (path)
        add_percent_encoded(text, path, "/");
    else if (host)
        text_add(text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, url_param(params, "port"));
    if (db)
        text_add(text, "%s%s", path ? "?db=" : "/", db);
}

void print_target_url(const struct config_target *target, struct text *text)
{
    if (target->kind == TARGET_REDIS)
        add_redis(target->params, text);
    else
        add_conninfo(target->params, text);
}

static void print_target(const struct config *config, const struct config_target *target, FILE *stream)
{
    static const char *const kinds[] = {
        [TARGET_POSTGRES] = "postgres", [TARGET_PGBOUNCER] = "pgbouncer", [TARGET_REDIS] = "redis"};
    char url[2 * WIRE_PARAMS], scalar[4 * WIRE_PARAMS];
    struct text url_text = text_in(url, sizeof url), text = text_in(scalar, sizeof scalar);
    print_target_url(target, &url_text);
    print_scalar(url, &text);
    int width = fprintf(stream, "  %s:", target->name);
    fprintf(stream, "%*s# %s\n", width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 1, "", target->origin);
    fprintf(stream, "    kind: %s\n    url: %s\n", kinds[target->kind], scalar);
    if (target->limit >= 0)
        fprintf(stream, "    limit: %d\n", target->limit);
    if (target->server >= 0 && target->kind == TARGET_PGBOUNCER)
        fprintf(stream, "    server: %s\n", config->targets[target->server].name);
    if (target->look_only)
        fprintf(stream, "    look_only: true\n");
}

/* ---- keys ---- */

/* The default of `instance` is made up: shown as what it was made of. */
static void print_key(const struct config *config, const struct key *key, const char *name, FILE *stream)
{
    char value[3000], scalar[4000], from[300]; /* exit_codes may be long, others are not */
    struct text value_text = text_in(value, sizeof value), text = text_in(scalar, sizeof scalar);
    struct text origin = text_in(from, sizeof from);
    bool made_up = key->type == KEY_NAME && config->origins[key - keys].source == FROM_DEFAULT;
    value_format(config, key, &value_text);
    if (value_is_list(config, key))
        text_add(&text, "%s", value); /* a list or a map */
    else
        print_scalar(made_up ? "" : value, &text);
    print_origin(config, key, &origin);
    int width = fprintf(stream, "%s%s: %s", strchr(key->name, '.') ? "  " : "", name, scalar);
    fprintf(stream, "%*s# %s%s%s\n", width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 1, "", from, made_up ? ": " : "",
            made_up ? value : "");
}

/* Keys that the file cannot hold are shown as comments, when they are set. */
static void print_outside(const struct config *config, FILE *stream)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        char value[300], from[300];
        struct text text = text_in(value, sizeof value), origin = text_in(from, sizeof from);
        if (!keys[i].not_in_file || config->origins[i].source == FROM_DEFAULT)
            continue;
        value_format(config, &keys[i], &text);
        print_origin(config, &keys[i], &origin);
        fprintf(stream, "# %s: %s (%s)\n", keys[i].name, value, from);
    }
}

int config_print(const struct config *config, void *stdio_stream)
{
    FILE *stream = stdio_stream;
    const struct key *before = NULL;
    print_outside(config, stream);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (keys[i].not_in_file)
            continue;
        print_key(config, &keys[i], print_section(stream, before, &keys[i]), stream);
        before = &keys[i];
    }
    if (config->target_count == 0)
        fprintf(stream, "targets: {}%*s# %s\n", COMMENT_COLUMN - 11, "",
                config->targets_in_file ? "none, as the file says"
                                        : "none: no file names one, nor do DATABASE_URL, REDIS_URL");
    else
        fprintf(stream, "targets:\n");
    for (size_t i = 0; i < config->target_count; i++)
        print_target(config, &config->targets[i], stream);
    return fflush(stream) == 0 && !ferror(stream) ? 0 : -1;
}
