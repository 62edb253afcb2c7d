/* When to start a lost agent again, on the caller's clock. No I/O, no timer. */
#include "supervisor/platform/agent_backoff.h"

#include "common/clock.h"

#define BACKOFF_FIRST_US (100 * US_PER_MS)
#define BACKOFF_LAST_US (30 * US_PER_SECOND)
#define LIFE_THAT_COUNTS_US (60 * US_PER_SECOND)
#define HURRY_US (100 * US_PER_MS)

void agent_backoff_init(struct agent_backoff *backoff)
{
    *backoff = (struct agent_backoff){.next_us = BACKOFF_FIRST_US};
}

void agent_backoff_started(struct agent_backoff *backoff, int64_t now_us)
{
    backoff->started_at_us = now_us;
}

void agent_backoff_lost(struct agent_backoff *backoff, int64_t now_us)
{
    if (now_us - backoff->started_at_us >= LIFE_THAT_COUNTS_US)
        backoff->next_us = BACKOFF_FIRST_US;
}

int64_t agent_backoff_before_start(struct agent_backoff *backoff)
{
    if (backoff->hurry) {
        int64_t delay = backoff->hurried ? HURRY_US : 0;
        backoff->hurried = true;
        return delay;
    }
    int64_t delay = backoff->next_us;
    backoff->next_us = delay * 2 < BACKOFF_LAST_US ? delay * 2 : BACKOFF_LAST_US;
    return delay;
}

void agent_backoff_hurry(struct agent_backoff *backoff, bool hurry)
{
    if (backoff->hurry != hurry)
        backoff->hurried = false;
    backoff->hurry = hurry;
}
