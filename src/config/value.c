/* Checking and setting values: a table with a handler a type, for setting, showing and describing. Texts of errors say
 * what to write instead; they never say where the value stood, which only the caller knows. */
#include "config/value.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/endpoint.h"
#include "common/signals.h"
#include "config/duration.h"
#include "config/errors.h"
#include "config/nearest.h"
#include "config/ports.h"
#include "config/value_hooks.h"
#include "config/value_lists.h"

static void *field(const struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

struct config *value_place(struct config *config, const struct key *key, enum config_source source)
{
    static struct config forgotten;
    return source >= config->origins[key - keys].source ? config : &forgotten;
}

static int refuse(struct error *error, const char *value, const char *story)
{
    return config_refuse(error, value, story);
}

/* ---- durations ---- */

static int set_duration(struct config *config, const struct key *key, const char *value, struct error *error)
{
    int64_t us;
    char limit[32];
    struct text text = text_in(limit, sizeof limit);
    if (duration_parse(value, &us) == -1)
        return refuse(error, value, "is not a duration: write 10s, 500ms, 1m30s");
    duration_format(us < key->min_us ? key->min_us : key->max_us, &text);
    if (us < key->min_us)
        return error_set(error, "%s is too short: at least %s", value, limit);
    if (us > key->max_us)
        return error_set(error, "%s is too long: at most %s", value, limit);
    *(int64_t *)field(config, key) = us;
    return 0;
}

static void format_duration(const struct config *config, const struct key *key, struct text *text)
{
    duration_format(*(int64_t *)field(config, key), text);
}

static void describe_duration(const struct key *key, struct text *text)
{
    text_add(text, "a duration, ");
    duration_format(key->min_us, text);
    text_add(text, " to ");
    duration_format(key->max_us, text);
}

/* ---- counts ---- */

static int set_count(struct config *config, const struct key *key, const char *value, struct error *error)
{
    size_t digits = strspn(value, "0123456789");
    unsigned long count = strtoul(value, NULL, 10);
    if (digits == 0 || digits > 9 || value[digits] != '\0')
        return refuse(error, value, "is not a number: write digits");
    if (count > key->most)
        return error_set(error, "%lu is too many: at most %u", count, key->most);
    *(unsigned *)field(config, key) = (unsigned)count;
    return 0;
}

static void format_count(const struct config *config, const struct key *key, struct text *text)
{
    text_add(text, "%u", *(unsigned *)field(config, key));
}

static void describe_count(const struct key *key, struct text *text)
{
    text_add(text, "a number, 0 to %u", key->most);
}

/* ---- bool ---- */

int value_parse_bool(const char *text, bool *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *value = i % 2;
            return 0;
        }
    return -1;
}

static int set_bool(struct config *config, const struct key *key, const char *value, struct error *error)
{
    if (value_parse_bool(value, field(config, key)) == -1)
        return refuse(error, value, "is neither true nor false");
    return 0;
}

static void format_bool(const struct config *config, const struct key *key, struct text *text)
{
    text_add(text, "%s", *(bool *)field(config, key) ? "true" : "false");
}

static void describe_bool(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "true or false");
}

/* ---- one of several ---- */

static void describe_choice(const struct key *key, struct text *text)
{
    for (const struct key_choice *choice = key->choices; choice->name; choice++)
        text_add(text, "%s%s", choice == key->choices ? "one of " : ", ", choice->name);
}

static int refuse_choice(const struct key *key, const char *value, struct error *error)
{
    char story[200];
    struct text text = text_in(story, sizeof story);
    struct nearest nearest = nearest_to(value);
    text_add(&text, "is not ");
    describe_choice(key, &text);
    for (const struct key_choice *choice = key->choices; choice->name; choice++)
        nearest_offer(&nearest, choice->name, choice->name);
    if (nearest_found(&nearest))
        text_add(&text, ": did you mean %s?", nearest_found(&nearest));
    return refuse(error, value, story);
}

static int set_choice(struct config *config, const struct key *key, const char *value, struct error *error)
{
    for (const struct key_choice *choice = key->choices; choice->name; choice++)
        if (strcasecmp(choice->name, value) == 0) {
            *(int *)field(config, key) = choice->value;
            return 0;
        }
    return refuse_choice(key, value, error);
}

static void format_choice(const struct config *config, const struct key *key, struct text *text)
{
    for (const struct key_choice *choice = key->choices; choice->name; choice++)
        if (choice->value == *(int *)field(config, key))
            text_add(text, "%s", choice->name);
}

