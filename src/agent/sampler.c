/* When to look, and what goes out then: see agent/sampler.h. Never waits: a round is a look at the sockets, then events.
 *
 *   round      begins with           ends with
 *   a LOOK     LOOK                  all targets answered, or answer_ms; or another LOOK, and then without an answer
 *   a sample   READY, the interval   the same; a LOOK ends it too
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
#include <unistd.h>

#include "agent/ledger/ledger.h"
#include "agent/sockets/sockets.h"
#include "agent/targets/params.h"
#include "agent/targets/target.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/text.h"

enum {
    SAMPLE_ANSWER_MS = 2000,
    PATH_BYTES = 128,
    MARGIN_US = 2000, /* a target's limit ends before the round's, so that its own reason is the one that is told */
    LEAST_US = 1000
};

struct probe {
    struct sampler *sampler;
    struct target *target;        /* NULL: could not be made */
    struct message_target *message; /* heap */
    char why_not[64];             /* target is NULL: why */
    uint32_t under_way;           /* the round it was asked in; 0: not asked */
    bool pending;                 /* this round still waits for it */
    bool answered;                /* in this round: `answer` is valid */
    struct target_answer answer;
    int64_t asked_at_us;          /* in this round; -1 */
};

struct round {
    uint32_t number;              /* never 0; tells rounds apart, also samples */
    uint32_t look;                /* as the supervisor named it; 0: a sample */
    bool runs, want_text;
    int64_t began_us, deadline_us;
    uint32_t answer_ms;
    struct sockets_answer sockets;
    int16_t path_of[WIRE_TARGETS]; /* each target's index among the looked-at paths; -1 */
};

struct sampler {
    struct ev_loop *loop;
    struct message_settings settings;
    char agent_name[80];
    sampler_send_fn *send;
    void *context;
    struct sockets *sockets;
    struct probe probes[WIRE_TARGETS];
    size_t probe_count;
    struct round round;
    ev_timer deadline, interval;
};

/* What to look for. */

static uint16_t default_port(unsigned kind)
{
    return kind == TARGET_REDIS ? 6379 : kind == TARGET_PGBOUNCER ? 6432 : 5432;
}

static uint16_t port_of(const struct probe *probe)
{
    const char *port = params_get(probe->message->params, "port");
    int number = port ? atoi(port) : 0;
    return number > 0 && number <= UINT16_MAX ? (uint16_t)number : default_port(probe->message->kind);
}

static void add_port(struct sockets_question *question, uint16_t port)
{
    for (size_t i = 0; i < question->port_count; i++)
        if (question->ports[i] == port)
            return;
    if (port && question->port_count < DIAG_PORTS)
        question->ports[question->port_count++] = port;
}

/* Where the socket's peer is rewritten on connect (Cilium), the address behind a name has another port too. */
static size_t addresses_of(const struct probe *probe, struct endpoint addresses[LEDGER_ADDRESSES])
{
    size_t count = probe->target ? target_addresses(probe->target, addresses, LEDGER_ADDRESSES) : 0;
    return count < LEDGER_ADDRESSES ? count : LEDGER_ADDRESSES;
}

/* libpq takes a directory and finds ".s.PGSQL.PORT" in it; Redis names the socket itself. */
static bool path_of(const struct probe *probe, char path[PATH_BYTES])
{
    const char *at = probe->target ? target_unix_path(probe->target) : NULL;
    if (!at)
        return false;
    struct text text = text_in(path, PATH_BYTES);
    text_add(&text, "%s", at);
    if (probe->message->kind != TARGET_REDIS && !strstr(at, "/.s.PGSQL."))
        text_add(&text, "/.s.PGSQL.%u", port_of(probe));
    return !text.cut;
}

static int16_t add_path(struct sockets_question *question, char paths[][PATH_BYTES], const struct probe *probe)
{
    char path[PATH_BYTES];
    if (!path_of(probe, path))
        return -1;
    for (size_t i = 0; i < question->path_count; i++)
        if (strcmp(question->paths[i], path) == 0)
            return (int16_t)i;
    memcpy(paths[question->path_count], path, sizeof path);
    question->paths[question->path_count] = paths[question->path_count];
    return (int16_t)question->path_count++;
}

