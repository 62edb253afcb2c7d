/* The record of one stop: where facts are put down while it happens.
 *
 * It never judges a fact, never does I/O, and never fails the stop: without memory a fact is counted as lost. */
#include "supervisor/report/record.h"

#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum { FIRST_ROOM = 16, TIMELINE_MOST = 256 };

void record_init(struct record *record)
{
    memset(record, 0, sizeof *record);
    record->exit_code = record->lastcall_exit_code = -1;
    record->sample_age_us = -1;
    for (unsigned i = 0; i < WIRE_TARGETS; i++)
        record->targets[i].limit = -1;
}

/* The slot of a handle: its own, or the free one where it belongs. There is always a free one. */
static uint32_t *slot_of(const struct record *record, uint64_t inode, const struct endpoint *local)
{
    uint64_t hash = inode * UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned i = (unsigned)(hash >> 32);; i++) {
        uint32_t *slot = &record->slots[i & (record->slot_room - 1)];
        if (*slot == 0)
            return slot;
        const struct handle_row *row = &record->handles[*slot - 1].first;
        if (row->inode == inode && endpoint_equal(&row->local, local))
            return slot;
    }
}

struct recorded_handle *record_find(struct record *record, uint64_t inode, const struct endpoint *local)
{
    if (record->slot_room == 0)
        return NULL;
    uint32_t slot = *slot_of(record, inode, local);
    return slot == 0 ? NULL : &record->handles[slot - 1];
}

/* Twice as many slots as handles, filled anew. The handles are as they were when there is no memory. */
static int grow(struct record *record)
{
    unsigned room = record->handle_room == 0 ? FIRST_ROOM : 2 * record->handle_room;
    struct recorded_handle *handles = reallocarray(record->handles, room, sizeof *handles);
    if (handles == NULL)
        return -1;
    record->handles = handles;
    uint32_t *slots = calloc(2 * (size_t)room, sizeof *slots);
    if (slots == NULL)
        return -1;
    free(record->slots);
    record->slots = slots;
    record->slot_room = 2 * room;
    record->handle_room = room;
    for (unsigned i = 0; i < record->handle_count; i++)
        *slot_of(record, handles[i].first.inode, &handles[i].first.local) = i + 1;
    return 0;
}

struct recorded_handle *record_handle(struct record *record, const struct handle_row *row)
{
    struct recorded_handle *handle = record_find(record, row->inode, &row->local);
    if (handle != NULL) {
        handle->last = *row;
        return handle;
    }
    if (record->handle_count == record->handle_room && grow(record) != 0) {
        record->lost++;
        return NULL;
    }
    handle = &record->handles[record->handle_count++];
    *handle = (struct recorded_handle){ .first = *row, .last = *row };
    *slot_of(record, row->inode, &row->local) = record->handle_count;
    return handle;
}

void record_keep_holders(struct handle_row *row, const struct handle_row *before)
{
    row->pid = before->pid;
    row->fd = before->fd;
    row->holders = before->holders;
    row->descriptors = before->descriptors;
    memcpy(row->others, before->others, sizeof row->others);
}

static int grow_timeline(struct recorded_handle *handle)
{
    unsigned room = handle->timeline_room == 0 ? 8 : 2 * handle->timeline_room;
    struct timeline_entry *timeline = reallocarray(handle->timeline, room, sizeof *timeline);
    if (timeline == NULL)
        return -1;
    handle->timeline = timeline;
    handle->timeline_room = room;
    return 0;
}

void record_timeline(struct recorded_handle *handle, const char *what, int64_t at_us)
{
    struct timeline_entry entry = { .at_us = at_us, .what = what };
    unsigned count = handle->timeline_count;
    if (count > 0 && strcmp(handle->timeline[count - 1].what, what) == 0)
        return;
    if (count == TIMELINE_MOST) {
        handle->timeline[count - 1] = entry;
        return;
    }
    if (count == handle->timeline_room && grow_timeline(handle) != 0)
        return;
    handle->timeline[handle->timeline_count++] = entry;
}

void record_outcome(struct recorded_handle *handle, enum outcome outcome, int64_t at_us)
{
    if (handle->outcome != OUTCOME_OPEN)
        return;
    handle->outcome = outcome;
    handle->ended_at_us = at_us;
}

