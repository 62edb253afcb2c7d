/* LASTCALL_* of the environment: by the table of keys. An empty variable counts as not set: that is how compose files
 * and Helm charts leave one out. */
#include "config/environment.h"

#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "config/errors.h"
#include "config/keys.h"
#include "config/nearest.h"
#include "config/value.h"

/* "NAME=value" as it stands in the environment, or NULL when not set or empty. */
static const char *find_variable(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    for (char **at = environ; name && at && *at; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=' && (*at)[length + 1])
            return *at;
    return NULL;
}

static void apply(struct config *config, const struct key *key, const char *variable, struct config_errors *errors)
{
    struct error error;
    const char *value = strchr(variable, '=') + 1;
    struct config *place = value_place(config, key, FROM_ENVIRONMENT);
    if (value_set(place, key, value, &error) == -1)
        config_errors_add(errors, "%.*s: %s", (int)(value - 1 - variable), variable, error.text);
    place->origins[key - keys] = (struct config_origin){.source = FROM_ENVIRONMENT, .written = variable};
}

/* ---- variables of tini and dumb-init ---- */

/* tini's levels: fatal, warning, info, debug, trace. */
static const char *level_of_tini(const char *text)
{
    static const char *const levels[] = {"error", "warning", "info", "debug", "debug"};
    if (strspn(text, "0123456789") != strlen(text) || !*text)
        return NULL;
    return text[1] || *text > '4' ? "debug" : levels[*text - '0'];
}

/* Set at all, to whatever: that is how tini takes it. */
static const char *group_of_tini(const char *text)
{
    (void)text;
    return "group";
}

static const char *debug_of_dumb_init(const char *text)
{
    return strcmp(text, "1") == 0 ? "debug" : NULL;
}

/* dumb-init's default is the group; who says so wants that here, too. */
static const char *group_of_dumb_init(const char *text)
{
    return strcmp(text, "0") == 0 ? "main" : "group";
}

static const struct borrowed {
    const char *variable, *key;
    const char *(*value)(const char *text); /* NULL: means nothing here */
} borrowed[] = {
    {"TINI_VERBOSITY", "log.level", level_of_tini},
    {"TINI_KILL_PROCESS_GROUP", "stop.signal_to", group_of_tini},
    {"DUMB_INIT_DEBUG", "log.level", debug_of_dumb_init},
    {"DUMB_INIT_SETSID", "stop.signal_to", group_of_dumb_init},
}; /* and TINI_SUBREAPER: lastcall always is one */

static const char *find_borrowed(const char *name)
{
    size_t length = strlen(name);
    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at;
    return NULL;
}

/* After our own variables, which go before them; before the file. */
static void apply_borrowed(struct config *config)
{
    struct error error;
    for (size_t i = 0; i < sizeof borrowed / sizeof *borrowed; i++) {
        const struct key *key = key_find(borrowed[i].key);
        const char *variable = find_borrowed(borrowed[i].variable);
        const char *value = variable ? borrowed[i].value(strchr(variable, '=') + 1) : NULL;
        struct config_origin *origin = &config->origins[key - keys];
        if (!value || origin->source >= FROM_ENVIRONMENT || value_set(config, key, value, &error) == -1)
            continue;
        *origin = (struct config_origin){.source = FROM_ENVIRONMENT, .written = variable};
    }
}

void environment_apply(struct config *config, struct config_errors *errors)
{
    char name[64];
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        key_environment_name(&keys[i], name);
        const char *whole = find_variable(name), *brief = find_variable(keys[i].short_environment);
        if (whole && brief && strcmp(strchr(whole, '=') + 1, strchr(brief, '=') + 1) != 0)
            config_errors_add(errors, "%s and %s are both set, to different values: keep one",
                              keys[i].short_environment, name);
        else if (whole || brief)
            apply(config, &keys[i], brief ? brief : whole, errors);
    }
    apply_borrowed(config);
}

static void warn_unknown(const char *variable)
{
    char shown[64], candidates[CONFIG_KEYS][64];
    struct text text = text_in(shown, sizeof shown);
    struct nearest nearest = nearest_to(shown);
    text_add_escaped(&text, variable, strcspn(variable, "="));
    if (key_find_environment(shown))
        return;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        key_environment_name(&keys[i], candidates[i]);
        nearest_offer(&nearest, candidates[i], candidates[i]);
        if (keys[i].short_environment)
            nearest_offer(&nearest, keys[i].short_environment, keys[i].short_environment);
    }
    const char *best = nearest_found(&nearest);
    log_warning("%s is not known and means nothing to lastcall%s%s%s", shown, best ? ": did you mean " : "",
                best ? best : "", best ? "?" : "");
}

/* Not keys: where the agent is, and what a hook is told (it may well call lastcall's verbs). */
static bool is_no_key(const char *variable)
{
    static const char *const names[] = {"LASTCALL_AGENT=",     "LASTCALL_HOOK=",    "LASTCALL_REASON=",
                                        "LASTCALL_EXIT_CODE=", "LASTCALL_ABORTED=", "LASTCALL_LEAKED="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

void environment_warn_unknown(void)
{
    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, "LASTCALL_", 9) == 0 && strchr(*at, '=') && !is_no_key(*at))
            warn_unknown(*at);
}
