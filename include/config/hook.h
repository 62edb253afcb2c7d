/* What a hook does, as it is written in a configuration: a list of arguments, a string for `sh -c`, or a URL. */
#ifndef CONFIG_HOOK_H
#define CONFIG_HOOK_H

#include "common/text.h"
#include "config/config.h"

/* From one string: a URL, or a command for the shell; an empty one: no hook. Returns 0, or -1 and what is wrong. */
int hook_set(struct config_command *command, const char *value, struct error *error);

/* From a list: first clear, then add each. */
void hook_clear(struct config_command *command);
int hook_add(struct config_command *command, const char *argument, struct error *error);

/* As it may be written in the file: a list is "[a, "b c"]", a string is not quoted. */
void hook_format(const struct config_command *command, struct text *text);

/* The n-th string of it, n < count. */
const char *hook_argument(const struct config_command *command, unsigned n);

#endif
