/* When to look, and what goes out then: see agent/sampler.h. Never waits: a round is a look at the sockets, then
 * events.
 *
 *   round      begins with           ends with
 *   a LOOK     LOOK                  all targets answered, or answer_ms; or another LOOK, and then without an answer
 *   a sample   READY, the interval   the same; a LOOK ends it too
 *
 * A target that is dead is waited for as long as the others are, and for PATIENCE_MS: it must not make every round of a
 * stop as long as answer_ms.
 *
 * A probe that an earlier round began is not this round's: it was asked before these sockets were looked at. Its answer
 * is dropped, and the target asked again within the time that is left. */
#include "agent/sampler.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/predecessor.h"
#include "agent/sampler_state.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/process.h"
#include "common/text.h"

enum {
    SAMPLE_ANSWER_MS = 2000,
    PATIENCE_MS = 50, /* for a target that is dead */
    MARGIN_US = 2000, /* a target's limit ends before the round's, so that its own reason is the one that is told */
    LEAST_US = 1000
};

static void round_end(struct sampler *sampler)
{
    ev_timer_stop(sampler->loop, &sampler->deadline);
    sampler->round.runs = false;
    if (sampler->round.want_inbound)
        sampler_send_inbound(sampler);
    sampler_send_answer(sampler);
}

/* Asking. */

static void note_state(struct probe *probe)
{
    enum target_up up = target_up(probe->target);
    if (up == TARGET_UP || up == TARGET_DOWN)
        probe->dead = up == TARGET_DOWN; /* while it connects again it is what it was */
}

static bool round_is_complete(struct sampler *sampler)
{
    bool patient = clock_now_us() < sampler->round.patience_us;
    for (size_t i = 0; i < sampler->probe_count; i++) {
        struct probe *probe = &sampler->probes[i];
        if (!probe->pending)
            continue;
        note_state(probe);
        if (patient || !probe->dead)
            return false;
    }
    return true;
}

static void probe_answered(void *context, struct target *target, const struct target_answer *answer);

static void probe_fail(struct probe *probe, const char *why)
{
    probe->pending = false;
    probe->answered = true;
    probe->answer = (struct target_answer){.ok = false, .why = why, .took_us = -1};
}

static void probe_ask(struct probe *probe)
{
    struct sampler *sampler = probe->sampler;
    int64_t now = clock_now_us(), left = sampler->round.deadline_us - now - MARGIN_US;
    int64_t limit = left < LEAST_US ? LEAST_US : left;
    if (target_ask(probe->target, limit, sampler->round.want_text, probe_answered, probe) < 0) {
        probe_fail(probe, errno == EBUSY ? "busy with an earlier question" : strerror(errno));
        return;
    }
    probe->under_way = sampler->round.number;
    probe->asked_at_us = now;
}

static void probe_begin(struct probe *probe)
{
    probe->answered = false;
    probe->asked_at_us = -1;
    probe->answer = (struct target_answer){.why = ""};
    probe->pending = probe->target != NULL;
    if (probe->pending && !probe->under_way)
        probe_ask(probe); /* else when the earlier round's answer has come */
}

static void probe_answered(void *context, struct target *target, const struct target_answer *answer)
{
    struct probe *probe = context;
    struct sampler *sampler = probe->sampler;
    bool this_round = probe->under_way == sampler->round.number;
    (void)target;
    probe->under_way = 0;
    if (!sampler->round.runs || !probe->pending)
        return;
    if (this_round) {
        probe->pending = false;
        probe->answered = true;
        probe->answer = *answer;
        if (answer->ok)
            hidden_note(&probe->hidden, answer->sessions, answer->session_count, answer->asked_at_us);
    } else {
        probe_ask(probe);
    }
    if (round_is_complete(sampler))
        round_end(sampler);
}

/* The timer of a round: first for its patience, then for its end. */
static void set_timer(struct sampler *sampler)
{
    const struct round *round = &sampler->round;
    int64_t now = clock_now_us(), at = round->deadline_us;
    if (now < round->patience_us && round->patience_us < at)
        at = round->patience_us;
    ev_now_update(sampler->loop);
    ev_timer_stop(sampler->loop, &sampler->deadline);
    ev_timer_set(&sampler->deadline, at > now ? (double)(at - now) / (double)US_PER_SECOND : 0., 0.);
    ev_timer_start(sampler->loop, &sampler->deadline);
}

static void give_up_pending(struct sampler *sampler)
{
    for (size_t i = 0; i < sampler->probe_count; i++) {
        struct probe *probe = &sampler->probes[i];
        if (probe->pending && target_up(probe->target) != TARGET_UP)
            probe->dead = true;
    }
}

static void time_passed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct sampler *sampler = watcher->data;
    (void)loop, (void)events;
    if (round_is_complete(sampler)) {
        round_end(sampler);
    } else if (clock_now_us() >= sampler->round.deadline_us) {
        give_up_pending(sampler);
        round_end(sampler);
    } else {
        set_timer(sampler);
    }
}

/* A look that the agent makes by itself: look 0. */
static const struct message_look sample = {.answer_ms = SAMPLE_ANSWER_MS, .want_text = 1, .whole = 1};

/* No server is asked: what an earlier round asked is answered into the void. */
static void end_alone(struct sampler *sampler)
{
    ev_timer_stop(sampler->loop, &sampler->deadline);
    sampler->round.runs = false;
    sampler_send_inbound(sampler);
    sampler_send_alone(sampler);
}

