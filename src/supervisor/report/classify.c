/* Which kind of leak a leaked handle is. Decides from facts in the record only. */
#include <netinet/tcp.h>

#include "supervisor/report/report.h"

/* Redis' "active" is a command that runs, no transaction. */
static bool transaction_is_open(const struct record *record, const struct handle_row *row)
{
    if (row->state == SESSION_IN_TRANSACTION || row->state == SESSION_IN_FAILED_TRANSACTION)
        return true;
    bool redis = row->target < record->target_count && record->targets[row->target].kind == TARGET_REDIS;
    return row->state == SESSION_ACTIVE && !redis;
}

static bool is_stale(const struct record *record, const struct handle_row *row)
{
    int64_t age_us = row->state_age_us;
    if (age_us < 0 && row->has_info)
        age_us = INT64_C(1000) *
                 (row->last_sent_ms < row->last_received_ms ? row->last_sent_ms : row->last_received_ms);
    return record->leak_stale_us > 0 && age_us > record->leak_stale_us;
}

/* `place`: how many leaked handles of the same target were recorded before this one. */
static enum leak_kind kind_of(const struct record *record, const struct recorded_handle *handle, unsigned place)
{
    const struct handle_row *row = &handle->last;
    int limit = row->target < record->target_count ? record->targets[row->target].limit : -1;
    if (handle->outcome != OUTCOME_ENDED_BY_SERVER && transaction_is_open(record, row))
        return LEAK_TRANSACTION_OPEN; /* the server's end of a session is its transaction's, too */
    if (row->tcp_state == TCP_CLOSE_WAIT)
        return LEAK_HALF_CLOSED;
    if (limit > 0 && place >= (unsigned)limit)
        return LEAK_OVER_LIMIT;
    return is_stale(record, row) ? LEAK_STALE : LEAK_LEFT_OPEN;
}

void report_classify(struct record *record)
{
    unsigned leaked[WIRE_TARGETS] = { 0 };
    for (unsigned i = 0; i < record->handle_count; i++) {
        struct recorded_handle *handle = &record->handles[i];
        unsigned target = handle->last.target < WIRE_TARGETS ? handle->last.target : WIRE_TARGETS - 1;
        handle->leak = LEAK_NONE;
        if (record_is_leaked(handle))
            handle->leak = kind_of(record, handle, leaked[target]++);
    }
}
