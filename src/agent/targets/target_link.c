/* A target's way to its server: names to addresses, each address in order, backoff, and what a loss means. The states
 * and what the timer means in each are in agent/targets/target_state.h.
 *
 * This file never decides when to ask; it connects only when somebody wants to. */
#include <arpa/inet.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"
#include "agent/targets/target_state.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#define BACKOFF_FIRST_US (100 * US_PER_MS)
#define BACKOFF_LAST_US (5 * US_PER_SECOND)
#define ATTEMPT_US (5 * US_PER_SECOND)
#define ADDRESS_LEAST_US (500 * US_PER_MS)
/* A pooler whose pool is used up lets us in and then keeps us waiting for a server: after so
 * long its console is tried. */
#define SPEAKS_US US_PER_SECOND

static void link_timer_start(struct target *target, int64_t after_us)
{
    struct link *link = &target->link;
    ev_timer_stop(target->loop, &link->timer);
    ev_now_update(target->loop);
    ev_timer_set(&link->timer, after_us > 0 ? (double)after_us / 1e6 : 0., 0.);
    ev_timer_start(target->loop, &link->timer);
}

static void link_set_state(struct target *target, enum link_state state)
{
    static const char *const names[] = {"down", "resolving", "connecting", "ready", "busy"};
    struct link *link = &target->link;
    if (state < LINK_READY && link->state != state)
        log_debug("target %s: link %s -> %s", target->message.name, names[link->state], names[state]);
    link->state = state;
    ev_timer_stop(target->loop, &link->timer);
}

/* The attempt's limit: connect_timeout in seconds, as the URL may say; libpq's asynchronous calls leave it to us. */
static int64_t link_attempt_limit(const struct target *target)
{
    const char *text = params_get(target->message.params, "connect_timeout");
    long seconds = text ? strtol(text, NULL, 10) : 0;
    return seconds > 0 && seconds < 3600 ? seconds * US_PER_SECOND : ATTEMPT_US;
}

static void link_close_probe(struct target *target)
{
    void *probe = target->probe;
    target->probe = NULL;
    if (probe)
        target->ops->close(probe);
}

static void link_back_off(struct target *target)
{
    struct link *link = &target->link;
    link->backoff_us = link->backoff_us ? link->backoff_us * 2 : BACKOFF_FIRST_US;
    if (link->backoff_us > BACKOFF_LAST_US)
        link->backoff_us = BACKOFF_LAST_US;
    link->next_attempt_us = clock_now_us() + link->backoff_us;
}

/* The console that was on trial did not answer: the target is again what the configuration calls it. */
static void link_end_trial(struct target *target)
{
    if (target->link.console_on_trial)
        target->ops = &postgres_ops;
    target->link.console_on_trial = false;
}

static const char *link_story(const struct target *target)
{
    if (!target->link.console_on_trial)
        return "";
    return target->link.guessed ? "lets us in and answers nothing; if a pooler, its console (dbname pgbouncer) says: "
                                : "a pooler, and its console (dbname pgbouncer) says: ";
}

static void link_attempt_failed(struct target *target, const char *why)
{
    char line[TARGET_WHY];
    struct text text = text_in(line, sizeof line);
    text_add(&text, "%s: %s", target->place, link_story(target));
    text_add(&text, "%s", why);
    link_end_trial(target);
    link_set_state(target, LINK_DOWN);
    link_back_off(target);
    target_set_up(target, TARGET_DOWN, line);
    target_fail_question(target, line);
    target_kick(target);
}

static void link_open(struct target *target, const char *address)
{
    char why[TARGET_WHY] = "";
    struct link *link = &target->link;
    size_t left = link->address_count > link->address_next ? link->address_count - link->address_next + 1 : 1;
    int64_t spent = clock_now_us() - link->attempt_began_us;
    int64_t share = (link_attempt_limit(target) - spent) / (int64_t)left;
    link_set_state(target, LINK_CONNECTING);
    link->let_in = false;
    target->probe = target->ops->open(target, address, why, sizeof why);
    if (target->probe)
        link_timer_start(target, share > ADDRESS_LEAST_US ? share : ADDRESS_LEAST_US);
    else
        target_probe_lost(target, false, why);
}

static void link_open_next_address(struct target *target)
{
    char numeric[INET6_ADDRSTRLEN];
    struct endpoint *e = &target->link.addresses[target->link.address_next++];
    int family = e->family == ENDPOINT_INET ? AF_INET : AF_INET6;
    inet_ntop(family, e->address, numeric, sizeof numeric);
    link_open(target, numeric);
}

static void link_resolved(void *context, const struct endpoint *addresses, size_t count, const char *why)
{
    struct target *target = context;
    struct link *link = &target->link;
    char line[TARGET_WHY];
    struct text text = text_in(line, sizeof line);
    link->resolve = NULL;
    if (count == 0) {
        text_add(&text, "cannot resolve the name: %s", why);
        link_attempt_failed(target, line);
        return;
    }
    link->address_count = count < TARGET_ATTEMPT_ADDRESSES ? count : TARGET_ATTEMPT_ADDRESSES;
    memcpy(link->addresses, addresses, link->address_count * sizeof *addresses);
    for (size_t i = 0; i < link->address_count; i++)
        target_note_address(target, &addresses[i]);
    link_open_next_address(target);
}

static void link_resolve(struct target *target)
{
    link_set_state(target, LINK_RESOLVING);
    target->link.resolve = resolve_start(target->loop, target->host, target->port, link_resolved, target);
    if (target->link.resolve)
        link_timer_start(target, link_attempt_limit(target));
    else
        link_attempt_failed(target, "cannot start to resolve the name (no memory, or an unreadable resolv.conf)");
}

