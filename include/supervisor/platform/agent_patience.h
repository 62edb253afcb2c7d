/* How long an agent's answers are waited for. Pure: every function is told the time (microseconds of the monotonic
 * clock). */
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
};

void agent_patience_init(struct agent_patience *patience, int64_t sample_interval_us);

/* It was started, asked, heard in full; it was lost: nothing is expected any more. */
void agent_patience_started(struct agent_patience *patience, int64_t now_us);
void agent_patience_asked(struct agent_patience *patience, uint32_t look, unsigned answer_ms, int64_t now_us);
void agent_patience_answered(struct agent_patience *patience, uint32_t look, int64_t now_us);
void agent_patience_lost(struct agent_patience *patience);

/* When the next answer is overdue; 0: none is expected. A look is overdue 500 ms after its answer_ms, a sample after
 * twice its interval and 5 s. */
int64_t agent_patience_deadline(const struct agent_patience *patience);

/* Is an answer overdue? Then says which into `why`. */
bool agent_patience_is_over(const struct agent_patience *patience, int64_t now_us, struct text *why);

#endif
