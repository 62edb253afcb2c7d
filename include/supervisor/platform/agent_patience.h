/* How long the keeper waits: for the agent's answers, and before it starts a lost agent again. Pure: every function is
 * told the time (microseconds of the monotonic clock). */
#ifndef SUPERVISOR_PLATFORM_AGENT_PATIENCE_H
#define SUPERVISOR_PLATFORM_AGENT_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"

struct agent_patience {
    int64_t sample_interval_us; /* 0: it is not expected to say anything by itself */
    int64_t sample_deadline_us; /* 0: none */
    uint32_t look;              /* the unanswered one; 0: none */
    unsigned look_answer_ms;
    int64_t look_deadline_us;
    int64_t look_chain_us;      /* the last deadline when looks replace each other before they are answered */
    int64_t started_at_us;
    int64_t backoff_us;         /* before the next start */
    bool hurry, hurried;        /* hurried: the start at once has been used up */
};

void agent_patience_init(struct agent_patience *patience, int64_t sample_interval_us);

/* It was started, asked, heard in full; it was lost: nothing is expected any more. */
void agent_patience_started(struct agent_patience *patience, int64_t now_us);
void agent_patience_asked(struct agent_patience *patience, uint32_t look, unsigned answer_ms, int64_t now_us);
void agent_patience_answered(struct agent_patience *patience, uint32_t look, int64_t now_us);
void agent_patience_lost(struct agent_patience *patience, int64_t now_us);

/* When the next answer is overdue; 0: none is expected. A look is overdue 500 ms after its answer_ms, a sample after
 * twice its interval and 5 s. */
int64_t agent_patience_deadline(const struct agent_patience *patience);

/* Is an answer overdue? Then says which into `why`. */
bool agent_patience_is_over(const struct agent_patience *patience, int64_t now_us, struct text *why);

/* How long to wait before the next start, and counts it: 0.1 s doubling to 30 s, from 0.1 s again after a life of 60 s;
 * in a hurry nothing, then 0.1 s each. */
int64_t agent_patience_before_start(struct agent_patience *patience);
void agent_patience_hurry(struct agent_patience *patience, bool hurry);

#endif
