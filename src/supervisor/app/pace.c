/* How often something costly may be done. Measures nothing and knows no clock. */
#include "supervisor/app/pace.h"

#define PAUSES_A_COST 4             /* one part in five */
#define PAUSE_MOST_US INT64_C(200000)

void pace_note(struct pace *pace, int64_t now_us, int64_t cost_us)
{
    *pace = (struct pace){.ended_us = now_us, .cost_us = cost_us};
}

bool pace_is_due(const struct pace *pace, int64_t now_us)
{
    int64_t pause_us = pace->cost_us * PAUSES_A_COST;
    return now_us - pace->ended_us >= (pause_us < PAUSE_MOST_US ? pause_us : PAUSE_MOST_US);
}
