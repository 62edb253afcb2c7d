/* The packets of one look, put together. Must never trust a number from the agent: every index and every count is
 * checked here or by message_is_valid() before. */
#include "supervisor/platform/facts_buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int facts_buffer_init(struct facts_buffer *buffer)
{
    *buffer = (struct facts_buffer){.room = FACTS_ROWS_AT_FIRST};
    buffer->rows = malloc(buffer->room * sizeof *buffer->rows);
    buffer->inbound = malloc(sizeof *buffer->inbound + WIRE_INBOUND * sizeof *buffer->inbound->rows);
    return buffer->rows && buffer->inbound ? 0 : -1;
}

void facts_buffer_finish(struct facts_buffer *buffer)
{
    free(buffer->rows);
    free(buffer->inbound);
    *buffer = (struct facts_buffer){0};
}

void facts_buffer_clear(struct facts_buffer *buffer)
{
    buffer->count = buffer->target_count = 0;
    buffer->begun = buffer->lossy = buffer->inbound_came = false;
}

static void begin_unless_begun(struct facts_buffer *buffer, uint32_t look)
{
    if (buffer->begun && buffer->look == look)
        return;
    facts_buffer_clear(buffer);
    buffer->begun = true;
    buffer->look = look;
    buffer->sockets_seen = UINT8_MAX; /* no packet has said it yet */
    buffer->owners_seen = 1;
}

static enum facts_progress refuse(int error)
{
    errno = error;
    return FACTS_REFUSED;
}

/* Room for `count` more rows, as far as there is memory. */
static void make_room(struct facts_buffer *buffer, size_t count)
{
    size_t room = buffer->room;
    while (room < buffer->count + count)
        room *= 2;
    if (room == buffer->room)
        return;
    struct handle_row *rows = realloc(buffer->rows, room * sizeof *rows);
    if (!rows)
        return;
    buffer->rows = rows;
    buffer->room = room;
}

enum facts_progress facts_buffer_add_target(struct facts_buffer *buffer, const struct message_target_state *state,
                                            size_t targets)
{
    if (state->target >= targets)
        return refuse(EBADMSG);
    begin_unless_begun(buffer, state->look);
    if (buffer->target_count == WIRE_TARGETS)
        return refuse(E2BIG);
    buffer->targets[buffer->target_count++] = *state;
    return FACTS_MORE;
}

static bool rows_name_known_targets(const struct message_rows *rows, size_t targets)
{
    for (unsigned i = 0; i < rows->header.count; i++)
        if (rows->rows[i].target >= targets)
            return false;
    return true;
}

/* The worst of what the packets say; 1 (sock_diag) and 2 (/proc/net) mixed is the latter. */
static void note_what_was_seen(struct facts_buffer *buffer, const struct message_rows *rows)
{
    bool first = buffer->sockets_seen == UINT8_MAX;
    if (first || rows->sockets_seen == 0)
        buffer->sockets_seen = rows->sockets_seen;
    else if (buffer->sockets_seen != 0 && rows->sockets_seen > buffer->sockets_seen)
        buffer->sockets_seen = rows->sockets_seen;
    buffer->owners_seen = buffer->owners_seen && rows->owners_seen;
}

enum facts_progress facts_buffer_add_rows(struct facts_buffer *buffer, const struct message_rows *rows, size_t targets)
{
    size_t count = rows->header.count;
    if (!rows_name_known_targets(rows, targets))
        return refuse(EBADMSG);
    begin_unless_begun(buffer, rows->look);
    if (buffer->count + count > FACTS_ROWS)
        return refuse(E2BIG);
    make_room(buffer, count);
    if (buffer->room - buffer->count < count) {
        count = buffer->room - buffer->count;
        buffer->lossy = true;
    }
    memcpy(buffer->rows + buffer->count, rows->rows, count * sizeof *rows->rows);
    buffer->count += count;
    note_what_was_seen(buffer, rows);
    return rows->last ? FACTS_COMPLETE : FACTS_MORE;
}

void facts_buffer_add_inbound(struct facts_buffer *buffer, const struct message_inbound *inbound)
{
    begin_unless_begun(buffer, inbound->look);
    memcpy(buffer->inbound, inbound, inbound->header.size); /* WIRE_INBOUND rows at most: it is valid */
    buffer->inbound_came = true;
}

struct facts facts_buffer_take(struct facts_buffer *buffer, int64_t took_us, int64_t now_us)
{
    buffer->begun = false;
    return (struct facts){
        .look = buffer->look,
        .rows = buffer->rows,
        .count = buffer->count,
        .targets = buffer->targets,
        .target_count = buffer->target_count,
        .sockets_seen = buffer->lossy ? 0 : buffer->sockets_seen,
        .owners_seen = buffer->lossy ? 0 : buffer->owners_seen,
        .inbound = buffer->inbound_came ? buffer->inbound : NULL,
        .took_us = took_us,
        .received_at_us = now_us,
    };
}
