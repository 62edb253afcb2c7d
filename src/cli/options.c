/* Options, ours and those of tini and dumb-init: a table with a handler each. An own parser, because getopt_long's
 * abbreviations and messages ("unrecognized option") know neither verbs nor the nearest word. */
#include "cli/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "cli/help.h"
#include "config/errors.h"
#include "config/keys.h"
#include "config/nearest.h"

static const struct verb_name {
    enum verb verb;
    const char *name;
} verb_names[] = {
    {VERB_RUN, "run"}, {VERB_DRAIN, "drain"}, {VERB_RESUME, "resume"}, {VERB_STATUS, "status"}, {VERB_CHECK, "check"},
    {VERB_DOCTOR, "doctor"},
};
enum { VERBS = sizeof verb_names / sizeof *verb_names };

enum verb options_find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verb_names[i].name, name) == 0)
            return verb_names[i].verb;
    return 0;
}

const char *options_nearest_verb(const char *name)
{
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < VERBS; i++)
        nearest_offer(&nearest, verb_names[i].name, verb_names[i].name);
    return nearest_found(&nearest);
}

int options_complain(enum verb verb, const char *format, ...)
{
    va_list arguments;
    char line[1024];
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "lastcall: %s\n", line);
    return verb == VERB_RUN ? EXIT_START_FAILURE : EXIT_USAGE;
}

/* ---- handlers: true to go on ---- */

static bool add_key(struct options *options, const char *key, const char *value, const char *written)
{
    if (options->config_count == OPTIONS_MOST) {
        options->exit_code = options_complain(options->verb, "more than %d options", OPTIONS_MOST);
        return false;
    }
    options->config[options->config_count++] = (struct config_option){key, value, written};
    return true;
}

static bool set_key(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    return add_key(options, row->key, row->argument ? value : row->value, written);
}

/* -v and -q move from "info"; the last one seen decides. */
static bool set_verbosity(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    (void)value;
    options->verbosity = MAX(-2, MIN(1, options->verbosity + (*row->value == '+' ? 1 : -1)));
    return add_key(options, "log.level", levels[options->verbosity + 2], written);
}

static bool set_now(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    return options->now = true;
}

static bool set_ready(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    return options->ready = true;
}

static bool set_format(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row;
    options->json = strcmp(value, "json") == 0;
    if (options->json || strcmp(value, "text") == 0)
        return true;
    options->exit_code =
        options_complain(options->verb, "%.*s: write -o json or -o text", (int)strcspn(written, "="), written);
    return false;
}

static bool set_example(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    return options->example = true;
}

static bool set_reference(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    return options->reference = true;
}

static bool accept_silently(struct options *options, const struct option_row *row, const char *written,
                            const char *value)
{
    (void)options, (void)row, (void)written, (void)value;
    return true;
}

static bool say_help(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    help_print(options->verb, stdout);
    options->exit_code = fflush(stdout) == 0 ? 0 : 1;
    return false;
}

static bool say_version(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    options->exit_code = printf("lastcall %s\n", LASTCALL_VERSION) > 0 && fflush(stdout) == 0 ? 0 : 1;
    return false;
}

static bool say_license(struct options *options, const struct option_row *row, const char *written, const char *value)
{
    (void)row, (void)written, (void)value;
    options->exit_code = printf("lastcall is under the MIT License\n") > 0 && fflush(stdout) == 0 ? 0 : 1;
    return false;
}

/* ---- the table; options of keys follow from config/keys.h ---- */

#define RUN VERB_RUN
#define CONFIGURED (VERB_RUN | VERB_CHECK | VERB_DOCTOR)
#define CLIENTS (VERB_DRAIN | VERB_RESUME | VERB_STATUS)
#define ALL (CONFIGURED | CLIENTS)

const struct option_row option_rows[] = {
    {"verbose", 'v', NULL, CONFIGURED, set_verbosity, NULL, "+", NULL},
    {"quiet", 'q', NULL, CONFIGURED, set_verbosity, NULL, "-", NULL},
    {NULL, 'g', NULL, CONFIGURED, set_key, "stop.signal_to", "group", NULL},
    {"single-child", 'c', NULL, CONFIGURED, set_key, "stop.signal_to", "main", NULL},
    {NULL, 's', NULL, RUN, accept_silently, NULL, NULL, NULL}, /* a subreaper always */
    {NULL, 'p', "SIGNAL", CONFIGURED, set_key, "parent_death_signal", NULL, NULL},
    {NULL, 'w', NULL, CONFIGURED, set_key, "log.reaped", "true", NULL},
    {"exit-code", 'e', "CODE[:AS]", CONFIGURED, set_key, "exit_codes", NULL, NULL},
    {"rewrite", 'r', "S:R", CONFIGURED, set_key, "stop.map", NULL, NULL},
    {NULL, 'l', NULL, RUN, say_license, NULL, NULL, NULL},
    {"now", 0, NULL, VERB_DRAIN, set_now, NULL, NULL, "skip to the next phase"},
    {"ready", 0, NULL, VERB_STATUS, set_ready, NULL, NULL, "exit with 0 only while the app runs and nothing stops it"},
    {"output", 'o', "json", CLIENTS | VERB_CHECK | VERB_DOCTOR, set_format, NULL, NULL, "print JSON"},
    {"example", 0, NULL, VERB_CHECK, set_example, NULL, NULL, NULL},
    {"reference", 0, NULL, VERB_CHECK, set_reference, NULL, NULL, NULL},
    {"help", 'h', NULL, ALL, say_help, NULL, NULL, NULL},
    {"version", 'V', NULL, ALL, say_version, NULL, NULL, NULL},
};
const size_t option_row_count = sizeof option_rows / sizeof *option_rows;

