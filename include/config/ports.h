/* KEY_PORTS: ports of the app, each with an idle time of its own or off. One row of the types of config/value.c. */
#ifndef CONFIG_PORTS_H
#define CONFIG_PORTS_H

#include "common/error.h"
#include "common/text.h"
#include "config/keys.h"

/* As value_set(), value_format() and value_describe(). */
int ports_set(struct config *config, const struct key *key, const char *value, struct error *error);
void ports_format(const struct config *config, const struct key *key, struct text *text);
void ports_describe(const struct key *key, struct text *text);

#endif
