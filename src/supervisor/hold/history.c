/* The memory of hold: see supervisor/hold/history.h. Pure: no I/O. */
#include "supervisor/hold/history.h"

#include <stdlib.h>
#include <string.h>

static bool is_of(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->inode == row->inode && endpoint_equal(&handle->local, &row->local);
}

/* Where the inode is, or would have to be: the list is in the order of inodes, as the agent's rows are. */
static size_t place_of(const struct hold *hold, uint64_t inode)
{
    size_t low = 0, high = hold->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (hold->handles[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room_for_one(struct hold *hold)
{
    size_t room = hold->room ? hold->room * 2 : 64;
    if (hold->count < hold->room)
        return true;
    struct hold_handle *more = realloc(hold->handles, room * sizeof *more);
    if (!more)
        return false;
    hold->handles = more;
    hold->room = room;
    return true;
}

static struct hold_handle *history_add(struct hold *hold, const struct handle_row *row, size_t place)
{
    if (!make_room_for_one(hold))
        return NULL;
    struct hold_handle *handle = &hold->handles[place];
    memmove(handle + 1, handle, (hold->count - place) * sizeof *handle);
    hold->count++;
    *handle = (struct hold_handle){.inode = row->inode, .local = row->local};
    return handle;
}

struct hold_handle *history_find(const struct hold *hold, const struct handle_row *row, size_t position)
{
    if (position < hold->count && is_of(&hold->handles[position], row))
        return &hold->handles[position];
    size_t place = place_of(hold, row->inode);
    return place < hold->count && is_of(&hold->handles[place], row) ? &hold->handles[place] : NULL;
}

struct hold_handle *history_of(struct hold *hold, const struct handle_row *row, size_t position)
{
    struct hold_handle *handle = history_find(hold, row, position);
    if (handle)
        return handle;
    size_t place = place_of(hold, row->inode);
    if (place == hold->count || hold->handles[place].inode != row->inode)
        return history_add(hold, row, place);
    handle = &hold->handles[place]; /* the inode was given out again: this is another socket */
    *handle = (struct hold_handle){.inode = row->inode, .local = row->local};
    return handle;
}

static bool moved(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->round == 0 || handle->sent != row->bytes_sent || handle->received != row->bytes_received ||
           handle->unread != row->unread_bytes || handle->unsent != row->unsent_bytes ||
           handle->state != row->state || handle->state_change != row->state_change;
}

/* Has the app read something since? More may have come than it read. */
static bool was_read(const struct hold_handle *handle, const struct handle_row *row)
{
    if (!row->has_info)
        return row->unread_bytes < handle->unread;
    return row->bytes_received - row->unread_bytes != handle->received - handle->unread;
}

bool history_notes_movement(struct hold_handle *handle, const struct handle_row *row, int64_t now_us)
{
    if (handle->round == 0)
        handle->first_seen_us = now_us;
    if (handle->unread == 0 || was_read(handle, row))
        handle->unread_since_us = now_us;
    handle->moved = moved(handle, row);
    if (!handle->moved)
        return false;
    handle->quiet_since_us = now_us;
    handle->answers = 0;
    return true;
}

bool history_is_new_transaction(const struct hold_handle *handle, const struct handle_row *row)
{
    return handle->transaction_start && row->transaction_start && handle->transaction_start != row->transaction_start;
}

void history_keep(struct hold_handle *handle, const struct handle_row *row)
{
    handle->transaction_start = row->transaction_start;
    handle->sent = row->bytes_sent;
    handle->received = row->bytes_received;
    handle->segments_out = row->data_segments_out;
    handle->unread = row->unread_bytes;
    handle->unsent = row->unsent_bytes;
    handle->steady = handle->round && handle->state == row->state && handle->state_change == row->state_change;
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
