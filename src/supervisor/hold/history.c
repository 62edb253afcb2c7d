/* The memory of hold: see supervisor/hold/history.h. Pure: no I/O. */
#include "supervisor/hold/history.h"

#include <stdlib.h>

static bool is_of(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->inode == row->inode && endpoint_equal(&handle->local, &row->local);
}

static struct hold_handle *history_add(struct hold *hold, const struct handle_row *row)
{
    if (hold->count == hold->room) {
        size_t room = hold->room ? hold->room * 2 : 64;
        struct hold_handle *more = realloc(hold->handles, room * sizeof *more);
        if (!more)
            return NULL;
        hold->handles = more;
        hold->room = room;
    }
    struct hold_handle *handle = &hold->handles[hold->count++];
    *handle = (struct hold_handle){.inode = row->inode, .local = row->local};
    return handle;
}

struct hold_handle *history_of(struct hold *hold, const struct handle_row *row, size_t position)
{
    if (position < hold->count && is_of(&hold->handles[position], row))
        return &hold->handles[position];
    for (size_t i = 0; i < hold->count; i++)
        if (is_of(&hold->handles[i], row))
            return &hold->handles[i];
    return history_add(hold, row);
}

static bool moved(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->round == 0 || handle->sent != row->bytes_sent || handle->received != row->bytes_received ||
           handle->unread != row->unread_bytes || handle->unsent != row->unsent_bytes ||
           handle->state != row->state || handle->state_change != row->state_change;
}

bool history_notes_movement(struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    if (handle->round == 0)
        handle->first_seen_us = now_us;
    if (!moved(handle, row))
        return false;
    handle->quiet_since_us = now_us;
    handle->answers = 0;
    return true;
}

void history_keep(struct hold_handle *handle, const struct handle_row *row)
{
    handle->sent = row->bytes_sent;
    handle->received = row->bytes_received;
    handle->segments_out = row->data_segments_out;
    handle->unread = row->unread_bytes;
    handle->unsent = row->unsent_bytes;
    handle->state = row->state;
    handle->state_change = row->state_change;
}

size_t history_forget(struct hold *hold)
{
    size_t kept = 0, before = hold->count;
    for (size_t i = 0; i < before; i++)
        if (hold->handles[i].round == hold->round)
            hold->handles[kept++] = hold->handles[i];
    hold->count = kept;
    return before - kept;
}
