/* Which of the agent's losses are worth a line in the log: each distinct reason at once, the same again at growing
 * intervals, so that an agent that never comes up does not fill the log. Pure: every function is told the time
 * (microseconds of the monotonic clock). */
#ifndef SUPERVISOR_PLATFORM_LOSS_LOG_H
#define SUPERVISOR_PLATFORM_LOSS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOSS_REASONS = 8, LOSS_REASON = 200 }; /* reasons kept, bytes of one (NUL included) */

struct loss_reason {
    char text[LOSS_REASON];     /* empty: free */
    int64_t said_us, seen_us;   /* last time */
    int64_t pause_us;           /* from said_us on it is not said */
    unsigned unsaid;            /* how often it was seen since it was said */
};

struct loss_log {
    struct loss_reason list[LOSS_REASONS];
};

/* Is this one to be said now? 10 s after it was said it may be again, then after 20 s, doubling to 10 min; after 10 min
 * without it, it is new. When it is said, `unsaid` tells how often it was not. */
bool loss_log_may_say(struct loss_log *log, const char *reason, int64_t now_us, unsigned *unsaid);

#endif
