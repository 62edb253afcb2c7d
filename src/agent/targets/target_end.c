/* Ending sessions by server command: each request is a job that lingers, commands and looks, in turns with the probes.
 *
 *   polling while it lingers   who is still there?                     all gone: done
 *   commanding                 all that are left, in one turn          all commanded: polling again
 *   polling afterwards         who is still there?                     all gone, or its deadline: done
 *
 * A poll follows the one before after 1 ms while sessions go one after the other (a backend needs a few milliseconds to
 * end), and after twice the time, 10 ms at most, when nobody went.
 *
 * A job never waits longer than its deadline, whatever the server does, and never calls back from within a call. */
#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/target_state.h"
#include "common/clock.h"
#include "common/text.h"

#define POLL_FIRST_US (1 * US_PER_MS)
#define POLL_LAST_US (10 * US_PER_MS)
#define BLOCKED_US US_PER_SECOND

struct end_job {
    struct end_job *next;
    struct target *target;
    uint32_t request;
    bool finished, spare_busy, seen[WIRE_SESSIONS];
    uint8_t state[WIRE_SESSIONS]; /* enum session_state, when it was last looked at */
    bool sent[WIRE_SESSIONS], commanded[WIRE_SESSIONS]; /* the command was sent; the server took it */
    int64_t linger_until_us, deadline_us, next_turn_us, pause_us;
    size_t count;
    struct end_session sessions[WIRE_SESSIONS];
    uint8_t how[WIRE_SESSIONS];
    char why[TARGET_WHY];
    target_ended_fn *done;
    void *context;
    ev_timer timer;   /* the next of: its turn, the end of its lingering, its deadline */
    size_t turn_count; /* BUSY_COMMAND: which sessions it is for, by their places */
    uint8_t turn[WIRE_SESSIONS];
};

static bool job_is_settled(const struct end_job *job, size_t i)
{
    return job->how[i] != ENDED_UNKNOWN;
}

/* It has a request that is not answered. */
static bool session_is_spared(const struct end_job *job, size_t i)
{
    uint8_t state = job->state[i];
    return job->spare_busy && (state == SESSION_ACTIVE || state == SESSION_WAITING || state == SESSION_BLOCKED);
}

static bool session_is_to_be_told(const struct end_job *job, size_t i)
{
    return !job_is_settled(job, i) && !job->commanded[i] && !session_is_spared(job, i);
}

static bool job_must_command(const struct end_job *job)
{
    for (size_t i = 0; i < job->count; i++)
        if (session_is_to_be_told(job, i))
            return true;
    return false;
}

static void job_finish(struct end_job *job)
{
    job->finished = true;
    ev_timer_stop(job->target->loop, &job->timer);
    if (job->target->job == job)
        job->target->job = NULL;
    target_kick(job->target);
}

static void job_finish_if_settled(struct end_job *job)
{
    for (size_t i = 0; i < job->count; i++)
        if (!job_is_settled(job, i))
            return;
    job_finish(job);
}

static void job_say_why(struct end_job *job, const char *why)
{
    if (!*job->why)
        text_copy(job->why, sizeof job->why, why);
}

static const char *job_expiry_reason(const struct end_job *job, size_t i)
{
    const struct target *target = job->target;
    if (target->up != TARGET_UP && *target->why)
        return target->why;
    if (job->seen[i] && session_is_spared(job, i))
        return "it is at work, and was left to it";
    if (job->seen[i] && job->commanded[i])
        return "the server took the command, but the session has not ended yet";
    return "the server did not answer in time";
}

/* Its deadline: what was seen when it was last looked at is still there; of what was never seen nothing is known. */
static void job_expire(struct end_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        if (job_is_settled(job, i))
            continue;
        job->how[i] = job->seen[i] ? ENDED_STILL_THERE : ENDED_UNKNOWN;
        job_say_why(job, job_expiry_reason(job, i));
    }
    job_finish(job);
}

