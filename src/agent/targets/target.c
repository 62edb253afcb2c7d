/* A target: one question at a time, its limit, and whose turn it is on the connection. See agent/targets/target.h.
 *
 * This file never waits and never calls its user back from within a call of the user's: answers go through `kick`. */
#include "agent/targets/target.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"
#include "agent/targets/target_state.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

/* An answer that is overdue is still awaited, and dropped, for so long: then the connection is given up. */
#define STUCK_US (2 * US_PER_SECOND)

void target_kick(struct target *target)
{
    ev_feed_event(target->loop, &target->kick, EV_CUSTOM);
}

bool target_wants_link(const struct target *target)
{
    return target->question.state == QUESTION_PENDING || target_end_any(target);
}

void target_set_up(struct target *target, enum target_up up, const char *why)
{
    if (up == TARGET_DOWN && target->up != TARGET_DOWN)
        log_warning("target %s is down: %s", target->message.name, why);
    else if (up == TARGET_UP && target->up == TARGET_DOWN)
        log_info("target %s is up again", target->message.name);
    else if (up != target->up)
        log_debug("target %s: %s", target->message.name, up == TARGET_UP ? "up" : "connecting");
    target->up = up;
    text_copy(target->why, sizeof target->why, why);
}

/* Ends the question: what follows is its delivery. */
static void target_finish_question(struct target *target, bool ok, const char *why)
{
    struct question *q = &target->question;
    int64_t now = clock_now_us();
    bool sent = q->state == QUESTION_SENT;
    text_copy(q->why, sizeof q->why, why);
    q->answer.ok = ok;
    q->answer.why = q->why;
    q->answer.asked_at_us = sent ? q->sent_at_us : q->asked_at_us;
    q->answer.took_us = ok ? now - q->sent_at_us : -1;
    q->answer.sessions = ok && !q->command ? target->shown.rows : NULL;
    q->answer.session_count = ok && !q->command ? target->shown.count : 0;
    if (!ok)
        q->answer.server_sessions = q->answer.server_max = -1;
    q->state = QUESTION_ANSWERED;
    ev_timer_stop(target->loop, &target->limit);
    target_kick(target);
}

void target_fail_question(struct target *target, const char *why)
{
    if (target->question.state == QUESTION_PENDING || target->question.state == QUESTION_SENT)
        target_finish_question(target, false, why);
}

static void target_send_question(struct target *target)
{
    struct question *q = &target->question;
    int64_t block = q->limit_us > STUCK_US ? q->limit_us : STUCK_US;
    q->state = QUESTION_SENT;
    q->sent_at_us = clock_now_us();
    target->jobs_turn = true;
    target_link_busy(target, BUSY_QUESTION, block);
    session_table_clear(&target->scratch);
    if (q->command)
        target->ops->say(target->probe, q->command);
    else
        target->ops->ask(target->probe, q->want_text, &target->scratch);
}

static void target_use_link(struct target *target)
{
    bool asked = target->question.state == QUESTION_PENDING;
    struct end_job *job = target_end_due(target);
    if (job && (target->jobs_turn || !asked)) {
        target->jobs_turn = false;
        target_end_run(target, job);
    } else if (asked) {
        target_send_question(target);
    }
}

static void target_deliver_answer(struct target *target)
{
    struct question *q = &target->question;
    q->state = QUESTION_NONE;
    q->done(q->context, target, &q->answer); /* may ask again, may destroy the target: nothing follows */
}

static void target_kicked(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct target *target = watcher->data;
    (void)loop, (void)events;
    if (target->question.state == QUESTION_ANSWERED) {
        target_kick(target);
        target_deliver_answer(target);
    } else if (target_end_deliver(target)) {
        return;
    } else if (target->link.state == LINK_READY) {
        target_use_link(target);
    } else if (target->link.state != LINK_BUSY) {
        target_link_step(target);
    }
}

static void target_limit_passed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    static const char *const waiting_for[] = {
        [LINK_DOWN] = "not connected", [LINK_RESOLVING] = "the name is not resolved",
        [LINK_CONNECTING] = "not connected", [LINK_READY] = "an earlier question came first",
        [LINK_BUSY] = "no answer to an earlier question"};
    struct target *target = watcher->data;
    char why[TARGET_WHY];
    struct text text = text_in(why, sizeof why);
    bool sent = target->question.state == QUESTION_SENT;
    (void)loop, (void)events;
    if (sent)
        target->link.abandoned = true;
    text_add(&text, "%s: %s after ", target->place, sent ? "no answer" : waiting_for[target->link.state]);
    text_add_duration(&text, target->question.limit_us);
    if (!sent && target->link.state == LINK_DOWN && *target->why)
        text_copy(why, sizeof why, target->why);
    target_fail_question(target, why);
}

