/* The targets of a configuration: from `targets:` of the file, or from DATABASE_URL and its like. */
#ifndef CONFIG_TARGETS_H
#define CONFIG_TARGETS_H

#include "config/config.h"
#include "config/url.h"
#include "config/yaml.h"

enum target_field_id {
    TARGET_FIELD_KIND,
    TARGET_FIELD_URL,
    TARGET_FIELD_URL_ENV,
    TARGET_FIELD_URL_FILE,
    TARGET_FIELD_LIMIT,
    TARGET_FIELD_SERVER,
    TARGET_FIELD_LOOK_ONLY,
    TARGET_FIELDS
};

/* One row a key of a target; the example file and the reference come from it, too. */
struct target_field {
    const char *name, *example, *help;
};
extern const struct target_field target_fields[TARGET_FIELDS];

/* Takes all entries below "targets". Errors go into `errors`, with their places. */
void targets_take_file(struct config *config, const struct yaml_entries *entries, struct yaml_errors *errors);

/* DATABASE_URL and so on, as config_load() says. */
void targets_take_environment(struct config *config, struct config_errors *errors);

/* Adds an empty target (limit and server not known), or NULL when there are WIRE_TARGETS. */
struct config_target *targets_add(struct config *config, const char *name, const char *origin);

/* Fills kind, limit and params from a URL that was read, and names at debug level what was left out. */
void targets_apply_url(struct config_target *target, const struct url_target *url);

#endif
