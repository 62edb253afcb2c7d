/* How long the keeper waits before it starts a lost agent again. Pure: every function is told the time (microseconds of
 * the monotonic clock). */
#ifndef SUPERVISOR_PLATFORM_AGENT_BACKOFF_H
#define SUPERVISOR_PLATFORM_AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct agent_backoff {
    int64_t started_at_us;
    int64_t next_us;            /* before the next start */
    bool hurry, hurried;        /* hurried: the start at once has been used up */
};

void agent_backoff_init(struct agent_backoff *backoff);
void agent_backoff_started(struct agent_backoff *backoff, int64_t now_us);
void agent_backoff_lost(struct agent_backoff *backoff, int64_t now_us);

/* How long to wait before the next start, and counts it: 0.1 s doubling to 30 s, from 0.1 s again after a life of 60 s;
 * in a hurry nothing, then 0.1 s each. */
int64_t agent_backoff_before_start(struct agent_backoff *backoff);
void agent_backoff_hurry(struct agent_backoff *backoff, bool hurry);

#endif
