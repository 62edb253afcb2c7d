/* The intake of an app that listens, in a stop: when the agent looks at it, what is done with its orders, and what the
 * report keeps. What to do is the intake's to say (supervisor/intake/); here it is only done.
 *
 * Where there is no target no agent runs, and none is started before a stop: then only when the app listens. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/listening.h"
#include "supervisor/state.h"

#define HANDS_MOST_US INT64_C(1000) /* a round: what is not done by then is ordered again by the next one */
#define QUIET_US INT64_C(10000)
#define ANSWER_MOST_US INT64_C(40000) /* after its COMMIT, an answer that is to come comes within this */

static struct intake_settings settings_of(const struct config *config)
{
    static const enum intake_listener listeners[] = {
        [STOP_LISTENER_DROP] = LISTENER_DROP, [STOP_LISTENER_LEAVE] = LISTENER_LEAVE,
        [STOP_LISTENER_REFUSE] = LISTENER_REFUSE};
    struct intake_settings settings = {.listener = listeners[config->stop_listener],
                                       .idle_us = config->stop_idle_us, .port_count = config->stop_ports.count};
    _Static_assert((int)CONFIG_PORTS <= (int)INTAKE_PORTS, "each has its place");
    for (size_t i = 0; i < config->stop_ports.count; i++)
        settings.ports[i] = (struct intake_port){config->stop_ports.list[i].port, config->stop_ports.list[i].idle_us};
    return settings;
}

/* The hold begins. Its own EVENT_STILL means something else: only where this one is waited for. */
static void go_on(struct supervisor *s)
{
    if (s->lifecycle.phase == PHASE_DRAINING)
        supervisor_post(s, EVENT_STILL);
}

/* Nothing is known of what comes in, and nobody can be asked. */
static void go_on_blind(struct supervisor *s, const char *why)
{
    record_unknown(&s->record, "the requests in progress", "%s", why);
    go_on(s);
}

static void begin_without_agent(struct supervisor *s)
{
    if (!listening_any()) {
        s->record.requests.seen = true;
        go_on(s);
        return;
    }
    supervisor_start_agent(s);
    if (!s->keeper) {
        go_on_blind(s, "there was no memory for an agent to look at them");
        return;
    }
    agent_keeper_hurry(s->keeper, true);
    s->looking = true;
    looks_next(s); /* or when it has started */
}

void intakes_begin(struct supervisor *s)
{
    struct intake_settings settings = settings_of(s->config);
    intake_finish(&s->intake);
    intake_init(&s->intake, &settings, clock_now_us());
    s->intake_on = true;
    s->intake_looked = false;
    if (!s->keeper)
        begin_without_agent(s);
    else if (agent_keeper_is_up(s->keeper))
        looks_begin(s);
    else
        go_on_blind(s, "there was no agent to look at them");
}

/* The first look asks the servers, too: what is in flight at the signal is what the report tells. */
enum look_inbound intakes_wanted(const struct supervisor *s)
{
    bool first = !s->intake_looked && s->config->target_count > 0;
    if (!s->intake_on || s->lifecycle.phase == PHASE_LOOKING)
        return INBOUND_NOT; /* while it is frozen nothing is done here, and each look costs time */
    return s->lifecycle.phase == PHASE_DRAINING && !first ? INBOUND_ALONE : INBOUND_TOO;
}

static bool may_act(const struct supervisor *s)
{
    return s->lifecycle.phase == PHASE_DRAINING || s->lifecycle.phase == PHASE_HOLDING ||
           s->lifecycle.phase == PHASE_RESTING;
}

static void note_failure(struct supervisor *s, int error)
{
    if (error == EPERM || error == ENOSYS || error == EACCES) {
        s->intake_on = false; /* no hands here; a process of several may refuse */
        inbound_let_go(&s->inbound_marks, false);
        go_on_blind(s, "the app's sockets could not be reached");
    } else if (error && error != ESTALE && error != ESRCH && error != EAGAIN) {
        record_unknown(&s->record, "whether every request was waited for", "an inbound socket: %s", strerror(error));
    }
}