/* ---- texts ---- */

static int keep_text(struct config *config, const struct key *key, const char *value, struct error *error)
{
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return refuse(error, value, "holds a control character or a line end");
    if (strlen(value) >= key->size)
        return error_set(error, "is too long: at most %zu bytes", key->size - 1);
    strcpy(field(config, key), value);
    return 0;
}

static void format_text(const struct config *config, const struct key *key, struct text *text)
{
    text_add(text, "%s", (const char *)field(config, key));
}

static int set_name(struct config *config, const struct key *key, const char *value, struct error *error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (value[strspn(value, letters)] != '\0')
        return refuse(error, value, "is not a name: write letters, digits, '.', '_' and '-'");
    if (*value == '.' || *value == '-')
        return refuse(error, value, "is not a name: begin with a letter or a digit");
    return keep_text(config, key, value, error);
}

static void describe_name(const struct key *key, struct text *text)
{
    text_add(text, "a name of at most %zu letters, digits, '.', '_' and '-'", key->size - 1);
}

static void describe_path(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a path");
}

static int set_user(struct config *config, const struct key *key, const char *value, struct error *error)
{
    const char *colon = strchr(value, ':');
    bool halves = !colon || (colon != value && colon[1] != '\0' && !strchr(colon + 1, ':'));
    if (strpbrk(value, " \t/,") || !halves)
        return refuse(error, value, "is not a user: write name, uid, name:group or uid:gid");
    return keep_text(config, key, value, error);
}

static void describe_user(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "name, uid, name:group or uid:gid");
}

/* ---- listen addresses ---- */

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long port = strtol(text, NULL, 10);
    return digits > 0 && digits <= 5 && text[digits] == '\0' && port >= 1 && port <= 65535;
}

static bool is_listen_address(const char *value)
{
    char address[64] = "";
    struct endpoint endpoint;
    const char *colon = strrchr(value, ':');
    size_t length = colon ? (size_t)(colon - value) : 0;
    if (!colon || !is_port(colon + 1) || length == 0 || length >= sizeof address)
        return false;
    bool brackets = value[0] == '[' && length > 2 && value[length - 1] == ']';
    memcpy(address, value + brackets, length - 2 * (size_t)brackets);
    if (!brackets && strchr(address, ':'))
        return false;
    return strcmp(address, "localhost") == 0 || endpoint_parse(&endpoint, address, 1) == 0;
}

static int set_listen(struct config *config, const struct key *key, const char *value, struct error *error)
{
    enum { SOCKET_PATH = 107 }; /* unix(7): sun_path less the NUL */
    if (strncmp(value, "unix:", 5) == 0) {
        if (value[5] != '/' || strlen(value + 5) > SOCKET_PATH)
            return refuse(error, value, "is no socket path: write unix:/run/app/http.sock, at most 107 bytes");
    } else if (*value && !is_listen_address(value)) {
        return refuse(error, value, "is not a listen address: write 127.0.0.1:9400, [::1]:9400, 0.0.0.0:9400 "
                                    "or unix:/run/app/http.sock");
    }
    return keep_text(config, key, value, error);
}

static void describe_listen(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "ADDRESS:PORT or unix:PATH");
}

/* ---- signals ---- */

static void clear_signals(struct config *config, const struct key *key)
{
    *(uint64_t *)field(config, key) = 0;
}

static int add_signal(struct config *config, const struct key *key, const char *name, struct error *error)
{
    int signo = signal_parse(name);
    if (signo == -1)
        return refuse(error, name, "is not a signal: write TERM, INT, QUIT, RTMIN+3 or a number");
    if (!signal_may_stop(signo))
        return refuse(error, name, "cannot begin a stop: choose TERM, INT, QUIT, USR1 or the like");
    *(uint64_t *)field(config, key) |= SIGNAL_BIT(signo);
    return 0;
}

static int set_signals(struct config *config, const struct key *key, const char *value, struct error *error)
{
    char copy[512];
    char *rest = NULL;
    uint64_t before = *(uint64_t *)field(config, key);
    if (!text_copy(copy, sizeof copy, value))
        return error_set(error, "is too long for a list of signals");
    clear_signals(config, key);
    for (char *word = strtok_r(copy, "[], \t", &rest); word; word = strtok_r(NULL, "[], \t", &rest))
        if (add_signal(config, key, word, error) == -1)
            return -1;
    if (*(uint64_t *)field(config, key) == 0) {
        *(uint64_t *)field(config, key) = before;
        return error_set(error, "names no signal: write TERM, INT");
    }
    return 0;
}

