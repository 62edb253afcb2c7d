/* A finished record for people: what a stop did, in a few lines that can be read at night.
 *
 * Never longer than about 60 lines, never more than one line for one thing, whatever the texts in it are. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/signals.h"
#include "supervisor/report/report.h"
#include "supervisor/report/said.h"
#include "supervisor/report/tally.h"

enum { LINES_MOST = 60, UNKNOWN_LINES = 12, TARGET_LINES_LEAST = 8, QUERY_WIDTH = 60, QUERY_BYTES = 160 };

/* Appends `cell` and spaces up to `width` columns. */
static void add_padded(struct text *text, const char *cell, size_t width)
{
    size_t used = said_width(cell);
    text_add(text, "%s%*s", cell, used < width ? (int)(width - used) : 0, "");
}

static const char *plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* The first line */

static void add_ending(const struct record *record, struct text *text)
{
    if (record->exit_signal != 0)
        text_add(text, "ended by %s", signal_name(record->exit_signal));
    else if (record->exit_code >= 0)
        text_add(text, "exited with %d%s", record->exit_code, record->is_stop ? "," : "");
    else
        text_add(text, "had not ended%s", record->is_stop ? "" : " yet");
}

static void add_when(const struct record *record, struct text *text)
{
    int64_t end_us = record->app_ended_us > 0 ? record->app_ended_us : record->ended_us;
    if (end_us > 0) {
        text_add(text, " ");
        text_add_duration(text, end_us - record->stop_began_us);
    }
    text_add(text, " after the stop began");
    if (record->exit_signal != 0 && strcmp(record->reason, signal_name(record->exit_signal)) == 0)
        return;
    if (record->reason[0] != '\0') {
        text_add(text, " (");
        text_add_escaped(text, record->reason, sizeof record->reason);
        text_add(text, ")");
    }
}

static void add_sample(const struct record *record, struct text *text)
{
    text_add(text, " without a stop");
    if (record->target_count == 0)
        return;
    text_add(text, record->sample_age_us < 0 ? "; its connections had not been looked at" : "; connections as seen ");
    if (record->sample_age_us < 0)
        return;
    text_add_duration(text, record->sample_age_us);
    text_add(text, " before");
}

static void add_first_line(const struct record *record, struct text *text)
{
    text_add(text, record->app_pid > 0 ? "lastcall: app (pid %d) " : "lastcall: app ", record->app_pid);
    if (record->app_pid > 0)
        add_ending(record, text);
    else
        text_add(text, "could not be started");
    if (record->is_stop)
        add_when(record, text);
    else
        add_sample(record, text);
    text_add(text, "\n");
}

/* Left out for a first life. */
static void add_restarts(const struct record_past *past, struct text *text)
{
    enum { SAID = 3 };
    if (past->restarts == 0)
        return;
    text_add(text, "  restarted %u time%s before; it had", past->restarts, plural(past->restarts));
    for (unsigned i = past->count > SAID ? past->count - SAID : 0; i < past->count; i++) {
        const struct record_life *life = &past->lives[i];
        if (life->exit_signal != 0)
            text_add(text, " ended by %s", signal_name(life->exit_signal));
        else
            text_add(text, life->exit_code >= 0 ? " ended with %d" : " ended", life->exit_code);
        if (life->ran_us >= 0) {
            text_add(text, " after ");
            text_add_duration(text, life->ran_us);
        }
        text_add(text, "%s", i + 1 < past->count ? "," : "\n");
    }
}

/* Left out when there was none. */
static void add_predecessor(const struct record_predecessor *predecessor, struct text *text)
{
    unsigned all = predecessor->ended + predecessor->still_there;
    if (all == 0)
        return;
    text_add(text, "  predecessor  %u session%s left: %u ended", all, plural(all), predecessor->ended);
    if (predecessor->still_there > 0)
        text_add(text, ", %u STILL THERE", predecessor->still_there);
    text_add(text, "\n");
}