static int target_begin_question(struct target *target, const struct question *question)
{
    struct question *q = &target->question;
    int64_t limit_us = question->limit_us;
    if (q->state != QUESTION_NONE) {
        errno = EBUSY;
        return -1;
    }
    *q = *question;
    q->state = QUESTION_PENDING;
    q->asked_at_us = clock_now_us();
    q->answer = (struct target_answer){.server_sessions = -1, .server_max = -1};
    ev_now_update(target->loop);
    ev_timer_set(&target->limit, (double)(limit_us > 0 ? limit_us : 0) / 1e6, 0.);
    ev_timer_start(target->loop, &target->limit);
    target_kick(target);
    return 0;
}

int target_ask(struct target *target, int64_t limit_us, bool want_text, target_answer_fn *done, void *context)
{
    const struct question question = {.want_text = want_text, .limit_us = limit_us, .done = done, .context = context};
    return target_begin_question(target, &question);
}

int target_say(struct target *target, int64_t limit_us, const char *command, target_answer_fn *done, void *context)
{
    const struct question question = {.command = command, .limit_us = limit_us, .done = done, .context = context};
    return target_begin_question(target, &question);
}

/* Reports of the probe. */

void target_probe_answered(struct target *target, int32_t server_sessions, int32_t server_max)
{
    enum busy_with busy = target->link.busy;
    bool wanted = busy == BUSY_QUESTION && !target->link.abandoned;
    target->link.answered = true;
    target_link_idle(target);
    if (busy == BUSY_POLL)
        target_end_polled(target, true);
    if (!wanted)
        return;
    struct session_table swap = target->shown;
    target->shown = target->scratch;
    target->scratch = swap;
    target->question.answer.server_sessions = server_sessions;
    target->question.answer.server_max = server_max;
    target_finish_question(target, true, "");
}

void target_probe_failed(struct target *target, const char *why)
{
    enum busy_with busy = target->link.busy;
    bool wanted = busy == BUSY_QUESTION && !target->link.abandoned;
    char line[TARGET_WHY];
    struct text text = text_in(line, sizeof line);
    text_add(&text, "%s: %s", target->place, why);
    target->link.answered = true;
    target_link_idle(target);
    if (busy == BUSY_POLL)
        target_end_polled(target, false);
    else if (wanted)
        target_fail_question(target, line);
}

void target_probe_said(struct target *target, bool ok, const char *text)
{
    bool wanted = target->link.busy == BUSY_QUESTION && !target->link.abandoned;
    target->link.answered = true;
    target_link_idle(target);
    if (wanted)
        target_finish_question(target, ok, text);
}

void target_probe_ended(struct target *target, const struct probe_ends *ends)
{
    target->link.answered = true;
    target_link_idle(target);
    target_end_commanded(target, ends);
}

void target_probe_translated(struct target *target, bool translated)
{
    target->translated = translated;
}

/* Creation. */

static const struct probe_ops *const kinds[] = {[TARGET_POSTGRES] = &postgres_ops, [TARGET_PGBOUNCER] = &pgbouncer_ops,
                                                [TARGET_REDIS] = &redis_ops};

static bool target_message_is_good(const struct message_target *message)
{
    bool named = memchr(message->name, 0, sizeof message->name) != NULL;
    bool kind = message->kind < sizeof kinds / sizeof *kinds && kinds[message->kind];
    return named && kind && params_are_valid(message->params, sizeof message->params);
}

struct target *target_create(struct ev_loop *loop, const struct message_target *message, const char *application_name)
{
    if (!target_message_is_good(message)) {
        errno = EINVAL;
        return NULL;
    }
    struct target *target = calloc(1, sizeof *target);
    if (!target)
        return NULL;
    target->loop = loop;
    target->message = *message;
    target->ops = kinds[message->kind];
    target->translated = -1;
    text_copy(target->application_name, sizeof target->application_name, application_name);
    ev_timer_init(&target->kick, target_kicked, 0., 0.);
    ev_timer_init(&target->limit, target_limit_passed, 0., 0.);
    target->kick.data = target->limit.data = target;
    target_link_init(target);
    return target;
}

void target_destroy(struct target *target)
{
    if (!target)
        return;
    target_end_finish(target);
    target_link_finish(target);
    ev_timer_stop(target->loop, &target->limit);
    ev_clear_pending(target->loop, &target->kick);
    session_table_finish(&target->shown);
    session_table_finish(&target->scratch);
    explicit_bzero(target->message.params, sizeof target->message.params);
    free(target);
}

/* What is known of it. */

const struct message_target *target_message(const struct target *target)
{
    return &target->message;
}

enum target_up target_up(const struct target *target)
{
    return target->up;
}

const char *target_why(const struct target *target)
{
    return target->up == TARGET_UP ? "" : target->why;
}

size_t target_addresses(const struct target *target, struct endpoint *at, size_t room)
{
    size_t count = target->known_count < room ? target->known_count : room;
    memcpy(at, target->known, count * sizeof *at);
    return target->known_count;
}

const char *target_unix_path(const struct target *target)
{
    return target->unix_path;
}

int target_is_translated(const struct target *target)
{
    return target->translated;
}

struct ev_loop *target_loop(const struct target *target)
{
    return target->loop;
}

const char *target_params(const struct target *target)
{
    return target->message.params;
}

const char *target_application_name(const struct target *target)
{
    return target->application_name;
}