static void format_signals(const struct config *config, const struct key *key, struct text *text)
{
    const char *separator = "";
    text_add(text, "[");
    for (int signo = 1; signo <= SIGNAL_LAST; signo++) {
        if (!(*(uint64_t *)field(config, key) & SIGNAL_BIT(signo)))
            continue;
        text_add(text, "%s", separator);
        separator = ", ";
        signal_format(signo, text);
    }
    text_add(text, "]");
}

static void describe_signals(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a list of signals");
}

/* ---- the table ---- */

static int set_items(struct config *config, const struct key *key, const char *value, struct error *error)
{
    value_clear_items(config, key);
    return value_lists_add_all(config, key, value, error);
}

static const struct type {
    int (*set)(struct config *config, const struct key *key, const char *value, struct error *error);
    void (*format)(const struct config *config, const struct key *key, struct text *text);
    void (*describe)(const struct key *key, struct text *text);
    void (*clear)(struct config *config, const struct key *key); /* lists and maps; else NULL, and so `add` */
    int (*add)(struct config *config, const struct key *key, const char *item, struct error *error);
    bool is_map;
} types[] = {
    [KEY_DURATION] = {set_duration, format_duration, describe_duration},
    [KEY_COUNT] = {set_count, format_count, describe_count},
    [KEY_BOOL] = {set_bool, format_bool, describe_bool},
    [KEY_CHOICE] = {set_choice, format_choice, describe_choice},
    [KEY_NAME] = {set_name, format_text, describe_name},
    [KEY_PATH] = {keep_text, format_text, describe_path},
    [KEY_SIGNALS] = {set_signals, format_signals, describe_signals, clear_signals, add_signal, false},
    [KEY_STOP_SIGNAL] = {stop_signal_set, one_signal_format, one_signal_describe, NULL, NULL, false},
    [KEY_ANY_SIGNAL] = {any_signal_set, one_signal_format, one_signal_describe, NULL, NULL, false},
    [KEY_SIGNAL_MAP] = {set_items, signal_map_format, signal_map_describe, map_clear, signal_map_add, true},
    [KEY_EXIT_CODES] = {set_items, exit_codes_format, exit_codes_describe, map_clear, exit_codes_add, true},
    [KEY_SEQUENCE] = {set_items, sequence_format, sequence_describe, sequence_clear, sequence_add, false},
    [KEY_USER] = {set_user, format_text, describe_user},
    [KEY_PORTS] = {ports_set, ports_format, ports_describe, NULL, NULL, false},
    [KEY_LISTEN] = {set_listen, format_text, describe_listen},
    [KEY_HOOK] = {hook_value_set, hook_value_format, hook_value_describe, hook_value_clear, hook_value_add, false},
    [KEY_TARGETS] = {set_items, target_names_format, target_names_describe, target_names_clear, target_name_add, false},
};
_Static_assert(sizeof types / sizeof *types == KEY_TYPES, "a row a type");

int value_set(struct config *config, const struct key *key, const char *text, struct error *error)
{
    return types[key->type].set(config, key, text, error);
}

bool value_has_items(const struct key *key)
{
    return types[key->type].add != NULL;
}

bool value_is_map(const struct key *key)
{
    return types[key->type].is_map;
}

/* A hook may be a list, and may be a string. */
bool value_is_list(const struct config *config, const struct key *key)
{
    const struct config_command *command = field(config, key);
    return value_has_items(key) && (key->type != KEY_HOOK || command->kind == COMMAND_LIST);
}

void value_clear_items(struct config *config, const struct key *key)
{
    types[key->type].clear(config, key);
}

int value_add_item(struct config *config, const struct key *key, const char *item, struct error *error)
{
    return types[key->type].add(config, key, item, error);
}

int value_set_more(struct config *config, const struct key *key, const char *text, struct error *error)
{
    return value_is_map(key) ? value_lists_add_all(config, key, text, error) : value_set(config, key, text, error);
}

void value_format(const struct config *config, const struct key *key, struct text *text)
{
    types[key->type].format(config, key, text);
}

void value_describe(const struct key *key, struct text *text)
{
    types[key->type].describe(key, text);
}