/* The second line: what was in flight. Left out when that was nothing. */
static void add_in_flight(const struct record *record, struct text *text)
{
    struct tally_stop stop = tally_stop(record);
    if (!record->is_stop || record->target_count == 0)
        return;
    if (stop.in_flight_known && stop.in_flight + stop.aborted_later + stop.unknown + stop.unseen_later == 0)
        return;
    text_add(text, "  in flight at the signal  ");
    if (!stop.in_flight_known)
        text_add(text, "unknown");
    else
        text_add(text, "%u transaction%s → %u finished, %u aborted", stop.in_flight, plural(stop.in_flight),
                 stop.finished, stop.aborted);
    if (stop.in_flight_known && stop.unknown > 0)
        text_add(text, ", %u unknown", stop.unknown);
    if (stop.aborted_later + stop.unseen_later > 0)
        text_add(text, "; begun after it: %u aborted", stop.aborted_later);
    if (stop.unseen_later > 0)
        text_add(text, ", perhaps more");
    text_add(text, "\n");
}

/* The app's own clients; left out when nobody asked anything. */
static void add_requests(const struct record *record, struct text *text)
{
    const struct record_requests *requests = &record->requests;
    if (!requests->seen || requests->in_progress + requests->refused + requests->unsure == 0)
        return;
    text_add(text, "  requests in progress     %s%u", requests->unsure ? "at least " : "", requests->in_progress);
    text_add(text, " → %u finished", requests->finished);
    if (requests->finished < requests->in_progress)
        text_add(text, ", %u unknown", requests->in_progress - requests->finished);
    if (requests->refused)
        text_add(text, "; %u answered 503", requests->refused);
    text_add(text, "\n");
}

/* A target's line */

static void label_of(const struct record_target *target, struct text *text)
{
    text_add(text, "%s ", target_kind_name(target->kind));
    text_add_escaped(text, target->name, sizeof target->name);
}

static void add_count(struct text *text, unsigned count, const char *what)
{
    if (count > 0)
        text_add(text, "   %u %s", count, what);
}

static void add_leaked(struct text *text, const struct tally *tally)
{
    unsigned goodbyes = tally->handed_back - tally->sessions_killed;
    if (tally->leaked == 0)
        return;
    text_add(text, "   %u leaked", tally->leaked);
    if (goodbyes == tally->leaked) {
        text_add(text, ", handed back by lastcall");
        return;
    }
    const struct { unsigned count; const char *what; } parts[] = {
        { goodbyes, "handed back by lastcall" },
        { tally->sessions_killed - tally->orphans_ended, "ended by command" },
        { tally->orphans_ended, "orphaned and ended on the server" },
        { tally->already_ended, "already ended by the server" },
        { tally->still_there, "STILL THERE" },
    };
    const char *before = ": ";
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].count == 0)
            continue;
        text_add(text, "%s%u %s", before, parts[i].count, parts[i].what);
        before = ", ";
    }
}

static void add_target_line(const struct tally *tally, const char *label, size_t width, struct text *text)
{
    text_add(text, "  ");
    add_padded(text, label, width);
    if (!tally->known && tally->handles == 0) {
        text_add(text, "  connections unknown\n");
        return;
    }
    text_add(text, "  %s%4u connection%-1s", tally->known ? "" : "at least", tally->handles, plural(tally->handles));
    if (tally->handles > 0 && tally->outcome_unknown < tally->handles)
        text_add(text, "   %u closed by the app", tally->closed_by_app);
    add_count(text, tally->closed_unseen, "closed, goodbye not seen");
    add_count(text, tally->ended_by_server, "ended by the server");
    add_leaked(text, tally);
    add_count(text, tally->outcome_unknown, "of unknown outcome");
    add_count(text, tally->aborted, tally->aborted == 1 ? "transaction aborted" : "transactions aborted");
    if (tally->known_by >= 0 && tally->known_by != KNOWN_EXACT)
        text_add(text, "   (known %s)",
                 tally->known_by == KNOWN_BY_NAME ? "by name" : "by socket only");
    text_add(text, "\n");
}

/* A connection's line */

