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

void environment_warn_unknown(void)
{
    for (char **at = environ; at && *at; at++)
        if (strncmp(*at, "LASTCALL_", 9) == 0 && strchr(*at, '=') && strncmp(*at, "LASTCALL_AGENT=", 15) != 0)
            warn_unknown(*at);
}
