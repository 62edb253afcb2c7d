/* The environment of hooks: ours, without what is meant for the app alone, and with what a hook may want to know. Made
 * before the app is started, so that a hook can be started in a stop without memory. */
#ifndef SUPERVISOR_PLATFORM_HOOK_VARIABLES_H
#define SUPERVISOR_PLATFORM_HOOK_VARIABLES_H

#include <stddef.h>

enum hook_variable {
    VARIABLE_HOOK,      /* pre_start, announce, post_stop */
    VARIABLE_INSTANCE,
    VARIABLE_REASON,    /* announce, post_stop: SIGTERM, lastcall drain, … */
    VARIABLE_EXIT_CODE, /* the rest: post_stop */
    VARIABLE_REPORT,
    VARIABLE_ABORTED,
    VARIABLE_LEAKED,
    VARIABLES
};

struct hook_variables {
    char text[VARIABLES][320]; /* "NAME=value"; empty: not set */
    char **envp, **base;       /* heap */
    size_t base_count;
    char **room;               /* heap: as struct hook_order wants it */
};

/* Returns 0, or -1 and ENOMEM. */
int hook_variables_init(struct hook_variables *variables, char *const *environment);
void hook_variables_finish(struct hook_variables *variables);

void hook_variables_set(struct hook_variables *variables, enum hook_variable which, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What is set by now and the rest, good until the next call. Allocates nothing. */
char *const *hook_variables_list(struct hook_variables *variables);

#endif