/* The worst of it is said once: what the report leaves unknown. */
void intakes_report(struct supervisor *s)
{
    const struct record_requests *requests = &s->record.requests;
    if (requests->seen && requests->unsure)
        record_unknown(&s->record, "the requests in progress", "of %u connections nobody could tell whether one was",
                       requests->unsure);
    if (requests->seen && requests->finished != requests->in_progress)
        record_unknown(&s->record, "what became of requests in progress", "%u of %u were not seen to end",
                       requests->in_progress - requests->finished, requests->in_progress);
}

static void do_order(struct supervisor *s, const struct inbound_row *row, enum intake_doing doing)
{
    struct inbound_row found = *row;
    int error = 0;
    enum intake_outcome outcome = inbound_apply(&s->inbound_marks, &found, doing, &error);
    intake_note(&s->intake, row, doing, outcome);
    if (outcome == INTAKE_DONE && doing == INTAKE_KEEP)
        intake_see(&s->intake, &found, clock_now_us());
    else if (outcome == INTAKE_FAILED)
        note_failure(s, error);
}

static void do_orders(struct supervisor *s, const struct message_inbound *inbound)
{
    int64_t until_us = clock_now_us() + HANDS_MOST_US;
    for (size_t i = 0; i < s->intake.order_count && s->intake_on && clock_now_us() < until_us; i++) {
        const struct intake_order *order = &s->intake.orders[i];
        do_order(s, &inbound->rows[order->row], order->doing);
    }
}

static void record_requests(struct supervisor *s)
{
    struct record_requests *requests = &s->record.requests;
    requests->seen = true;
    requests->in_progress = s->intake.in_progress;
    requests->finished = s->intake.finished;
    requests->refused = s->intake.refused;
    requests->unsure = intake_unsure(&s->intake);
}

void intakes_facts(struct supervisor *s, const struct message_inbound *inbound)
{
    if (!s->intake_on)
        return;
    if (!inbound->sockets_seen) {
        s->intake_on = false;
        go_on_blind(s, "inbound connections cannot be seen here");
        return;
    }
    s->intake_looked |= s->lifecycle.phase == PHASE_DRAINING;
    bool dry = intake_round(&s->intake, inbound, clock_now_us());
    const struct intake_count *counted = &s->intake.counted;
    inbound_follow(&s->inbound_marks, inbound->rows, inbound->header.count);
    if (may_act(s))
        do_orders(s, inbound);
    record_requests(s);
    log_debug("intake: %u listening, %u busy, %u idle, %u kept, %u left, %u waiting, %u refused%s", counted->listening,
              counted->busy, counted->idle, counted->kept, counted->left, counted->waiting, s->intake.refused,
              dry ? ": dry" : "");
    if (dry && inbound->header.count == 0)
        s->intake_on = false; /* it does not listen: the hold has nothing to look at here */
    if (dry)
        go_on(s);
}

/* The answer that follows a COMMIT is out. */
bool intakes_are_quiet(const struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    if (!s->intake_on || s->intake.counted.busy == 0)
        return true;
    return now_us - s->intake.moved_at_us >= QUIET_US || now_us - s->hold.moved_at_us >= ANSWER_MOST_US;
}

size_t intakes_let_go(struct supervisor *s)
{
    intake_restart(&s->intake);
    return inbound_let_go(&s->inbound_marks, s->lifecycle.signalled);
}

void intakes_end(struct supervisor *s)
{
    s->intake_on = false;
}

void intakes_hold_listening(struct supervisor *s)
{
    inbound_hold_listening(&s->inbound_marks);
}

void intakes_finish(struct supervisor *s)
{
    intake_finish(&s->intake);
    inbound_finish(&s->inbound_marks);
}