static void job_arm(struct end_job *job)
{
    int64_t now = clock_now_us(), at = job->deadline_us;
    if (job->next_turn_us > now && job->next_turn_us < at)
        at = job->next_turn_us;
    if (job->linger_until_us > now && job->linger_until_us < at)
        at = job->linger_until_us;
    ev_timer_stop(job->target->loop, &job->timer);
    ev_now_update(job->target->loop);
    ev_timer_set(&job->timer, at > now ? (double)(at - now) / 1e6 : 0., 0.);
    ev_timer_start(job->target->loop, &job->timer);
}

static void job_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct end_job *job = watcher->data;
    (void)loop, (void)events;
    if (clock_now_us() >= job->deadline_us) {
        job_expire(job);
        return;
    }
    job_arm(job);
    target_kick(job->target);
}

static bool job_is_lingering(const struct end_job *job, int64_t now)
{
    return now < job->linger_until_us;
}

static bool job_is_due(const struct end_job *job, int64_t now)
{
    bool must_command = !job_is_lingering(job, now) && job_must_command(job);
    return !job->finished && (must_command || now >= job->next_turn_us);
}

struct end_job *target_end_due(struct target *target)
{
    int64_t now = clock_now_us();
    for (struct end_job *job = target->jobs; job; job = job->next)
        if (job_is_due(job, now))
            return job;
    return NULL;
}

bool target_end_any(const struct target *target)
{
    for (const struct end_job *job = target->jobs; job; job = job->next)
        if (!job->finished)
            return true;
    return false;
}

/* The one whose turn it was goes behind the others. */
static void job_go_last(struct target *target, struct end_job *job)
{
    struct end_job **at = &target->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    while (*at)
        at = &(*at)->next;
    *at = job;
    job->next = NULL;
}

static void job_command(struct target *target, struct end_job *job)
{
    struct end_session sessions[WIRE_SESSIONS];
    job->turn_count = 0;
    for (size_t i = 0; i < job->count; i++) {
        if (!session_is_to_be_told(job, i))
            continue;
        sessions[job->turn_count] = job->sessions[i];
        job->turn[job->turn_count++] = (uint8_t)i;
    }
    target_link_busy(target, BUSY_COMMAND, BLOCKED_US);
    target->ops->end(target->probe, sessions, job->turn_count);
}

void target_end_run(struct target *target, struct end_job *job)
{
    int64_t now = clock_now_us();
    target->job = job;
    job_go_last(target, job);
    if (!job_is_lingering(job, now) && job_must_command(job)) {
        job_command(target, job);
        return;
    }
    job->next_turn_us = now + job->pause_us;
    job_arm(job);
    job->turn_count = 0;
    target_link_busy(target, BUSY_POLL, BLOCKED_US);
    session_table_clear(&target->scratch);
    target->ops->ask(target->probe, false, &target->scratch);
}

/* NULL: it is not there any more. */
static const struct session *find_session(const struct session_table *table, const struct end_session *wanted)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct session *row = &table->rows[i];
        bool same_start = !wanted->session_start || !row->start || row->start == wanted->session_start;
        if (row->id == wanted->session && same_start)
            return row;
    }
    return NULL;
}

static enum ended_how how_commanded(const struct end_job *job, size_t i)
{
    if (!job->spare_busy)
        return ENDED_BY_COMMAND;
    return job->state[i] == SESSION_IDLE             ? ENDED_WHEN_IDLE
           : job->state[i] == SESSION_IN_TRANSACTION ? ENDED_IN_TRANSACTION
                                                     : ENDED_BY_COMMAND;
}

