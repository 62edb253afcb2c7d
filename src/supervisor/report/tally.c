/* Counting a record, and what does not follow from the counts because something was not seen.
 *
 * Never counts an unknown as a zero or as a success, and never changes the record. */
#include "supervisor/report/tally.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

static bool nothing_was_seen(const struct record *record)
{
    return record->lost > 0 || (!record->is_stop && record->sample_age_us < 0);
}

static bool transaction_is_unknown(const struct recorded_handle *handle)
{
    return handle->transaction == TRANSACTION_UNKNOWN || handle->unseen_at_start
           || (handle->in_flight_at_start && handle->transaction == TRANSACTION_NONE);
}

static void count_outcome(struct tally *tally, const struct recorded_handle *handle)
{
    enum outcome outcome = handle->outcome;
    bool leaked = record_is_leaked(handle), by_server = outcome == OUTCOME_ENDED_BY_SERVER;
    tally->closed_by_app += outcome == OUTCOME_CLOSED_BY_APP;
    tally->closed_unseen += outcome == OUTCOME_CLOSED_UNSEEN;
    tally->ended_by_server += by_server && !leaked;
    tally->outcome_unknown += outcome == OUTCOME_OPEN;
    tally->leaked += leaked;
    tally->already_ended += by_server && leaked;
    tally->handed_back += leaked && !by_server && outcome != OUTCOME_STILL_THERE;
    tally->still_there += outcome == OUTCOME_STILL_THERE;
    tally->sessions_killed += outcome == OUTCOME_ENDED_BY_COMMAND || outcome == OUTCOME_ORPHAN_ENDED;
    tally->orphans_ended += outcome == OUTCOME_ORPHAN_ENDED;
}

struct tally tally_target(const struct record *record, unsigned target)
{
    struct tally tally = { .known = !record->targets[target].unseen && !nothing_was_seen(record), .known_by = -1 };
    for (unsigned i = 0; i < record->handle_count; i++) {
        const struct recorded_handle *handle = &record->handles[i];
        if (handle->last.target != target)
            continue;
        tally.handles++;
        count_outcome(&tally, handle);
        tally.aborted += (handle->transaction == TRANSACTION_ABORTED) + handle->aborted_later;
        tally.transactions_unknown += transaction_is_unknown(handle) || handle->unseen_later;
        if (tally.known_by < 0 || handle->last.known_by < tally.known_by)
            tally.known_by = handle->last.known_by;
    }
    return tally;
}

static bool every_target_was_seen(const struct record *record)
{
    for (unsigned i = 0; i < record->target_count; i++)
        if (record->targets[i].unseen && !record->targets[i].look_only)
            return false;
    return record->target_count > 0;
}

struct tally_stop tally_stop(const struct record *record)
{
    struct tally_stop stop = { 0 };
    for (unsigned i = 0; i < record->handle_count; i++) {
        const struct recorded_handle *handle = &record->handles[i];
        stop.in_flight += handle->in_flight_at_start;
        stop.finished += handle->in_flight_at_start && handle->transaction == TRANSACTION_FINISHED;
        stop.aborted += handle->in_flight_at_start && handle->transaction == TRANSACTION_ABORTED;
        stop.aborted_later += handle->aborted_later;
        stop.aborted_later += !handle->in_flight_at_start && handle->transaction == TRANSACTION_ABORTED;
        stop.unknown += transaction_is_unknown(handle);
        stop.unseen_later += handle->unseen_later;
    }
    stop.in_flight_known = record->is_stop && !nothing_was_seen(record) && every_target_was_seen(record);
    stop.ends_known = stop.in_flight_known && stop.unknown == 0;
    stop.later_known = stop.ends_known && stop.unseen_later == 0;
    return stop;
}

struct list {
    struct record_unknown *at;
    unsigned room, count;
};

__attribute__((format(printf, 3, 4)))
static void add(struct list *list, const char *what, const char *why_format, ...)
{
    if (list->count++ >= list->room)
        return;
    struct record_unknown *entry = &list->at[list->count - 1];
    text_copy(entry->what, sizeof entry->what, what);
    va_list arguments;
    va_start(arguments, why_format);
    vsnprintf(entry->why, sizeof entry->why, why_format, arguments);
    va_end(arguments);
}

static void add_sample(const struct record *record, struct list *list)
{
    char age[32];
    struct text text = text_in(age, sizeof age);
    text_add_duration(&text, record->sample_age_us);
    if (record->sample_age_us < 0)
        add(list, "the app's connections", "the app ended without a stop, and they had not been looked at before");
    else
        add(list, "the app's last moments", "it ended without a stop; its connections were last looked at %s before",
            age);
}

static bool some_were_unseen(const struct record *record, unsigned target)
{
    for (unsigned i = 0; i < record->handle_count; i++)
        if (record->handles[i].last.target == target && record->handles[i].unseen_at_start)
            return true;
    return false;
}

static void add_targets(const struct record *record, struct list *list)
{
    for (unsigned i = 0; i < record->target_count; i++) {
        const char *name = record->targets[i].name;
        unsigned open = tally_target(record, i).outcome_unknown;
        if (record->targets[i].unseen && record->is_stop)
            add(list, name, "the app's connections to it were never seen");
        else if (open > 0)
            add(list, name, "nobody saw what became of %u of the app's connections", open);
        if (some_were_unseen(record, i))
            add(list, name, "the state of some sessions could not be seen (no answer, no right, or track_activities "
                            "is off)");
    }
}

unsigned tally_unknown(const struct record *record, struct record_unknown *entries, unsigned room)
{
    struct list list = { .at = entries, .room = room };
    struct tally_stop stop = tally_stop(record);
    if (!record->is_stop && record->target_count > 0)
        add_sample(record, &list);
    if (record->is_stop && stop.unknown > 0)
        add(&list, "transactions", "nobody saw what became of %u that were in flight", stop.unknown);
    if (record->is_stop && stop.unseen_later > 0)
        add(&list, "transactions begun after the signal", "nobody saw how %u connections ended", stop.unseen_later);
    add_targets(record, &list);
    if (record->lost > 0)
        add(&list, "connections", "there was no memory to record %u of them", record->lost);
    for (unsigned i = 0; i < record->unknown_count; i++)
        add(&list, record->unknown[i].what, "%s", record->unknown[i].why);
    if (record->unknown_lost > 0)
        add(&list, "more", "%u further things are not known", record->unknown_lost);
    return list.count;
}