/* ---- parsing ---- */

static const struct option_row *find_row(const struct options *options, const char *name, size_t length, char letter)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        bool named = name && row->name && strlen(row->name) == length && strncmp(row->name, name, length) == 0;
        if ((row->verbs & options->verb) && (named || (letter && row->letter == letter)))
            return row;
    }
    return NULL;
}

static bool complain_unknown(struct options *options, const char *name, size_t length)
{
    char word[64] = "", shown[100];
    memcpy(word, name, MIN(length, sizeof word - 1));
    struct nearest nearest = nearest_to(word);
    for (size_t i = 0; i < option_row_count; i++)
        if (option_rows[i].name && (option_rows[i].verbs & options->verb))
            nearest_offer(&nearest, option_rows[i].name, option_rows[i].name);
    for (size_t i = 0; i < CONFIG_KEYS && (options->verb & CONFIGURED); i++)
        if (keys[i].option)
            nearest_offer(&nearest, keys[i].option, keys[i].option);
    config_show_key(shown, sizeof shown, word);
    const char *best = nearest_found(&nearest);
    options->exit_code = options_complain(options->verb, "unknown option --%s%s%s%s", shown,
                                          best ? ": did you mean --" : " (see lastcall --help)", best ? best : "",
                                          best ? "?" : "");
    return false;
}

/* The argument of an option: behind its '=', in the next word, or NULL after a complaint. */
static const char *take_argument(struct options *options, const char *attached, char ***at, const char *written,
                                 const char *argument)
{
    if (attached)
        return attached;
    if ((*at)[1])
        return *++*at;
    options->exit_code = options_complain(options->verb, "%s needs a value: %s %s", written, written, argument);
    return NULL;
}

static bool parse_long(struct options *options, char ***at)
{
    const char *name = **at + 2;
    size_t length = strcspn(name, "=");
    const char *attached = name[length] ? name + length + 1 : NULL, *written = **at;
    const struct option_row *row = find_row(options, name, length, 0);
    char key_name[32] = "";
    memcpy(key_name, name, MIN(length, sizeof key_name - 1));
    const struct key *key = (options->verb & CONFIGURED) ? key_find_option(key_name) : NULL;
    if (!row && !key)
        return complain_unknown(options, name, length);
    const char *argument = row ? row->argument : key->argument;
    if (attached && !argument) {
        options->exit_code = options_complain(options->verb, "--%.*s takes no value", (int)length, name);
        return false;
    }
    const char *value = argument ? take_argument(options, attached, at, written, argument) : NULL;
    if (argument && !value)
        return false;
    return row ? row->take(options, row, written, value) : add_key(options, key->name, value, written);
}

/* "-vg", "-o json", "-ojson". */
static bool parse_letters(struct options *options, char ***at)
{
    for (const char *letter = **at + 1; *letter; letter++) {
        const struct option_row *row = find_row(options, NULL, 0, *letter);
        if (!row) {
            char shown[8];
            config_show_key(shown, sizeof shown, (char[]){*letter, '\0'});
            options->exit_code = options_complain(options->verb, "unknown option -%s (see lastcall --help)", shown);
            return false;
        }
        if (row->argument) {
            const char *written = **at;
            const char *value = take_argument(options, letter[1] ? letter + 1 : NULL, at, written, row->argument);
            return value && row->take(options, row, written, value);
        }
        if (!row->take(options, row, **at, NULL))
            return false;
    }
    return true;
}

static bool take_operands(struct options *options, char **at)
{
    if (options->verb == VERB_RUN) {
        options->command = at;
        return true;
    }
    if (!*at)
        return true;
    if ((options->verb & CLIENTS) && !options->name) {
        options->name = *at;
        return options_parse_more(options, 0, at);
    }
    char shown[100];
    config_show_key(shown, sizeof shown, *at);
    options->exit_code = options_complain(options->verb, "'%s' is one word too many (%s)", shown,
                                          options->verb & CLIENTS ? "see lastcall --help"
                                                                   : "a file is named by --config FILE");
    return false;
}

bool options_parse_more(struct options *options, int argc, char **argv)
{
    char **at = argv + 1;
    (void)argc;
    for (; *at && **at == '-' && (*at)[1]; at++) {
        if (strcmp(*at, "--") == 0) {
            options->end_of_options = true;
            return take_operands(options, at + 1);
        }
        if (!((*at)[1] == '-' ? parse_long(options, &at) : parse_letters(options, &at)))
            return false;
    }
    return take_operands(options, at);
}

bool options_parse(struct options *options, enum verb verb, int argc, char **argv)
{
    *options = (struct options){.verb = verb};
    return argc < 1 || options_parse_more(options, argc, argv);
}
