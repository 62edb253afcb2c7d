/* The servers of a finished record and the app's connections to them, as JSON. The schema, key by key, is in
 * src/supervisor/report/README.md.
 *
 * Never writes an unknown as a number: it is null. A connection that nobody saw the end of makes the sums null, too. */
#include <string.h>

#include "common/clock.h"
#include "supervisor/report/json_builder.h"
#include "supervisor/report/said.h"
#include "supervisor/report/tally.h"

enum { CONNECTIONS_MOST = 1000 };

static json_t *endpoint_or_null(const struct endpoint *endpoint)
{
    char said[64];
    struct text text = text_in(said, sizeof said);
    endpoint_format(endpoint, &text);
    return endpoint->family == ENDPOINT_NONE ? json_null() : json_string(said);
}

static json_t *timeline_json(struct builder *builder, const struct recorded_handle *handle)
{
    json_t *timeline = json_array();
    for (unsigned i = 0; i < handle->timeline_count; i++) {
        json_t *entry = json_object();
        int64_t after_us = handle->timeline[i].at_us - builder->record->stop_began_us;
        put(builder, entry, "at_seconds", seconds_or_null(builder->record->stop_began_us > 0, after_us));
        put(builder, entry, "what", json_string(handle->timeline[i].what));
        append(builder, timeline, entry);
    }
    return timeline;
}

static json_t *query_json(const struct builder *builder, const struct handle_row *row)
{
    char said[SAID_ROOM];
    struct text text = text_in(said, sizeof said);
    if (builder->record->query_text)
        said_query(&text, row->query);
    return text.length > 0 ? json_string(said) : json_null();
}

static json_t *quiet_json(const struct handle_row *row)
{
    uint32_t quiet_ms = row->last_sent_ms < row->last_received_ms ? row->last_sent_ms : row->last_received_ms;
    return seconds_or_null(row->has_info != 0, US_PER_MS * quiet_ms);
}

static json_t *transaction_json(const struct recorded_handle *handle)
{
    bool unknown = handle->transaction == TRANSACTION_UNKNOWN;
    if (handle->transaction == TRANSACTION_FINISHED)
        return json_string("finished");
    if (handle->transaction == TRANSACTION_ABORTED)
        return json_string("aborted");
    return unknown || handle->in_flight_at_start ? json_null() : json_string("none");
}

static void put_session(struct builder *builder, json_t *connection, const struct handle_row *row)
{
    bool known = row->state != SESSION_UNKNOWN;
    bool certain = row->session != 0 && (row->known_by == KNOWN_EXACT || row->told_apart == 1);
    put(builder, connection, "state", known ? json_string(session_state_name(row->state)) : json_null());
    put(builder, connection, "age_seconds", seconds_or_null(known && row->state_age_us >= 0, row->state_age_us));
    put(builder, connection, "quiet_seconds", quiet_json(row));
    put(builder, connection, "transaction_seconds",
        seconds_or_null(row->transaction_age_us >= 0, row->transaction_age_us));
    put(builder, connection, "last_query", query_json(builder, row));
    put(builder, connection, "session", certain ? json_integer((json_int_t)row->session) : json_null());
    put(builder, connection, "known_by", json_string(known_by_name(row->known_by)));
}

static json_t *holder_json(struct builder *builder, int pid, int fd)
{
    json_t *holder = json_object();
    put(builder, holder, "pid", number_or_null(pid > 0 ? pid : -1));
    put(builder, holder, "fd", number_or_null(fd));
    return holder;
}

/* As last seen, and no more than a row names. */
static json_t *holders_json(struct builder *builder, const struct handle_row *row)
{
    json_t *holders = json_array();
    append(builder, holders, holder_json(builder, row->pid, row->fd));
    for (size_t i = 0; i < SOCKET_OTHERS && row->others[i].pid > 0; i++)
        append(builder, holders, holder_json(builder, row->others[i].pid, row->others[i].fd));
    return holders;
}

