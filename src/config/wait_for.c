/* `wait_for` against the targets that there are: see config/wait_for.h. Connects nowhere. */
#include "config/wait_for.h"

#include <string.h>

#include "config/errors.h"
#include "config/keys.h"
#include "config/nearest.h"
#include "config/print.h"

static bool names_all(const struct config *config)
{
    return strcmp(config->wait_for, "all") == 0;
}

/* A word of the list, and where the next one begins; NULL at the end. */
static const char *next_name(const char *at, char name[static sizeof((struct config *)0)->wait_for])
{
    size_t length = strcspn(at, " ");
    if (length == 0)
        return NULL;
    memcpy(name, at, length);
    name[length] = '\0';
    return at + length + (at[length] == ' ');
}

bool wait_for_has(const struct config *config, size_t target)
{
    char name[sizeof config->wait_for];
    if (names_all(config))
        return !config->targets[target].look_only;
    for (const char *at = config->wait_for; (at = next_name(at, name));)
        if (strcmp(name, config->targets[target].name) == 0)
            return true;
    return false;
}

static bool is_target(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->target_count; i++)
        if (strcmp(config->targets[i].name, name) == 0)
            return true;
    return false;
}

static void tell_unknown(const struct config *config, const char *name, struct config_errors *errors)
{
    char where[320], shown[160];
    struct text where_text = text_in(where, sizeof where), shown_text = text_in(shown, sizeof shown);
    struct nearest nearest = nearest_to(name);
    print_origin(config, key_find("wait_for"), &where_text);
    text_add_escaped(&shown_text, name, strlen(name));
    for (size_t i = 0; i < config->target_count; i++)
        nearest_offer(&nearest, config->targets[i].name, config->targets[i].name);
    const char *best = nearest_found(&nearest);
    config_errors_add(errors, "%s: wait_for: there is no target %s%s%s%s", where, shown, best ? ": did you mean " : "",
                      best ? best : "", best ? "?" : "");
}

void wait_for_check(const struct config *config, struct config_errors *errors)
{
    char name[sizeof config->wait_for], where[320];
    struct text where_text = text_in(where, sizeof where);
    if (!*config->wait_for)
        return;
    print_origin(config, key_find("wait_for"), &where_text);
    if (config->target_count == 0)
        config_errors_add(errors, "%s: wait_for: there is no target to wait for: write targets, or set DATABASE_URL "
                          "or REDIS_URL", where);
    for (const char *at = config->wait_for; config->target_count > 0 && (at = next_name(at, name));)
        if (!names_all(config) && !is_target(config, name))
            tell_unknown(config, name, errors);
}
