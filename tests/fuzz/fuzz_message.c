/* Any bytes as a packet: message_is_valid() must not read past them, and what it lets through must be safe to use as
 * its users do: strings end, elements are there, indices are in bounds, and a look is put together from it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/platform/facts_buffer.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(_Bool holds)
{
    if (!holds)
        abort();
}

static void use_target(const void *packet)
{
    const struct message_target *target = packet;
    const char *at = target->params;
    while (*at)
        at += strlen(at) + 1;
    require(at < target->params + sizeof target->params);
    require(strlen(target->name) < sizeof target->name);
    require(target->index < WIRE_TARGETS && target->server < WIRE_TARGETS);
}

static void use_rows(const void *packet)
{
    const struct message_rows *rows = packet;
    struct facts_buffer buffer;
    if (facts_buffer_init(&buffer) == -1)
        return;
    require(facts_buffer_add_rows(&buffer, rows, WIRE_TARGETS) != FACTS_REFUSED);
    struct facts facts = facts_buffer_take(&buffer, rows->took_us, 0);
    require(facts.count == rows->header.count);
    for (size_t i = 0; i < facts.count; i++)
        require(strlen(facts.rows[i].query) < WIRE_QUERY && *session_state_name(facts.rows[i].state) != '?');
    facts_buffer_finish(&buffer);
}

static void use_state(const void *packet)
{
    const struct message_target_state *state = packet;
    struct facts_buffer buffer;
    if (facts_buffer_init(&buffer) == -1)
        return;
    for (int i = 0; i < WIRE_TARGETS; i++)
        require(facts_buffer_add_target(&buffer, state, WIRE_TARGETS) == FACTS_MORE);
    require(facts_buffer_add_target(&buffer, state, WIRE_TARGETS) == FACTS_REFUSED);
    require(strlen(state->why) < sizeof state->why);
    facts_buffer_finish(&buffer);
}

static void use_ended(const void *packet)
{
    const struct message_ended *ended = packet;
    for (unsigned i = 0; i < ended->header.count; i++)
        require(ended->how[i] <= ENDED_IN_TRANSACTION);
    require(strlen(ended->why) < sizeof ended->why);
}

static void use_found(const void *packet)
{
    const struct message_found *found = packet;
    require(found->target >= -1 && found->target < WIRE_TARGETS && found->what < FOUND_KINDS);
    require(found->answer <= FOUND_YES && strlen(found->text) < sizeof found->text);
}

static void use_inbound(const void *packet)
{
    const struct message_inbound *inbound = packet;
    struct facts_buffer buffer;
    if (facts_buffer_init(&buffer) == -1)
        return;
    facts_buffer_add_inbound(&buffer, inbound);
    require(buffer.inbound->header.count == inbound->header.count && inbound->header.count <= WIRE_INBOUND);
    facts_buffer_finish(&buffer);
}

static void use_predecessor_ended(const void *packet)
{
    const struct message_predecessor_ended *ended = packet;
    require(ended->target < WIRE_TARGETS && ended->known <= 1 && strlen(ended->why) < sizeof ended->why);
}

static void (*const use[MESSAGE_KINDS])(const void *) = {
    [MESSAGE_TARGET] = use_target,
    [MESSAGE_ROWS] = use_rows,
    [MESSAGE_TARGET_STATE] = use_state,
    [MESSAGE_ENDED] = use_ended,
    [MESSAGE_FOUND] = use_found,
    [MESSAGE_INBOUND] = use_inbound,
    [MESSAGE_PREDECESSOR_ENDED] = use_predecessor_ended,
};

static void try_packet(const void *packet, size_t size)
{
    struct message_header header;
    if (!message_is_valid(packet, size))
        return;
    memcpy(&header, packet, sizeof header);
    require(header.size == size && header.size <= WIRE_PACKET && header.kind < MESSAGE_KINDS);
    if (use[header.kind])
        use[header.kind](packet);
}

/* As it is, and with the size put right, so that what lies behind that check is reached sooner. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* aligned, and exactly as long */
    uint32_t true_size = (uint32_t)size;
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    try_packet(copy, size);
    if (size >= sizeof true_size) {
        memcpy(copy, &true_size, sizeof true_size);
        try_packet(copy, size);
    }
    free(copy);
    return 0;
}
