/* What `lastcall drain`, `resume` and `status` ask of a running lastcall, and what they are told. */
#include <stdio.h>

#include "common/clock.h"
#include "common/text.h"
#include "supervisor/state.h"

void supervisor_state(const struct supervisor *s, struct control_state *state)
{
    bool stopping = s->lifecycle.began_us && s->lifecycle.phase != PHASE_RUNNING;
    int64_t since = clock_now_us() - s->lifecycle.began_us;
    *state = (struct control_state){.app_pid = s->main_ended ? -1 : s->app_pid, .handles = -1, .in_flight = -1,
                                    .since_stop_us = stopping ? since : -1,
                                    .left_us = stopping ? s->lifecycle.settings.grace_us - since : -1};
    state->restarts = (int32_t)s->lifecycle.lives.restarts;
    snprintf(state->phase, sizeof state->phase, "%s", phase_public_name(s->lifecycle.phase));
    snprintf(state->instance, sizeof state->instance, "%s", s->config->instance);
    if (s->last.at_us)
        state->handles = (int32_t)s->last.count;
    if (s->hold_on && s->hold.round)
        state->in_flight = (int32_t)s->hold.counted.by_standing[STANDING_IN_FLIGHT];
}

/* Of a life that is over or ending by itself there is nothing to drain; but there will be no other one. */
static void request_drain(struct supervisor *s, bool now, struct control_answer *answer)
{
    bool ending = s->lifecycle.phase >= PHASE_SIGNALLED, again = s->lifecycle.phase == PHASE_WAITING;
    answer->waits = !ending;
    snprintf(answer->text, sizeof answer->text, "%s", again    ? "nothing runs; the app is not started again"
                                                      : ending ? "the stop is under way"
                                                               : "draining");
    if (ending) {
        supervisor_post(s, EVENT_DRAIN);
        return;
    }
    if (s->lifecycle.phase == PHASE_RUNNING)
        children_plan(s, children_stop_signal(s));
    supervisor_post(s, EVENT_DRAIN);
    if (now)
        supervisor_post(s, EVENT_ESCALATE);
}

static void request_resume(struct supervisor *s, bool now, struct control_answer *answer)
{
    (void)now;
    bool waiting = s->lifecycle.phase == PHASE_WAITING, running = s->lifecycle.phase == PHASE_RUNNING;
    if (!running && !waiting)
        supervisor_post(s, EVENT_RESUME);
    answer->refused = !waiting && s->lifecycle.phase != PHASE_RUNNING;
    answer->exit_code = answer->refused ? 1 : 0;
    snprintf(answer->text, sizeof answer->text, "%s",
             running   ? "running: there was nothing to call off"
             : waiting ? "waiting for a restart: there was nothing to call off"
                     : answer->refused ? "a stop signal has come: the stop cannot be called off" : "running again");
}

static void request_status(struct supervisor *s, bool now, struct control_answer *answer)
{
    (void)now;
    struct text text = text_in(answer->text, sizeof answer->text);
    text_add(&text, "%s", s->lifecycle.why);
    if (hooks_delay_restart(s) && s->lifecycle.deadline_us <= clock_now_us()) {
        text_add(&text, " when post_stop has ended");
    } else if (s->lifecycle.phase == PHASE_WAITING) {
        text_add(&text, " in ");
        text_add_duration(&text, s->lifecycle.deadline_us - clock_now_us());
    }
    if (!s->last.at_us)
        return;
    text_add(&text, "; connections as of ");
    text_add_duration(&text, clock_now_us() - s->last.at_us);
    text_add(&text, " ago");
}

static void (*const requests[])(struct supervisor *, bool, struct control_answer *) = {
    [CONTROL_DRAIN] = request_drain, [CONTROL_RESUME] = request_resume, [CONTROL_STATUS] = request_status};

void requests_take(void *supervisor, enum control_verb verb, bool now, struct control_answer *answer)
{
    struct supervisor *s = supervisor;
    requests[verb](s, now, answer);
    supervisor_state(s, &answer->state);
}