struct cells {
    char holder[40], local[64], situation[64], rest[256];
};

static void add_age(struct text *text, const struct handle_row *row)
{
    bool known = row->state != SESSION_UNKNOWN;
    uint32_t quiet_ms = row->last_sent_ms < row->last_received_ms ? row->last_sent_ms : row->last_received_ms;
    int64_t age_us = known ? row->state_age_us : row->has_info ? US_PER_MS * quiet_ms : -1;
    if (age_us <= 0)
        return; /* Redis counts whole seconds: its 0 is no "0us" */
    text_add(text, known ? " " : ", quiet ");
    text_add_duration(text, age_us);
}

static void add_query(const struct handle_row *row, struct text *text)
{
    char said[SAID_ROOM];
    struct text query = text_in(said, sizeof said);
    said_query(&query, row->query);
    if (query.length == 0)
        return;
    size_t bytes = 0;
    for (size_t width = 0; said[bytes] != '\0'; bytes++)
        if (((unsigned char)said[bytes] & 0xc0) != 0x80 && (width++ == QUERY_WIDTH || bytes >= QUERY_BYTES))
            break;
    text_add(text, "last \"%.*s%s\"", (int)bytes, said, said[bytes] != '\0' ? "…" : "");
}

static void add_rest(const struct record *record, const struct recorded_handle *handle, struct text *text)
{
    if (record->query_text)
        add_query(&handle->last, text);
    if (handle->transaction == TRANSACTION_ABORTED)
        text_add(text, "%stransaction aborted", text->length > 0 ? ", " : "");
    if (handle->outcome != OUTCOME_HANDED_BACK)
        text_add(text, "%s%s", text->length > 0 ? ", " : "",
                 handle->outcome == OUTCOME_OPEN ? "outcome unknown" : outcome_name(handle->outcome));
    if (handle->note[0] == '\0')
        return;
    text_add(text, "%s", text->length > 0 ? ": " : "");
    text_add_escaped(text, handle->note, sizeof handle->note);
}

static struct cells cells_of(const struct record *record, const struct recorded_handle *handle)
{
    struct cells cells;
    const struct handle_row *row = &handle->last;
    struct text holder = text_in(cells.holder, sizeof cells.holder);
    struct text local = text_in(cells.local, sizeof cells.local);
    struct text situation = text_in(cells.situation, sizeof cells.situation);
    struct text rest = text_in(cells.rest, sizeof cells.rest);
    if (row->pid > 0 && row->pid != record->app_pid)
        text_add(&holder, "pid %d ", row->pid);
    text_add(&holder, row->fd >= 0 ? "fd %d" : "fd unknown", row->fd);
    if (row->descriptors > 1)
        text_add(&holder, " and %d more", row->descriptors - 1);
    endpoint_format(&row->local, &local);
    text_add(&situation, "%s", row->state == SESSION_UNKNOWN ? "state unknown" : session_state_name(row->state));
    add_age(&situation, row);
    bool said_by_state = handle->leak <= LEAK_TRANSACTION_OPEN;
    text_add(&situation, "%s%s", said_by_state ? "" : ", ", said_by_state ? "" : leak_kind_name(handle->leak));
    add_rest(record, handle, &rest);
    return cells;
}

/* Worth a line, the worst first: 1 …; 0: not. */
static unsigned rank_of(const struct recorded_handle *handle)
{
    static const unsigned char by_kind[] = { [LEAK_NONE] = 7,    [LEAK_LEFT_OPEN] = 7, [LEAK_TRANSACTION_OPEN] = 3,
                                             [LEAK_HALF_CLOSED] = 4, [LEAK_STALE] = 6, [LEAK_OVER_LIMIT] = 5 };
    if (handle->transaction == TRANSACTION_ABORTED)
        return 1;
    if (handle->outcome == OUTCOME_STILL_THERE || handle->outcome == OUTCOME_OPEN)
        return 2;
    return record_is_leaked(handle) ? by_kind[handle->leak] : 0;
}
enum { RANK_LAST = 7 };