static json_t *connection_json(struct builder *builder, const struct recorded_handle *handle)
{
    const struct handle_row *row = &handle->last;
    json_t *connection = json_object();
    put(builder, connection, "pid", number_or_null(row->pid > 0 ? row->pid : -1));
    put(builder, connection, "fd", number_or_null(row->fd));
    put(builder, connection, "holders", holders_json(builder, row));
    put(builder, connection, "descriptors", number_or_null(row->descriptors > 0 ? row->descriptors : -1));
    put(builder, connection, "local", endpoint_or_null(&row->local));
    put(builder, connection, "remote", endpoint_or_null(&row->remote));
    put_session(builder, connection, row);
    put(builder, connection, "in_flight", json_boolean(handle->in_flight_at_start));
    put(builder, connection, "transaction", transaction_json(handle));
    put(builder, connection, "outcome",
        handle->outcome == OUTCOME_OPEN ? json_null() : json_string(outcome_name(handle->outcome)));
    put(builder, connection, "leak",
        handle->leak == LEAK_NONE ? json_null() : json_string(leak_kind_name(handle->leak)));
    put(builder, connection, "note", ARRAY_OR_NULL(handle->note));
    put(builder, connection, "timeline", timeline_json(builder, handle));
    return connection;
}

/* Those that the app closed come last: they are the ones to leave out when there are very many. */
static json_t *connections_json(struct builder *builder, unsigned target, unsigned *left_out)
{
    json_t *connections = json_array();
    unsigned listed = 0;
    for (int closed = 0; closed <= 1; closed++)
        for (unsigned i = 0; i < builder->record->handle_count; i++) {
            const struct recorded_handle *handle = &builder->record->handles[i];
            if (handle->last.target != target || (handle->outcome == OUTCOME_CLOSED_BY_APP) != closed)
                continue;
            if (listed < CONNECTIONS_MOST)
                append(builder, connections, connection_json(builder, handle));
            listed++;
        }
    *left_out = listed > CONNECTIONS_MOST ? listed - CONNECTIONS_MOST : 0;
    return connections;
}

static void put_details(struct builder *builder, json_t *object, unsigned target, const struct tally *tally)
{
    const struct record_target *about = &builder->record->targets[target];
    bool known = tally->known;
    put(builder, object, "closed_unseen", count_or_null(known, tally->closed_unseen));
    put(builder, object, "ended_by_server", count_or_null(known, tally->ended_by_server));
    put(builder, object, "already_ended", count_or_null(known, tally->already_ended));
    put(builder, object, "still_there", count_or_null(known, tally->still_there));
    put(builder, object, "outcome_unknown", count_or_null(known, tally->outcome_unknown));
    put(builder, object, "sessions_killed", count_or_null(known, tally->sessions_killed));
    put(builder, object, "look_only", json_boolean(about->look_only));
    put(builder, object, "limit", about->limit > 0 ? json_integer(about->limit) : json_null());
}

static void put_connections(struct builder *builder, json_t *object, unsigned target)
{
    unsigned left_out = 0;
    put(builder, object, "connections", connections_json(builder, target, &left_out));
    put(builder, object, "connections_left_out", json_integer(left_out));
}

static json_t *target_json(struct builder *builder, unsigned target)
{
    const struct record_target *about = &builder->record->targets[target];
    struct tally tally = tally_target(builder->record, target);
    bool known = tally.known, ends_known = known && tally.outcome_unknown == 0;
    bool aborted_known = known && builder->record->is_stop && tally.transactions_unknown == 0;
    json_t *object = json_object();
    put(builder, object, "name", ARRAY_OR_NULL(about->name));
    put(builder, object, "kind", json_string(target_kind_name(about->kind)));
    put(builder, object, "handles", count_or_null(known, tally.handles));
    put(builder, object, "closed_by_app", count_or_null(ends_known, tally.closed_by_app));
    put(builder, object, "leaked", count_or_null(ends_known, tally.leaked));
    put(builder, object, "handed_back", count_or_null(known, tally.handed_back));
    put(builder, object, "orphans_ended", count_or_null(known, tally.orphans_ended));
    put(builder, object, "aborted", count_or_null(aborted_known, tally.aborted));
    put(builder, object, "known_by",
        tally.known_by < 0 ? json_null() : json_string(known_by_name((unsigned)tally.known_by)));
    if (shows(builder, SHOW_DETAILS))
        put_details(builder, object, target, &tally);
    if (shows(builder, SHOW_CONNECTIONS))
        put_connections(builder, object, target);
    else
        put(builder, object, "connections", json_null());
    return object;
}

json_t *json_targets(struct builder *builder)
{
    if (!shows(builder, SHOW_TARGETS))
        return json_null();
    json_t *targets = json_array();
    for (unsigned i = 0; i < builder->record->target_count; i++)
        append(builder, targets, target_json(builder, i));
    return targets;
}
