/* What a round says: where each target stands, and a row a handle. See agent/sampler_state.h. Decides nothing. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/sampler_state.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/text.h"

static const char *reason_of(const struct sampler *sampler, const struct probe *probe, struct text *text)
{
    if (!probe->target)
        return probe->why_not;
    if (probe->answered)
        return probe->answer.ok ? target_why(probe->target) : probe->answer.why;
    text_add(text, "no answer within ");
    text_add_duration(text, clock_now_us() - sampler->round.began_us);
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
        .kind = probe->target ? target_message(probe->target)->kind : 0,
        .translated = probe->target && target_is_translated(probe->target) == 1,
    };
    text_copy(state.why, sizeof state.why, reason_of(sampler, probe, &text));
    sampler->send(sampler->context, &state);
}

static struct ledger_target ledger_target_of(const struct sampler *sampler, const struct probe *probe)
{
    struct ledger_target target = {
        .look_only = probe->message->look_only,
        .server = probe->message->server,
        .port = probe_port(probe),
        .path = sampler->round.path_of[probe->message->index],
        .translated = probe->target ? target_is_translated(probe->target) : -1,
        .answered = probe->answered && probe->answer.ok,
        .sessions = probe->answer.sessions,
        .session_count = probe->answer.session_count,
        .hidden_since_us = probe->hidden.since_us,
        .pairs = probe->pairs,
    };
    target.address_count = probe_addresses(probe, target.addresses);
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

void sampler_send_answer(struct sampler *sampler)
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

static struct inbound_row inbound_row_of(const struct socket_fact *fact)
{
    return (struct inbound_row){
        .inode = fact->inode, .pid = fact->pid, .fd = fact->fd, .port = fact->local.port,
        .tcp_state = fact->tcp_state, .has_info = fact->has_info, .holders = fact->holders,
        .unread_bytes = fact->unread_bytes, .unacked_segments = fact->unacked_segments,
        .last_sent_ms = fact->last_sent_ms, .last_received_ms = fact->last_received_ms,
        .last_ack_ms = fact->last_ack_ms, .bytes_sent = fact->bytes_sent, .bytes_received = fact->bytes_received};
}

void sampler_send_inbound(struct sampler *sampler)
{
    struct inbound_answer answer = inbound_look(sampler->inbound, sampler->settings.supervisor_pid, getpid());
    size_t count = answer.count < WIRE_INBOUND ? answer.count : WIRE_INBOUND;
    struct message_inbound none = {.header = {sizeof none, MESSAGE_INBOUND, 0}, .look = sampler->round.look};
    struct message_inbound *message _cleanup_free_ = malloc(sizeof *message + count * sizeof *message->rows);
    if (!message) {
        log_error("no memory for %zu inbound connections", count);
        sampler->send(sampler->context, &none); /* sockets_seen 0: nothing is known */
        return;
    }
    *message = none;
    message->header = (struct message_header){(uint32_t)(sizeof none + count * sizeof *message->rows), MESSAGE_INBOUND,
                                              (uint16_t)count};
    message->left_out = (uint32_t)(answer.count - count + answer.left_out);
    message->sockets_seen = answer.sockets_seen;
    message->owners_seen = answer.owners_seen;
    for (size_t i = 0; i < count; i++)
        message->rows[i] = inbound_row_of(&answer.at[i]);
    sampler->send(sampler->context, message);
}

void sampler_send_alone(struct sampler *sampler)
{
    struct message_rows rows = {.header = {sizeof rows, MESSAGE_ROWS, 0}, .look = sampler->round.look, .last = 1,
                                .alone = 1,
                                .took_us = clock_now_us() - sampler->round.began_us};
    sampler->send(sampler->context, &rows);
}