static void round_begin(struct sampler *sampler, const struct message_look *asked)
{
    struct round *round = &sampler->round;
    uint32_t number = round->number + 1 ? round->number + 1 : 1;
    int64_t now = clock_now_us();
    *round = (struct round){.number = number,
                            .look = asked->look,
                            .runs = true,
                            .want_text = asked->want_text,
                            .with_own = asked->with_own,
                            .whole = asked->whole,
                            .want_inbound = asked->inbound,
                            .began_us = now,
                            .patience_us = now + PATIENCE_MS * US_PER_MS,
                            .deadline_us = now + asked->answer_ms * US_PER_MS};
    process_leave_out(asked->left_out);
    if (asked->inbound == INBOUND_ALONE) {
        end_alone(sampler);
        return;
    }
    sampler_look_at_sockets(sampler);
    for (size_t i = 0; i < sampler->probe_count; i++)
        probe_begin(&sampler->probes[i]);
    if (round_is_complete(sampler))
        round_end(sampler);
    else
        set_timer(sampler);
}

void sampler_look(struct sampler *sampler, const struct message_look *message)
{
    round_begin(sampler, message);
}

/* A sample that would replace a LOOK is left out: the LOOK's rows are as good. */
static void interval_passed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct sampler *sampler = watcher->data;
    (void)loop, (void)events;
    if (!sampler->round.runs)
        round_begin(sampler, &sample);
}

/* Ending sessions. */

static void send_ended(struct sampler *sampler, uint32_t request, uint16_t target, const uint8_t *how, size_t count,
                       const char *why)
{
    struct {
        struct message_ended message;
        uint8_t how[WIRE_SESSIONS];
    } ended = {.message = {.request = request, .target = target}};
    if (count > WIRE_SESSIONS)
        count = WIRE_SESSIONS;
    uint32_t size = (uint32_t)(sizeof ended.message + count);
    ended.message.header = (struct message_header){size, MESSAGE_ENDED, (uint16_t)count};
    text_copy(ended.message.why, sizeof ended.message.why, why);
    if (how)
        memcpy((uint8_t *)&ended + sizeof ended.message, how, count); /* else ENDED_UNKNOWN, which is 0 */
    sampler->send(sampler->context, &ended);
}

static void sessions_ended(void *context, struct target *target, uint32_t request, const uint8_t *how, size_t count,
                           const char *why)
{
    send_ended(context, request, target_message(target)->index, how, count, why);
}

void sampler_end(struct sampler *sampler, const struct message_end *message)
{
    const char *why = "there is no such target";
    if (message->target < sampler->probe_count) {
        struct probe *probe = &sampler->probes[message->target];
        why = probe->why_not;
        if (probe->target && target_end_sessions(probe->target, message, sessions_ended, sampler) == 0)
            return;
        if (probe->target)
            why = strerror(errno);
    }
    log_warning("END %u: no session could be ended: %s", message->request, why);
    send_ended(sampler, message->request, message->target, NULL, message->header.count, why);
}

/* Creation. */

/* "lastcall/web" → "lastcall-agent/web": a name that the app's own is no prefix of. */
static void set_agent_name(struct sampler *sampler)
{
    const char *name = sampler->settings.application_name, *slash = strchr(name, '/');
    snprintf(sampler->agent_name, sizeof sampler->agent_name, "lastcall-agent/%s", slash ? slash + 1 : name);
}

struct sampler *sampler_create(struct ev_loop *loop, const struct message_settings *settings, sampler_send_fn *send,
                               void *context)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return NULL;
    sampler->loop = loop;
    sampler->settings = *settings;
    sampler->send = send;
    sampler->context = context;
    set_agent_name(sampler);
    ev_timer_init(&sampler->deadline, time_passed, 0., 0.);
    ev_timer_init(&sampler->interval, interval_passed, 0., 0.);
    sampler->deadline.data = sampler->interval.data = sampler;
    sampler->sockets = sockets_create();
    sampler->inbound = sampler->sockets ? inbound_create() : NULL;
    if (sampler->inbound)
        return sampler;
    sockets_destroy(sampler->sockets);
    free(sampler);
    return NULL;
}

void sampler_destroy(struct sampler *sampler)
{
    if (!sampler)
        return;
    predecessor_destroy(sampler->predecessor);
    ev_timer_stop(sampler->loop, &sampler->interval);
    ev_timer_stop(sampler->loop, &sampler->deadline);
    for (size_t i = sampler->probe_count; i-- > 0;) {
        target_destroy(sampler->probes[i].target);
        explicit_bzero(sampler->probes[i].message, sizeof *sampler->probes[i].message);
        free(sampler->probes[i].message);
        hidden_finish(&sampler->probes[i].hidden);
        pairs_destroy(sampler->probes[i].pairs);
    }
    inbound_destroy(sampler->inbound);
    sockets_destroy(sampler->sockets);
    free(sampler);
}

int sampler_add_target(struct sampler *sampler, const struct message_target *message)
{
    if (sampler->probe_count == WIRE_TARGETS)
        return -1;
    struct probe *probe = &sampler->probes[sampler->probe_count];
    *probe = (struct probe){.sampler = sampler, .asked_at_us = -1, .message = malloc(sizeof *message)};
    if (!probe->message)
        return -1;
    *probe->message = *message;
    probe->pairs = pairs_create();
    probe->target = target_create(sampler->loop, message, sampler->agent_name);
    if (!probe->target) {
        snprintf(probe->why_not, sizeof probe->why_not, "the target cannot be set up: %s", strerror(errno));
        log_error("target %s: %s", message->name, probe->why_not);
    }
    sampler->probe_count++;
    return 0;
}

void sampler_start(struct sampler *sampler)
{
    double seconds = (double)sampler->settings.sample_interval_us / (double)US_PER_SECOND;
    if (sampler->settings.sample_interval_us <= 0)
        return;
    ev_timer_set(&sampler->interval, seconds, seconds);
    ev_timer_start(sampler->loop, &sampler->interval);
    round_begin(sampler, &sample);
}
