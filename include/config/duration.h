/* Durations as people write them in a configuration: "500ms", "10s", "1m30s", "2h"; a plain number is seconds. */
#ifndef CONFIG_DURATION_H
#define CONFIG_DURATION_H

#include <stdint.h>

#include "common/text.h"

/* Reads the whole of `text`. Returns 0, or -1 when it is no duration (or longer than some 100,000 years). */
int duration_parse(const char *text, int64_t *us);

/* Appends what duration_parse() reads back as the same: exact to the millisecond. us must not be negative. */
void duration_format(int64_t us, struct text *text);

#endif