static void add_ports(struct sockets_question *question, const struct probe *probe)
{
    struct endpoint addresses[LEDGER_ADDRESSES];
    size_t count = addresses_of(probe, addresses);
    add_port(question, port_of(probe));
    for (size_t i = 0; i < count; i++)
        add_port(question, addresses[i].port);
}

static void look_at_sockets(struct sampler *sampler)
{
    struct round *round = &sampler->round;
    char paths[WIRE_TARGETS][PATH_BYTES];
    struct sockets_question question = {
        .root = sampler->settings.supervisor_pid, .except = getpid(), .want_epoll = round->want_text};
    for (size_t i = 0; i < sampler->probe_count; i++) {
        round->path_of[i] = add_path(&question, paths, &sampler->probes[i]);
        if (round->path_of[i] < 0)
            add_ports(&question, &sampler->probes[i]);
    }
    round->sockets = sockets_look(sampler->sockets, &question);
}

/* What goes out. */

static const char *reason_of(const struct sampler *sampler, const struct probe *probe, struct text *text)
{
    if (!probe->target)
        return probe->why_not;
    if (probe->answered)
        return probe->answer.ok ? target_why(probe->target) : probe->answer.why;
    text_add(text, "no answer within %u ms", sampler->round.answer_ms);
    if (target_up(probe->target) != TARGET_UP && *target_why(probe->target))
        text_add(text, ": %s", target_why(probe->target));
    return text->at;
}

static void send_state(struct sampler *sampler, const struct probe *probe)
{
    const struct target_answer *answer = &probe->answer;
    bool ok = probe->answered && answer->ok;
    char at[160];
    struct text text = text_in(at, sizeof at);
    struct message_target_state state = {
        .header = {sizeof state, MESSAGE_TARGET_STATE, 0},
        .look = sampler->round.look,
        .target = probe->message->index,
        .up = (uint8_t)(probe->target ? target_up(probe->target) : TARGET_DOWN),
        .answered = ok,
        .asked_at_us = ok ? answer->asked_at_us : probe->asked_at_us,
        .answer_us = ok ? answer->took_us : -1,
        .server_sessions = ok ? answer->server_sessions : -1,
        .server_max = ok ? answer->server_max : -1,
        .translated = probe->target && target_is_translated(probe->target) == 1,
    };
    text_copy(state.why, sizeof state.why, reason_of(sampler, probe, &text));
    sampler->send(sampler->context, &state);
}

static struct ledger_target ledger_target_of(const struct sampler *sampler, const struct probe *probe)
{
    struct ledger_target target = {
        .kind = probe->message->kind,
        .look_only = probe->message->look_only,
        .server = probe->message->server,
        .port = port_of(probe),
        .path = sampler->round.path_of[probe->message->index],
        .translated = probe->target ? target_is_translated(probe->target) : -1,
        .answered = probe->answered && probe->answer.ok,
        .sessions = probe->answer.sessions,
        .session_count = probe->answer.session_count,
    };
    target.address_count = addresses_of(probe, target.addresses);
    return target;
}

static long join_rows(const struct sampler *sampler, struct handle_row *rows)
{
    struct ledger_target targets[WIRE_TARGETS];
    const struct ledger_input input = {
        .sockets = sampler->round.sockets.at,
        .socket_count = sampler->round.sockets.count,
        .targets = targets,
        .target_count = sampler->probe_count,
        .application_name = sampler->settings.application_name,
        .query_text = sampler->settings.query_text && sampler->round.want_text,
    };
    for (size_t i = 0; i < sampler->probe_count; i++)
        targets[i] = ledger_target_of(sampler, &sampler->probes[i]);
    return ledger_join(&input, rows);
}

/* Packets of at most WIRE_ROWS; at least one, since the last one closes the look. */
static void send_rows(struct sampler *sampler, const struct handle_row *rows, size_t count, struct message_rows *packet)
{
    const struct round *round = &sampler->round;
    size_t sent = 0;
    do {
        size_t part = count - sent < WIRE_ROWS ? count - sent : WIRE_ROWS;
        *packet = (struct message_rows){
            .header = {(uint32_t)(sizeof *packet + part * sizeof *rows), MESSAGE_ROWS, (uint16_t)part},
            .look = round->look,
            .last = sent + part == count,
            .sockets_seen = round->sockets.sockets_seen,
            .owners_seen = round->sockets.owners_seen,
            .took_us = clock_now_us() - round->began_us,
        };
        if (part)
            memcpy(packet->rows, rows + sent, part * sizeof *rows);
        sampler->send(sampler->context, packet);
        sent += part;
    } while (sent < count);
}

