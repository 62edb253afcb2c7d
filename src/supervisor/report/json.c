/* A finished record as JSON. The schema, key by key, is in src/supervisor/report/README.md.
 *
 * Only used before the app started and after it ended (jansson allocates as it likes). Never writes an unknown as a
 * number: it is null, and "unknown" has the reason. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/signals.h"
#include "supervisor/report/json_before.h"
#include "supervisor/report/report.h"
#include "supervisor/report/said.h"
#include "supervisor/report/tally.h"

enum { CONNECTIONS_MOST = 1000, ARGUMENTS_MOST = 64 };

/* What is in it. A short report leaves out one more of these at each try, in this order. */
enum { SHOW_CONNECTIONS = 1, SHOW_DETAILS = 2, SHOW_TARGETS = 4, SHOW_UNKNOWN = 8, SHOW_ALL = 15 };

struct builder {
    const struct record *record;
    unsigned show;
    bool failed; /* there was no memory: what was built is not whole */
};

static void put(struct builder *builder, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        builder->failed = true;
}

static void append(struct builder *builder, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        builder->failed = true;
}

static bool shows(const struct builder *builder, unsigned what)
{
    return (builder->show & what) != 0;
}

static json_t *count_or_null(bool known, unsigned count)
{
    return known ? json_integer(count) : json_null();
}

static json_t *number_or_null(int number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

static json_t *seconds_or_null(bool known, int64_t us)
{
    return known ? json_real((double)us / 1e6) : json_null();
}

/* Bounded text from outside: escaped, or null when there is none. */
static json_t *text_or_null(const char *bytes, size_t length)
{
    char said[SAID_ROOM];
    struct text text = text_in(said, sizeof said);
    text_add_escaped(&text, bytes, strnlen(bytes, length));
    return text.length > 0 ? json_string(said) : json_null();
}
#define ARRAY_OR_NULL(array) text_or_null(array, sizeof(array))

static json_t *endpoint_or_null(const struct endpoint *endpoint)
{
    char said[64];
    struct text text = text_in(said, sizeof said);
    endpoint_format(endpoint, &text);
    return endpoint->family == ENDPOINT_NONE ? json_null() : json_string(said);
}

/* app */

static json_t *command_json(struct builder *builder)
{
    char *const *command = builder->record->command;
    if (command == NULL || !shows(builder, SHOW_DETAILS))
        return json_null();
    json_t *array = json_array();
    for (unsigned i = 0; command[i] != NULL; i++) {
        char said[SAID_ROOM];
        struct text text = text_in(said, sizeof said);
        if (i == ARGUMENTS_MOST) {
            append(builder, array, json_string("…"));
            break;
        }
        said_argument(&text, command[i], i == 0 ? NULL : command[i - 1]);
        append(builder, array, json_string(said));
    }
    return array;
}

static json_t *app_json(struct builder *builder)
{
    const struct record *record = builder->record;
    json_t *app = json_object();
    bool ended = record->app_ended_us > 0 && record->stop_began_us > 0;
    put(builder, app, "pid", record->app_pid > 0 ? json_integer(record->app_pid) : json_null());
    put(builder, app, "command", command_json(builder));
    put(builder, app, "exit_code", record->exit_signal != 0 ? json_null() : number_or_null(record->exit_code));
    put(builder, app, "signal", record->exit_signal == 0 ? json_null() : json_string(signal_name(record->exit_signal)));
    put(builder, app, "restarts", json_integer(record->past.restarts));
    put(builder, app, "earlier", shows(builder, SHOW_DETAILS) ? json_earlier(&record->past) : json_null());
    put(builder, app, "ended_after_seconds", seconds_or_null(ended, record->app_ended_us - record->stop_began_us));
    return app;
}

/* stop */

static json_t *phases_json(struct builder *builder)
{
    const struct record *record = builder->record;
    if (!shows(builder, SHOW_DETAILS))
        return json_null();
    json_t *phases = json_array();
    for (unsigned i = 0; i < record->phase_count; i++) {
        bool last = i + 1 == record->phase_count;
        int64_t end_us = last ? record->ended_us : record->phases[i + 1].began_us;
        json_t *phase = json_object();
        put(builder, phase, "phase", json_string(record->phases[i].name));
        put(builder, phase, "seconds", seconds_or_null(end_us > 0, end_us - record->phases[i].began_us));
        append(builder, phases, phase);
    }
    return phases;
}

static json_t *sampled_json(struct builder *builder)
{
    const struct record *record = builder->record;
    if (record->is_stop)
        return json_null();
    json_t *sampled = json_object();
    put(builder, sampled, "age_seconds", seconds_or_null(record->sample_age_us >= 0, record->sample_age_us));
    return sampled;
}

static json_t *stop_json(struct builder *builder)
{
    const struct record *record = builder->record;
    struct tally_stop tally = tally_stop(record);
    bool ended = record->ended_us > 0 && record->stop_began_us > 0;
    json_t *stop = json_object();
    put(builder, stop, "reason", ARRAY_OR_NULL(record->reason));
    put(builder, stop, "started_at", json_wall(record->stop_began_wall_us));
    put(builder, stop, "seconds", seconds_or_null(ended, record->ended_us - record->stop_began_us));
    put(builder, stop, "grace_seconds", seconds_or_null(record->grace_us > 0, record->grace_us));
    put(builder, stop, "in_flight", count_or_null(tally.in_flight_known, tally.in_flight));
    put(builder, stop, "finished", count_or_null(tally.ends_known, tally.finished));
    put(builder, stop, "aborted", count_or_null(tally.later_known, tally.aborted + tally.aborted_later));
    put(builder, stop, "phases", phases_json(builder));
    put(builder, stop, "sampled", sampled_json(builder));
    return stop;
}

/* targets */

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

static json_t *targets_json(struct builder *builder)
{
    if (!shows(builder, SHOW_TARGETS))
        return json_null();
    json_t *targets = json_array();
    for (unsigned i = 0; i < builder->record->target_count; i++)
        append(builder, targets, target_json(builder, i));
    return targets;
}

/* The rest */

static json_t *requests_json(struct builder *builder)
{
    const struct record_requests *told = &builder->record->requests;
    bool sure = told->seen && told->unsure == 0, all = sure && told->finished == told->in_progress;
    json_t *requests = json_object();
    put(builder, requests, "in_progress", count_or_null(sure, told->in_progress));
    put(builder, requests, "finished", count_or_null(all, told->finished));
    put(builder, requests, "refused", count_or_null(told->seen, told->refused));
    return requests;
}

static json_t *hooks_json(struct builder *builder)
{
    const struct record *record = builder->record;
    if (!shows(builder, SHOW_DETAILS))
        return record->hook_count == 0 ? json_array() : json_null();
    json_t *hooks = json_array();
    for (unsigned i = 0; i < record->hook_count; i++) {
        const struct record_hook *hook = &record->hooks[i];
        json_t *entry = json_object();
        put(builder, entry, "name", json_string(hook->name));
        put(builder, entry, "outcome", json_string(hook->outcome));
        put(builder, entry, "seconds", seconds_or_null(hook->took_us >= 0, hook->took_us));
        put(builder, entry, "why", ARRAY_OR_NULL(hook->why));
        append(builder, hooks, entry);
    }
    return hooks;
}

static json_t *unknown_json(struct builder *builder)
{
    struct record_unknown list[TALLY_UNKNOWN];
    unsigned count = tally_unknown(builder->record, list, TALLY_UNKNOWN);
    if (!shows(builder, SHOW_UNKNOWN))
        return count == 0 ? json_array() : json_null();
    json_t *unknown = json_array();
    for (unsigned i = 0; i < count && i < TALLY_UNKNOWN; i++) {
        json_t *entry = json_object();
        put(builder, entry, "what", ARRAY_OR_NULL(list[i].what));
        put(builder, entry, "why", ARRAY_OR_NULL(list[i].why));
        append(builder, unknown, entry);
    }
    return unknown;
}

static json_t *left_out_json(struct builder *builder)
{
    static const char *const names[] = { "connections", "details", "targets", "unknown" };
    json_t *left_out = json_array();
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!shows(builder, 1U << i))
            append(builder, left_out, json_string(names[i]));
    return left_out;
}

