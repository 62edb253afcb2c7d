/* A finished record as JSON: the whole of it, the app and the stop, and the short form. The servers with the connections
 * to them are in json_targets.c, what was before this life of the app in json_before.c. The schema, key by key, is in
 * src/supervisor/report/README.md.
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
#include "supervisor/report/json_builder.h"
#include "supervisor/report/report.h"
#include "supervisor/report/said.h"
#include "supervisor/report/tally.h"

enum { ARGUMENTS_MOST = 64 };

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
    put(builder, report, "targets", json_targets(builder));
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
