/* The supervisor's messages. Passwords are in the targets' parameters: nothing here may ever log one. */
#include "supervisor/platform/agent_say.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/process.h"
#include "common/text.h"
#include "wire/channel.h"

#define HEADER(type, of_kind) {.size = sizeof(type), .kind = (of_kind)}

static int say_settings(int fd, const struct config *config)
{
    struct message_settings settings = {
        .header = HEADER(struct message_settings, MESSAGE_SETTINGS),
        .sample_interval_us = config->monitor_interval_us,
        .supervisor_pid = getpid(),
        .log_level = (int32_t)config->log_level,
        .query_text = config->report_query_text,
    };
    struct text name = text_in(settings.application_name, sizeof settings.application_name);
    text_add(&name, "lastcall/%s", config->instance);
    return channel_send(fd, &settings);
}

static int say_target(int fd, const struct config_target *from, uint16_t index)
{
    struct message_target target = {
        .header = HEADER(struct message_target, MESSAGE_TARGET),
        .index = index,
        .kind = (uint8_t)from->kind,
        .look_only = from->look_only,
        .server = (int16_t)from->server,
    };
    text_copy(target.name, sizeof target.name, from->name);
    memcpy(target.params, from->params, sizeof target.params);
    return channel_send(fd, &target);
}

int agent_say_hello(int fd, const struct config *config)
{
    struct message_ready ready = {.header = HEADER(struct message_ready, MESSAGE_READY)};
    if (say_settings(fd, config) == -1)
        return -1;
    for (size_t i = 0; i < config->target_count; i++)
        if (say_target(fd, &config->targets[i], (uint16_t)i) == -1)
            return -1;
    return channel_send(fd, &ready);
}

int agent_say_look(int fd, uint32_t number, unsigned answer_ms, const struct look_wants *wants)
{
    struct message_look look = {
        .header = HEADER(struct message_look, MESSAGE_LOOK),
        .look = number,
        .answer_ms = answer_ms,
        .want_text = wants->text,
        .with_own = wants->own,
        .whole = wants->whole,
        .left_out = process_left_out(),
        .inbound = (uint8_t)wants->inbound,
    };
    return channel_send(fd, &look);
}

int agent_say_end(int fd, const struct agent_end *end)
{
    union {
        struct message_end message;
        unsigned char room[sizeof(struct message_end) + WIRE_SESSIONS * sizeof(struct end_session)];
    } packet;
    if (end->count > WIRE_SESSIONS) {
        errno = EINVAL;
        return -1;
    }
    size_t size = end->count * sizeof *end->sessions;
    packet.message = (struct message_end){
        .header = {(uint32_t)(sizeof packet.message + size), MESSAGE_END, (uint16_t)end->count},
        .request = end->request,
        .target = (uint16_t)end->target,
        .only_if_still_there = end->only_if_still_there,
        .spare_busy = end->spare_busy,
        .linger_ms = end->linger_ms,
        .wait_ms = end->wait_ms,
    };
    if (size > 0)
        memcpy(packet.room + sizeof packet.message, end->sessions, size);
    return channel_send(fd, &packet);
}

int agent_say_predecessor(int fd, uint32_t request, int64_t started_us)
{
    struct message_predecessor predecessor = {
        .header = HEADER(struct message_predecessor, MESSAGE_PREDECESSOR),
        .request = request,
        .started_us = started_us,
    };
    return channel_send(fd, &predecessor);
}
