/* Deadlines of the agent's answers, on the caller's clock. No I/O, no timer. */
#include "supervisor/platform/agent_patience.h"

#include "common/clock.h"

#define ANSWER_SLACK_US (500 * US_PER_MS)
#define SAMPLE_SLACK_US (5 * US_PER_SECOND)

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void agent_patience_init(struct agent_patience *patience, int64_t sample_interval_us)
{
    *patience = (struct agent_patience){.sample_interval_us = sample_interval_us};
}

static void expect_sample(struct agent_patience *patience, int64_t now_us)
{
    int64_t interval = patience->sample_interval_us;
    patience->sample_deadline_us = interval > 0 ? now_us + 2 * interval + SAMPLE_SLACK_US : 0;
}

void agent_patience_started(struct agent_patience *patience, int64_t now_us)
{
    expect_sample(patience, now_us);
}

void agent_patience_asked(struct agent_patience *patience, uint32_t look, unsigned answer_ms, int64_t now_us)
{
    int64_t limit = (int64_t)answer_ms * US_PER_MS + ANSWER_SLACK_US;
    if (!patience->look)
        patience->look_chain_us = now_us + 2 * limit; /* else look after look would put the deadline off for ever */
    patience->look = look;
    patience->look_answer_ms = answer_ms;
    patience->look_deadline_us = smaller(now_us + limit, patience->look_chain_us);
}

void agent_patience_answered(struct agent_patience *patience, uint32_t look, int64_t now_us)
{
    if (look == patience->look)
        patience->look = 0;
    expect_sample(patience, now_us);
}

void agent_patience_lost(struct agent_patience *patience)
{
    patience->look = 0;
    patience->sample_deadline_us = 0;
}

int64_t agent_patience_deadline(const struct agent_patience *patience)
{
    if (!patience->look)
        return patience->sample_deadline_us;
    if (!patience->sample_deadline_us)
        return patience->look_deadline_us;
    return smaller(patience->look_deadline_us, patience->sample_deadline_us);
}

bool agent_patience_is_over(const struct agent_patience *patience, int64_t now_us, struct text *why)
{
    bool look = patience->look && now_us >= patience->look_deadline_us;
    bool sample = patience->sample_deadline_us && now_us >= patience->sample_deadline_us;
    if (look)
        text_add(why, "it did not answer a look within %u + %d ms", patience->look_answer_ms,
                 (int)(ANSWER_SLACK_US / US_PER_MS));
    else if (sample)
        text_add(why, "it said nothing for twice the monitor's interval");
    return look || sample;
}