static json_t *report_object(struct builder *builder)
{
    const char *hands = builder->record->hands;
    json_t *report = json_object();
    put(builder, report, "schema", json_string("lastcall.report/1"));
    put(builder, report, "app", app_json(builder));
    put(builder, report, "stop", stop_json(builder));
    put(builder, report, "targets", targets_json(builder));
    put(builder, report, "requests", requests_json(builder));
    put(builder, report, "predecessor",
        shows(builder, SHOW_DETAILS) ? json_predecessor(builder->record) : json_null());
    put(builder, report, "hands", hands == NULL ? json_null() : json_string(hands));
    put(builder, report, "hooks", hooks_json(builder));
    put(builder, report, "unknown", unknown_json(builder));
    put(builder, report, "exit_code", number_or_null(builder->record->lastcall_exit_code));
    put(builder, report, "left_out", left_out_json(builder));
    return report;
}

static char *report_text(const struct record *record, unsigned show)
{
    struct builder builder = { .record = record, .show = show };
    json_t *report = report_object(&builder);
    char *json = builder.failed ? NULL : json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(report);
    if (json == NULL)
        errno = ENOMEM;
    return json;
}

char *report_json(const struct record *record)
{
    return report_text(record, SHOW_ALL);
}

char *report_json_short(const struct record *record, unsigned long size)
{
    unsigned show = SHOW_ALL;
    for (unsigned less = SHOW_CONNECTIONS;; less <<= 1) {
        char *json = report_text(record, show);
        if (json == NULL || strlen(json) < size)
            return json;
        free(json);
        if (show == 0)
            return NULL;
        show &= ~less;
    }
}
