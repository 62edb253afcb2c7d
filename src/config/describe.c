/* The example file and the reference, written by the tables of keys and of target fields, so that neither can be out of
 * date: a test compares what is in the tree with this output. */
#include <string.h>

#include "config/print.h"
#include "config/targets.h"
#include "config/value.h"

/* "LASTCALL_GRACE_PERIOD, LASTCALL_GRACE, --grace TIME" */
static void add_other_ways(const struct key *key, struct text *text, const char *quote)
{
    char name[64];
    key_environment_name(key, name);
    text_add(text, "%s%s%s", quote, name, quote);
    if (key->short_environment)
        text_add(text, ", %s%s%s", quote, key->short_environment, quote);
    if (key->option)
        text_add(text, ", %s--%s %s%s", quote, key->option, key->argument, quote);
}

static void print_example_key(const struct key *key, const char *name, FILE *stream)
{
    char type[160], ways[160];
    struct text type_text = text_in(type, sizeof type), ways_text = text_in(ways, sizeof ways);
    const char *indent = strchr(key->name, '.') ? "  " : "";
    value_describe(key, &type_text);
    add_other_ways(key, &ways_text, "");
    fprintf(stream, "%s# %s\n", indent, key->help);
    fprintf(stream, "%s# %s; also %s\n", indent, type, ways);
    if (*key->fallback)
        fprintf(stream, "%s%s: %s\n\n", indent, name, key->fallback);
    else
        fprintf(stream, "%s#%s: %s\n\n", indent, name, key->example ? key->example : "");
}

static void print_example_targets(FILE *stream)
{
    fprintf(
        stream,
        "# The servers that the app uses. Without this key they are taken from DATABASE_URL, DATABASE_URL_DIRECT (or\n"
        "# DIRECT_URL, DIRECT_DATABASE_URL, DATABASE_URL_UNPOOLED) and REDIS_URL, each also with _FILE appended: the\n"
        "# file that holds it. `targets: {}` means none. Of url, url_env and url_file a target has exactly one.\n");
    for (size_t i = 0; i < TARGET_FIELDS; i++)
        fprintf(stream, "#   %-10s %s\n", target_fields[i].name, target_fields[i].help);
    fprintf(stream, "#targets:\n"
                    "#  primary:\n"
                    "#    kind: pgbouncer\n"
                    "#    url_env: DATABASE_URL\n"
                    "#    limit: 20\n"
                    "#    server: direct\n"
                    "#  direct:\n"
                    "#    url_file: /run/secrets/direct_url\n"
                    "#    look_only: true\n"
                    "#  cache:\n"
                    "#    url: redis://cache:6379/0\n");
}

int print_example(FILE *stream)
{
    const struct key *before = NULL;
    fprintf(stream, "# lastcall.yaml: every key with its default; `lastcall check --example` prints this file.\n"
                    "# An option goes before the environment, that before this file, that before the default.\n"
                    "# `lastcall check --config FILE` tells all that is wrong with a file, and what is in force.\n"
                    "# Durations: 500ms, 10s, 1m30s, 2h; a plain number is seconds.\n\n");
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (keys[i].not_in_file)
            continue;
        print_example_key(&keys[i], print_section(stream, before, &keys[i]), stream);
        before = &keys[i];
    }
    print_example_targets(stream);
    return fflush(stream) == 0 && !ferror(stream) ? 0 : -1;
}

/* A '|' would end the cell. */
static void print_cell(const char *value, FILE *stream)
{
    for (; *value; value++)
        fprintf(stream, *value == '|' ? "\\%c" : "%c", *value);
    fprintf(stream, " | ");
}

static void print_reference_key(const struct key *key, FILE *stream)
{
    char type[160], ways[160], fallback[64];
    struct text type_text = text_in(type, sizeof type), ways_text = text_in(ways, sizeof ways);
    struct text fallback_text = text_in(fallback, sizeof fallback);
    value_describe(key, &type_text);
    add_other_ways(key, &ways_text, "`");
    if (*key->fallback)
        text_add(&fallback_text, "`%s`", key->fallback);
    fprintf(stream, "| %s%s%s | ", key->not_in_file ? "" : "`", key->not_in_file ? "(not in the file)" : key->name,
            key->not_in_file ? "" : "`");
    print_cell(fallback, stream);
    print_cell(type, stream);
    print_cell(key->help, stream);
    fprintf(stream, "%s |\n", ways);
}

int print_reference(FILE *stream)
{
    fprintf(stream, "| key | default | value | meaning | also |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        print_reference_key(&keys[i], stream);
    fprintf(stream, "\nEach of `targets` is a name with these keys; of `url`, `url_env` and `url_file` exactly one:\n\n"
                    "| key | example | meaning |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < TARGET_FIELDS; i++)
        fprintf(stream, "| `%s` | `%s` | %s |\n", target_fields[i].name, target_fields[i].example,
                target_fields[i].help);
    return fflush(stream) == 0 && !ferror(stream) ? 0 : -1;
}