void record_phase(struct record *record, const char *name, int64_t at_us)
{
    unsigned room = sizeof record->phases / sizeof record->phases[0];
    unsigned count = record->phase_count;
    if (count > 0 && strcmp(record->phases[count - 1].name, name) == 0)
        return;
    if (count < room)
        record->phases[record->phase_count++] = (struct record_phase){ .name = name, .began_us = at_us };
    else
        record->phases[room - 1].name = name; /* and began when the replaced one did: no time gets lost */
}

void record_unknown(struct record *record, const char *what, const char *why_format, ...)
{
    struct record_unknown entry = { 0 };
    va_list arguments;
    va_start(arguments, why_format);
    vsnprintf(entry.why, sizeof entry.why, why_format, arguments);
    va_end(arguments);
    text_copy(entry.what, sizeof entry.what, what);
    for (unsigned i = 0; i < record->unknown_count; i++)
        if (strcmp(record->unknown[i].what, entry.what) == 0 && strcmp(record->unknown[i].why, entry.why) == 0)
            return;
    if (record->unknown_count == sizeof record->unknown / sizeof record->unknown[0])
        record->unknown_lost++;
    else
        record->unknown[record->unknown_count++] = entry;
}

void record_hook(struct record *record, const char *name, const char *outcome, int64_t took_us, const char *why)
{
    unsigned at = 0;
    while (at < record->hook_count && strcmp(record->hooks[at].name, name) != 0)
        at++;
    if (at == sizeof record->hooks / sizeof record->hooks[0])
        return;
    record->hooks[at] = (struct record_hook){ .name = name, .outcome = outcome, .took_us = took_us };
    text_copy(record->hooks[at].why, sizeof record->hooks[at].why, why);
    if (at == record->hook_count)
        record->hook_count++;
}

void record_note_life(struct record_past *past, const struct record_life *life)
{
    past->restarts++;
    if (past->count == RECORD_LIVES)
        memmove(past->lives, past->lives + 1, --past->count * sizeof *past->lives);
    past->lives[past->count++] = *life;
}

void record_finish(struct record *record)
{
    for (unsigned i = 0; i < record->handle_count; i++)
        free(record->handles[i].timeline);
    free(record->handles);
    free(record->slots);
    record->handles = NULL;
    record->slots = NULL;
    record->handle_count = record->handle_room = record->slot_room = 0;
}

bool record_is_leaked(const struct recorded_handle *handle)
{
    enum outcome outcome = handle->outcome;
    bool half_closed = outcome == OUTCOME_ENDED_BY_SERVER && handle->last.tcp_state == TCP_CLOSE_WAIT;
    return half_closed || outcome == OUTCOME_HANDED_BACK || outcome == OUTCOME_ENDED_BY_COMMAND
           || outcome == OUTCOME_ORPHAN_ENDED || outcome == OUTCOME_STILL_THERE;
}

const char *outcome_name(enum outcome outcome)
{
    static const char *const names[] = {
        [OUTCOME_OPEN] = "unknown",
        [OUTCOME_CLOSED_BY_APP] = "closed by the app",
        [OUTCOME_CLOSED_UNSEEN] = "closed unseen",
        [OUTCOME_HANDED_BACK] = "handed back",
        [OUTCOME_ENDED_BY_COMMAND] = "ended by command",
        [OUTCOME_ORPHAN_ENDED] = "orphan ended",
        [OUTCOME_ENDED_BY_SERVER] = "ended by the server",
        [OUTCOME_STILL_THERE] = "still there",
    };
    return (size_t)outcome < sizeof names / sizeof names[0] ? names[outcome] : "unknown";
}

const char *leak_kind_name(enum leak_kind kind)
{
    static const char *const names[] = {
        [LEAK_NONE] = "none",
        [LEAK_LEFT_OPEN] = "left open",
        [LEAK_TRANSACTION_OPEN] = "transaction open",
        [LEAK_HALF_CLOSED] = "half closed",
        [LEAK_STALE] = "stale",
        [LEAK_OVER_LIMIT] = "over the limit",
    };
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "none";
}
