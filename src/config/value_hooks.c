/* Values of keys about hooks and wait_for: see config/value_hooks.h. Whether a target is there, and a program, is not
 * looked at here. */
#include "config/value_hooks.h"

#include <string.h>

#include "config/errors.h"
#include "config/hook.h"

static void *field(const struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

int hook_value_set(struct config *config, const struct key *key, const char *value, struct error *error)
{
    return hook_set(field(config, key), value, error);
}

void hook_value_clear(struct config *config, const struct key *key)
{
    hook_clear(field(config, key));
}

int hook_value_add(struct config *config, const struct key *key, const char *argument, struct error *error)
{
    return hook_add(field(config, key), argument, error);
}

void hook_value_format(const struct config *config, const struct key *key, struct text *text)
{
    hook_format(field(config, key), text);
}

void hook_value_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a command (a list, or a string for sh -c) or an http:// URL");
}

/* ---- names of targets ---- */

void target_names_clear(struct config *config, const struct key *key)
{
    *(char *)field(config, key) = '\0';
}

int target_name_add(struct config *config, const struct key *key, const char *name, struct error *error)
{
    char *at = field(config, key), shown[256];
    struct text text = {.at = at, .size = key->size, .length = strlen(at)};
    struct text shown_text = text_in(shown, sizeof shown);
    config_quote(&shown_text, name);
    if (*name == '\0' || strpbrk(name, " \t\n,"))
        return error_set(error, "%s is not a target's name", shown);
    text_add(&text, "%s%s", text.length > 0 ? " " : "", name);
    return text.cut ? error_set(error, "is too long: write all") : 0;
}

void target_names_format(const struct config *config, const struct key *key, struct text *text)
{
    text_add(text, "[");
    for (const char *at = field(config, key); *at; at++)
        text_add(text, *at == ' ' ? ", " : "%c", *at);
    text_add(text, "]");
}

void target_names_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a list of targets, or all");
}
