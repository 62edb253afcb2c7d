/* Which sessions are hidden, and since when: see agent/ledger/hidden.h. Pure but for its memory. */
#include "agent/ledger/hidden.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/clock.h"

#define AGAIN_US US_PER_SECOND

static bool is_hidden(const struct session *session)
{
    return session->client.family == ENDPOINT_NONE;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool make_room(struct hidden *hidden, size_t count)
{
    if (count <= hidden->room)
        return true;
    uint64_t *ids = realloc(hidden->ids, count * sizeof *ids);
    hidden->ids = ids ? ids : hidden->ids;
    uint64_t *before = realloc(hidden->before, count * sizeof *before);
    hidden->before = before ? before : hidden->before;
    if (!ids || !before)
        return false;
    hidden->room = count;
    return true;
}

static void swap(struct hidden *hidden)
{
    uint64_t *ids = hidden->ids;
    hidden->ids = hidden->before;
    hidden->before = ids;
}

void hidden_note(struct hidden *hidden, const struct session *sessions, size_t count, int64_t asked_at_us)
{
    size_t before = hidden->count;
    bool has_room = make_room(hidden, count), new = !has_room || asked_at_us - hidden->asked_at_us > AGAIN_US;
    hidden->count = 0;
    hidden->asked_at_us = asked_at_us;
    swap(hidden);
    for (size_t i = 0; i < count && has_room; i++)
        if (is_hidden(&sessions[i]))
            hidden->ids[hidden->count++] = sessions[i].id;
    if (hidden->count)
        qsort(hidden->ids, hidden->count, sizeof *hidden->ids, compare_ids);
    for (size_t i = 0; i < hidden->count && !new; i++)
        new = !before || !bsearch(&hidden->ids[i], hidden->before, before, sizeof *hidden->before, compare_ids);
    if (has_room && !hidden->count)
        hidden->since_us = 0;
    else if (new)
        hidden->since_us = asked_at_us;
}

void hidden_finish(struct hidden *hidden)
{
    free(hidden->ids);
    free(hidden->before);
    *hidden = (struct hidden){0};
}
