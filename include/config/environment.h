/* LASTCALL_* of the environment, and what tini and dumb-init read there. */
#ifndef CONFIG_ENVIRONMENT_H
#define CONFIG_ENVIRONMENT_H

#include "config/config.h"

/* Sets every key whose variable is set and not empty, unless an option has set it. Both names of a key with different
 * values are an error. Then TINI_VERBOSITY, TINI_KILL_PROCESS_GROUP, DUMB_INIT_DEBUG and DUMB_INIT_SETSID, for keys that
 * no variable of ours has set. */
void environment_apply(struct config *config, struct config_errors *errors);

/* Warns of each LASTCALL_* that is not known, with the nearest known one. */
void environment_warn_unknown(void);

#endif
