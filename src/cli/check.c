/* `lastcall check`: all that is wrong with a configuration, or all that is in force, and what this machine lacks for
 * it. Starts nothing, connects nowhere. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#include "cli/options.h"
#include "cli/verbs.h"
#include "common/text.h"
#include "config/errors.h"
#include "config/keys.h"
#include "config/print.h"
#include "config/value.h"
#include "supervisor/supervisor.h"

/* jansson takes valid UTF-8 only. */
static json_t *json_text(const char *value)
{
    char shown[4 * WIRE_PARAMS];
    struct text text = text_in(shown, sizeof shown);
    text_add_escaped(&text, value, strlen(value));
    return json_string(shown);
}

static json_t *json_key(const struct config *config, const struct key *key)
{
    char value[3000], from[300];
    struct text text = text_in(value, sizeof value), origin = text_in(from, sizeof from);
    value_format(config, key, &text);
    print_origin(config, key, &origin);
    json_t *shown = key->type == KEY_BOOL ? json_boolean(strcmp(value, "true") == 0) : json_text(value);
    return json_pack("{s:o, s:o}", "value", shown, "from", json_text(from));
}

static json_t *json_target(const struct config *config, const struct config_target *target)
{
    static const char *const kinds[] = {
        [TARGET_POSTGRES] = "postgres", [TARGET_PGBOUNCER] = "pgbouncer", [TARGET_REDIS] = "redis"};
    char url[2 * WIRE_PARAMS];
    struct text text = text_in(url, sizeof url);
    print_target_url(target, &text);
    json_t *limit = target->limit >= 0 ? json_integer(target->limit) : json_null();
    json_t *server = target->server >= 0 ? json_text(config->targets[target->server].name) : json_null();
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:b, s:o}", "name", json_text(target->name), "kind",
                     kinds[target->kind], "url", json_text(url), "limit", limit, "server", server, "look_only",
                     target->look_only, "from", json_text(target->origin));
}

static size_t listed(const struct config_errors *errors)
{
    return MIN(errors->count, sizeof errors->list / sizeof *errors->list);
}

/* `valid` is true when there is no error. */
static json_t *json_errors(const struct config_errors *errors)
{
    json_t *list = json_array();
    for (size_t i = 0; i < listed(errors); i++)
        json_array_append_new(list, json_text(errors->list[i].text));
    return json_pack("{s:s, s:b, s:o, s:I}", "schema", "lastcall.check/1", "valid", errors->count == 0, "errors", list,
                     "error_count", (json_int_t)errors->count);
}

static json_t *json_config(const struct config *config, const struct config_errors *errors)
{
    json_t *values = json_object(), *targets = json_array(), *all = json_errors(errors);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        json_object_set_new(values, keys[i].name, json_key(config, &keys[i]));
    for (size_t i = 0; i < config->target_count; i++)
        json_array_append_new(targets, json_target(config, &config->targets[i]));
    json_object_set_new(all, "keys", values);
    json_object_set_new(all, "targets", targets);
    return all;
}

static int print_json(json_t *json)
{
    int failed =
        !json || json_dumpf(json, stdout, JSON_INDENT(2)) == -1 || putchar('\n') == EOF || fflush(stdout) == EOF;
    json_decref(json);
    return failed ? -1 : 0;
}

static void print_errors(const struct config_errors *errors)
{
    for (size_t i = 0; i < listed(errors); i++)
        fprintf(stderr, "lastcall: %s\n", errors->list[i].text);
    if (errors->count > listed(errors))
        fprintf(stderr, "lastcall: ... and %zu more\n", errors->count - listed(errors));
}

struct missing {
    const struct config *config;
    struct config_errors *errors;
};

static void add_missing(void *context, const char *key, const char *what)
{
    struct missing *missing = context;
    char from[300];
    struct text origin = text_in(from, sizeof from);
    if (key) {
        print_origin(missing->config, key_find(key), &origin);
        text_add(&origin, ": ");
    }
    config_errors_add(missing->errors, "%s%s", from, what);
}

/* What is in force is printed in any case that there is something in force. */
static int check(const struct options *options)
{
    static struct config config;
    static struct config_errors errors;
    struct missing missing = {&config, &errors};
    bool loaded = config_load(&config, options->config, options->config_count, &errors) == 0;
    if (loaded)
        supervisor_check(&config, add_missing, &missing);
    if (!options->json)
        print_errors(&errors);
    if (options->json && print_json(loaded ? json_config(&config, &errors) : json_errors(&errors)) == -1)
        return 1;
    if (loaded && !options->json && config_print(&config, stdout) == -1)
        return 1;
    return errors.count > 0 ? 1 : 0;
}

int verb_check(int argc, char **argv)
{
    struct options options;
    if (!options_parse(&options, VERB_CHECK, argc, argv))
        return options.exit_code;
    if (options.example)
        return print_example(stdout) == 0 ? 0 : 1;
    if (options.reference)
        return print_reference(stdout) == 0 ? 0 : 1;
    return check(&options);
}