static void send_answer(struct sampler *sampler)
{
    struct message_rows none, *packet _cleanup_free_ = malloc(sizeof *packet + WIRE_ROWS * sizeof(struct handle_row));
    struct handle_row *rows _cleanup_free_ = calloc(sampler->round.sockets.count + 1, sizeof *rows);
    long count = packet && rows ? join_rows(sampler, rows) : -1;
    for (size_t i = 0; i < sampler->probe_count; i++)
        send_state(sampler, &sampler->probes[i]);
    if (count >= 0) {
        send_rows(sampler, rows, (size_t)count, packet);
        return;
    }
    log_error("no memory for the rows of a look at %zu sockets", sampler->round.sockets.count);
    sampler->round.sockets.sockets_seen = 0; /* nothing is known, rather than nothing is there */
    send_rows(sampler, NULL, 0, &none);
}

static void round_end(struct sampler *sampler)
{
    ev_timer_stop(sampler->loop, &sampler->deadline);
    sampler->round.runs = false;
    send_answer(sampler);
}

/* Asking. */

static bool round_is_complete(const struct sampler *sampler)
{
    for (size_t i = 0; i < sampler->probe_count; i++)
        if (sampler->probes[i].pending)
            return false;
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
    if (target_ask(probe->target, left < LEAST_US ? LEAST_US : left, sampler->round.want_text, probe_answered, probe) < 0) {
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
    } else {
        probe_ask(probe);
    }
    if (round_is_complete(sampler))
        round_end(sampler);
}

static void deadline_passed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    round_end(watcher->data);
}

static void round_begin(struct sampler *sampler, uint32_t look, uint32_t answer_ms, bool want_text)
{
    struct round *round = &sampler->round;
    uint32_t number = round->number + 1 ? round->number + 1 : 1;
    int64_t now = clock_now_us();
    *round = (struct round){.number = number,
                            .look = look,
                            .runs = true,
                            .want_text = want_text,
                            .began_us = now,
                            .deadline_us = now + answer_ms * US_PER_MS,
                            .answer_ms = answer_ms};
    look_at_sockets(sampler);
    for (size_t i = 0; i < sampler->probe_count; i++)
        probe_begin(&sampler->probes[i]);
    if (round_is_complete(sampler)) {
        round_end(sampler);
        return;
    }
    int64_t left = round->deadline_us - clock_now_us();
    ev_now_update(sampler->loop);
    ev_timer_stop(sampler->loop, &sampler->deadline);
    ev_timer_set(&sampler->deadline, left > 0 ? (double)left / (double)US_PER_SECOND : 0., 0.);
    ev_timer_start(sampler->loop, &sampler->deadline);
}

void sampler_look(struct sampler *sampler, const struct message_look *message)
{
    round_begin(sampler, message->look, message->answer_ms, message->want_text);
}

/* A sample that would replace a LOOK is left out: the LOOK's rows are as good. */
static void interval_passed(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct sampler *sampler = watcher->data;
    (void)loop, (void)events;
    if (!sampler->round.runs)
        round_begin(sampler, 0, SAMPLE_ANSWER_MS, true);
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
    ended.message.header = (struct message_header){(uint32_t)(sizeof ended.message + count), MESSAGE_ENDED, (uint16_t)count};
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
    ev_timer_init(&sampler->deadline, deadline_passed, 0., 0.);
    ev_timer_init(&sampler->interval, interval_passed, 0., 0.);
    sampler->deadline.data = sampler->interval.data = sampler;
    sampler->sockets = sockets_create();
    if (sampler->sockets)
        return sampler;
    free(sampler);
    return NULL;
}

void sampler_destroy(struct sampler *sampler)
{
    if (!sampler)
        return;
    ev_timer_stop(sampler->loop, &sampler->interval);
    ev_timer_stop(sampler->loop, &sampler->deadline);
    for (size_t i = sampler->probe_count; i-- > 0;) {
        target_destroy(sampler->probes[i].target);
        explicit_bzero(sampler->probes[i].message, sizeof *sampler->probes[i].message);
        free(sampler->probes[i].message);
    }
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
    round_begin(sampler, 0, SAMPLE_ANSWER_MS, true);
}
