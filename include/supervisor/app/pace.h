/* How often something costly may be done from the loop: it takes no more than a fifth of one processor. Pure: the
 * caller measures, in microseconds of the monotonic clock and of the thread's own processor time. */
#ifndef SUPERVISOR_APP_PACE_H
#define SUPERVISOR_APP_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    int64_t ended_us; /* of the last time; all zero: there was none */
    int64_t cost_us;  /* of it, in processor time: having waited for the processor costs nobody anything */
};

/* It was done, ended at `now_us` and cost so much. */
void pace_note(struct pace *pace, int64_t now_us, int64_t cost_us);

/* May it be done again? Four times as long after the last time as that one cost; but 200 ms are always enough. */
bool pace_is_due(const struct pace *pace, int64_t now_us);

#endif
