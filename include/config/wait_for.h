/* `wait_for`: which targets are meant by it. */
#ifndef CONFIG_WAIT_FOR_H
#define CONFIG_WAIT_FOR_H

#include "config/config.h"

/* Is this target waited for before the start? */
bool wait_for_has(const struct config *config, size_t target);

/* Names that are no target's are errors, with the place of wait_for. */
void wait_for_check(const struct config *config, struct config_errors *errors);

#endif
