/* Sessions by client and by id: see agent/ledger/index.h. Pure: no I/O. */
#include "agent/ledger/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_clients(const void *a, const void *b)
{
    return memcmp(&((const struct index_entry *)a)->client, &((const struct index_entry *)b)->client,
                  sizeof(struct endpoint));
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const struct index_entry *)a)->session->id, y = ((const struct index_entry *)b)->session->id;
    return x < y ? -1 : x > y;
}

static int make_room(struct session_index *index, size_t count)
{
    index->count = 0;
    index->at = calloc(count + 1, sizeof *index->at);
    if (index->at)
        return 0;
    errno = ENOMEM;
    return -1;
}

int index_build_by_client(struct session_index *index, const struct session *sessions, size_t count,
                          index_client_fn *client_of, const void *context)
{
    if (make_room(index, count) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct index_entry *entry = &index->at[index->count];
        entry->session = &sessions[i];
        index->count += client_of(context, &sessions[i], &entry->client);
    }
    qsort(index->at, index->count, sizeof *index->at, compare_clients);
    return 0;
}

int index_build_by_id(struct session_index *index, const struct session *sessions, size_t count)
{
    if (make_room(index, count) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        index->at[index->count++].session = &sessions[i];
    qsort(index->at, index->count, sizeof *index->at, compare_ids);
    return 0;
}

void index_finish(struct session_index *index)
{
    free(index->at);
    *index = (struct session_index){0};
}

static bool tells_more(const struct session *a, const struct session *b)
{
    bool a_works = a->state != SESSION_IDLE, b_works = b->state != SESSION_IDLE;
    return a_works != b_works ? a_works : a->state_change > b->state_change;
}

const struct session *index_find_client(const struct session_index *index, const struct endpoint *client)
{
    struct index_entry key = {.client = *client};
    if (!index->count)
        return NULL;
    const struct index_entry *end = index->at + index->count;
    const struct index_entry *hit = bsearch(&key, index->at, index->count, sizeof key, compare_clients);
    if (!hit)
        return NULL;
    while (hit > index->at && compare_clients(&hit[-1], &key) == 0)
        hit--;
    const struct session *best = hit->session;
    for (hit++; hit < end && compare_clients(hit, &key) == 0; hit++)
        if (tells_more(hit->session, best))
            best = hit->session;
    return best;
}

const struct session *index_find_id(const struct session_index *index, uint64_t id)
{
    struct session session = {.id = id};
    struct index_entry key = {.session = &session};
    if (!index->count)
        return NULL;
    const struct index_entry *hit = bsearch(&key, index->at, index->count, sizeof key, compare_ids);
    return hit ? hit->session : NULL;
}