/* The handles of a target that are worth a line: `each` gets one after the other, the worst first, at most `most`.
 * Returns how many there are. */
static unsigned shown_handles(const struct record *record, unsigned target, unsigned most,
                              const struct recorded_handle **shown)
{
    unsigned count = 0;
    for (unsigned rank = 1; rank <= RANK_LAST; rank++)
        for (unsigned i = 0; i < record->handle_count; i++) {
            const struct recorded_handle *handle = &record->handles[i];
            if (handle->last.target != target || rank_of(handle) != rank)
                continue;
            if (count < most)
                shown[count] = handle;
            count++;
        }
    return count;
}

static void widen(size_t *width, const char *cell)
{
    size_t used = said_width(cell);
    if (used > *width)
        *width = used;
}

static void add_connections(const struct record *record, unsigned target, unsigned *lines, struct text *text)
{
    const struct recorded_handle *shown[LINES_MOST];
    unsigned count = shown_handles(record, target, *lines, shown);
    unsigned here = count < *lines ? count : *lines;
    size_t holder = 0, local = 0, situation = 0;
    for (unsigned i = 0; i < here; i++) {
        struct cells cells = cells_of(record, shown[i]);
        widen(&holder, cells.holder);
        widen(&local, cells.local);
        widen(&situation, cells.situation);
    }
    for (unsigned i = 0; i < here; i++) {
        struct cells cells = cells_of(record, shown[i]);
        text_add(text, "      ");
        add_padded(text, cells.holder, holder + 2);
        add_padded(text, cells.local, local + 2);
        add_padded(text, cells.situation, cells.rest[0] == '\0' ? 0 : situation + 3);
        text_add(text, "%s\n", cells.rest);
    }
    if (count > here)
        text_add(text, "      … and %u more\n", count - here);
    *lines -= here;
}

static void add_targets(const struct record *record, unsigned lines, struct text *text)
{
    char labels[WIRE_TARGETS][5 * WIRE_NAME];
    size_t width = 0;
    for (unsigned i = 0; i < record->target_count; i++) {
        struct text label = text_in(labels[i], sizeof labels[i]);
        label_of(&record->targets[i], &label);
        widen(&width, labels[i]);
    }
    for (unsigned i = 0; i < record->target_count; i++) {
        struct tally tally = tally_target(record, i);
        if (record->targets[i].look_only && tally.handles == 0)
            continue; /* the app need not use it */
        add_target_line(&tally, labels[i], width, text);
        add_connections(record, i, &lines, text);
    }
}

/* The last lines: what is not known. */
static void add_unknown(const struct record_unknown *list, unsigned count, struct text *text)
{
    unsigned here = count < UNKNOWN_LINES ? count : UNKNOWN_LINES;
    for (unsigned i = 0; i < here; i++) {
        char what[160], why[240]; /* each cut by itself, between characters */
        struct text what_said = text_in(what, sizeof what), why_said = text_in(why, sizeof why);
        text_add_escaped(&what_said, list[i].what, sizeof list[i].what);
        text_add_escaped(&why_said, list[i].why, sizeof list[i].why);
        text_add(text, "  unknown: %s – %s%s\n", what, why, why_said.cut ? "…" : "");
    }
    if (count > here)
        text_add(text, "  … and %u more that are not known\n", count - here);
}

void report_human(const struct record *record, struct text *text)
{
    struct record_unknown list[TALLY_UNKNOWN];
    unsigned unknown = tally_unknown(record, list, TALLY_UNKNOWN);
    unsigned taken = 5 + 2 * record->target_count + (unknown < UNKNOWN_LINES ? unknown : UNKNOWN_LINES);
    unsigned lines = taken + TARGET_LINES_LEAST < LINES_MOST ? LINES_MOST - taken : TARGET_LINES_LEAST;
    add_first_line(record, text);
    add_restarts(&record->past, text);
    add_predecessor(&record->predecessor, text);
    add_in_flight(record, text);
    add_requests(record, text);
    add_targets(record, lines, text);
    add_unknown(list, unknown, text);
}