void target_end_polled(struct target *target, bool ok)
{
    struct end_job *job = target->job;
    bool some_went = false;
    target->job = NULL;
    if (!job || !ok)
        return;
    for (size_t i = 0; i < job->count; i++) {
        if (job_is_settled(job, i))
            continue;
        const struct session *session = find_session(&target->scratch, &job->sessions[i]);
        job->seen[i] = session != NULL;
        if (!job->seen[i])
            job->how[i] = job->sent[i] ? how_commanded(job, i) : ENDED_BY_ITSELF;
        if (session && !job->sent[i])
            job->state[i] = session->state;
        some_went |= !job->seen[i];
    }
    job->pause_us = some_went ? POLL_FIRST_US : 2 * job->pause_us < POLL_LAST_US ? 2 * job->pause_us : POLL_LAST_US;
    job_finish_if_settled(job);
}

/* A command whose answer was lost with the link is sent again: that the session is gone by then is its doing. */
static void job_take_answer(struct end_job *job, size_t i, enum ended_how how)
{
    job->commanded[i] = how == ENDED_BY_COMMAND;
    if (how == ENDED_BY_ITSELF && job->sent[i])
        job->how[i] = how_commanded(job, i);
    else if (how != ENDED_BY_COMMAND)
        job->how[i] = how;
    job->sent[i] |= job->commanded[i];
}

void target_end_commanded(struct target *target, const struct probe_ends *ends)
{
    struct end_job *job = target->job;
    target->job = NULL;
    if (!job)
        return;
    for (size_t k = 0; k < job->turn_count; k++)
        job_take_answer(job, job->turn[k], k < ends->count ? (enum ended_how)ends->how[k] : ENDED_REFUSED);
    if (*ends->why)
        job_say_why(job, ends->why);
    job->pause_us = POLL_FIRST_US;
    job->next_turn_us = 0; /* look at once */
    job_finish_if_settled(job);
}

void probe_ends_add(struct probe_ends *ends, enum ended_how how, const char *why)
{
    if (how == ENDED_REFUSED && !*ends->why)
        text_copy(ends->why, sizeof ends->why, why);
    ends->how[ends->count++] = (uint8_t)how;
}

void target_end_interrupted(struct target *target)
{
    struct end_job *job = target->job;
    target->job = NULL;
    if (!job)
        return;
    job->next_turn_us = 0;
    for (size_t k = 0; k < job->turn_count; k++)
        job->sent[job->turn[k]] = true;
}

bool target_end_deliver(struct target *target)
{
    struct end_job **at = &target->jobs;
    while (*at && !(*at)->finished)
        at = &(*at)->next;
    struct end_job *job = *at;
    if (!job)
        return false;
    *at = job->next;
    target_kick(target);
    job->done(job->context, target, job->request, job->how, job->count, job->why); /* may destroy the target */
    free(job);
    return true;
}

void target_end_finish(struct target *target)
{
    for (struct end_job *job; (job = target->jobs);) {
        target->jobs = job->next;
        ev_timer_stop(target->loop, &job->timer);
        free(job);
    }
    target->job = NULL;
}

static void job_append(struct target *target, struct end_job *job)
{
    struct end_job **at = &target->jobs;
    while (*at)
        at = &(*at)->next;
    *at = job;
}

int target_end_sessions(struct target *target, const struct message_end *message, target_ended_fn *done, void *context)
{
    if (message->header.count > WIRE_SESSIONS) {
        errno = EINVAL;
        return -1;
    }
    struct end_job *job = calloc(1, sizeof *job);
    if (!job)
        return -1;
    int64_t now = clock_now_us();
    job->target = target;
    job->request = message->request;
    job->pause_us = POLL_FIRST_US;
    job->done = done;
    job->context = context;
    job->count = message->header.count;
    memcpy(job->sessions, message->sessions, job->count * sizeof *job->sessions);
    job->spare_busy = message->spare_busy;
    job->linger_until_us = now + (message->only_if_still_there ? message->linger_ms * US_PER_MS : 0);
    job->deadline_us = job->linger_until_us + message->wait_ms * US_PER_MS;
    ev_timer_init(&job->timer, job_timer_fired, 0., 0.);
    job->timer.data = job;
    job_append(target, job);
    job_arm(job);
    job_finish_if_settled(job); /* none was named */
    target_kick(target);
    return 0;
}