static void link_connect(struct target *target)
{
    const char *numeric = target_numeric_host(target);
    target->link.attempt_began_us = clock_now_us();
    target->link.address_count = target->link.address_next = 0;
    if (target->up == TARGET_UNKNOWN)
        target_set_up(target, TARGET_CONNECTING, "");
    if (target->unix_path || !*target->host || numeric)
        link_open(target, numeric);
    else
        link_resolve(target);
}

/* Opens the console of a PgBouncer where the probe of a postgres target has connected to, instead of that. */
static void link_try_console(struct target *target)
{
    char numeric[INET6_ADDRSTRLEN];
    struct link *link = &target->link;
    const char *address = target_numeric_host(target);
    link_close_probe(target);
    target->ops = &pgbouncer_ops;
    link->console_on_trial = true;
    if (!address && link->address_next > 0) {
        struct endpoint *e = &link->addresses[link->address_next - 1];
        address = inet_ntop(e->family == ENDPOINT_INET ? AF_INET : AF_INET6, e->address, numeric, sizeof numeric);
    }
    link_open(target, address);
}

/* While the next attempt is not due: a question whose limit comes before it is answered now, by the last reason. */
static void link_wait_for_attempt(struct target *target, int64_t now)
{
    struct question *q = &target->question;
    if (q->state == QUESTION_PENDING && q->asked_at_us + q->limit_us < target->link.next_attempt_us)
        target_fail_question(target, target->why);
    link_timer_start(target, target->link.next_attempt_us - now);
}

void target_link_step(struct target *target)
{
    int64_t now = clock_now_us();
    if (target->link.state != LINK_DOWN || !target_wants_link(target))
        return;
    if (now >= target->link.next_attempt_us)
        link_connect(target);
    else
        link_wait_for_attempt(target, now);
}

static void link_took_too_long(struct target *target)
{
    if (target->link.let_in && target->ops == &postgres_ops) {
        target->link.guessed = true;
        link_try_console(target);
    } else {
        target_probe_lost(target, false, "no answer to the connection attempt");
    }
}

static void link_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct target *target = watcher->data;
    (void)loop, (void)events;
    switch (target->link.state) {
    case LINK_RESOLVING:
        resolve_cancel(target->link.resolve);
        target->link.resolve = NULL;
        link_attempt_failed(target, "cannot resolve the name: no name server answers");
        break;
    case LINK_CONNECTING:
        link_took_too_long(target);
        break;
    case LINK_BUSY:
        target_probe_lost(target, false, "connected, but the server does not answer");
        break;
    default:
        target_kick(target);
    }
}

void target_link_busy(struct target *target, enum busy_with with, int64_t limit_us)
{
    link_set_state(target, LINK_BUSY);
    target->link.busy = with;
    target->link.abandoned = false;
    link_timer_start(target, limit_us);
}

void target_link_idle(struct target *target)
{
    link_set_state(target, LINK_READY);
    target->link.busy = BUSY_NOTHING;
    target->link.backoff_us = 0;
    target_kick(target);
}

/* Reports of the probe. */

void target_probe_connected(struct target *target)
{
    if (target->link.console_on_trial) {
        log_info("target %s: %s is a PgBouncer; its console is used from now on", target->message.name, target->place);
        target->message.kind = TARGET_PGBOUNCER;
        target->link.console_on_trial = false;
    }
    target->link.answered = false;
    target->link.busy = BUSY_NOTHING;
    link_set_state(target, LINK_READY);
    target_set_up(target, TARGET_UP, "");
    target_kick(target);
}

static void link_connection_lost(struct target *target, const char *why)
{
    char line[TARGET_WHY];
    struct text text = text_in(line, sizeof line);
    enum busy_with busy = target->link.busy;
    bool abandoned = target->link.abandoned;
    text_add(&text, "%s: %s", target->place, why);
    link_set_state(target, LINK_DOWN);
    target->link.busy = BUSY_NOTHING;
    if (target->link.answered)
        target->link.next_attempt_us = 0;
    else
        link_back_off(target);
    target_set_up(target, TARGET_DOWN, line);
    if (busy == BUSY_QUESTION && !abandoned)
        target_fail_question(target, line);
    if (busy == BUSY_POLL || busy == BUSY_COMMAND)
        target_end_interrupted(target);
    target_kick(target);
}

void target_probe_lost(struct target *target, bool reached, const char *why)
{
    struct link *link = &target->link;
    bool was_connecting = link->state == LINK_CONNECTING;
    link_close_probe(target);
    if (!was_connecting)
        link_connection_lost(target, why);
    else if (!reached && link->address_next < link->address_count && !link->console_on_trial)
        link_open_next_address(target);
    else
        link_attempt_failed(target, why);
}

void target_probe_is_pooler(struct target *target)
{
    target->link.guessed = false;
    link_try_console(target);
}

void target_probe_peer(struct target *target, int fd)
{
    target_note_peer(target, fd);
    target->link.let_in = true;
    if (target->ops == &postgres_ops)
        link_timer_start(target, SPEAKS_US);
}

/* Creation. */

void target_link_init(struct target *target)
{
    target_read_place(target);
    ev_timer_init(&target->link.timer, link_timer_fired, 0., 0.);
    target->link.timer.data = target;
}

void target_link_finish(struct target *target)
{
    link_close_probe(target);
    resolve_cancel(target->link.resolve);
    target->link.resolve = NULL;
    ev_timer_stop(target->loop, &target->link.timer);
}
