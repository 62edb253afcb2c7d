/* The report: its JSON, its human form and its file. Hostile texts break neither lines nor JSON; an unknown is null. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"
#include "supervisor/report/report.h"

static struct record record;
static char *command[] = { "app", "--db=postgres://u:hunter2@h/d", NULL };
static char human[32768];
static json_t *report;

/* A stop that began at 100 s, of an app that SIGTERM ended 61 ms later. */
static void setup(void)
{
    record_init(&record);
    record.is_stop = true;
    record.app_pid = 7;
    record.command = command;
    record.exit_signal = 15;
    record.lastcall_exit_code = 143;
    text_copy(record.reason, sizeof record.reason, "SIGTERM");
    record.stop_began_us = 100000000;
    record.stop_began_wall_us = INT64_C(1767225600123000);
    record.app_ended_us = 100061000;
    record.ended_us = 100090000;
    record.grace_us = 10000000;
    record_phase(&record, "draining", 100000000);
    record_phase(&record, "sweeping", 100061000);
    record.query_text = true;
    record.leak_stale_us = 600000000;
    record.hands = "pidfd_getfd";
    record.target_count = 2;
    text_copy(record.targets[0].name, WIRE_NAME, "primary");
    record.targets[0].kind = TARGET_POSTGRES;
    text_copy(record.targets[1].name, WIRE_NAME, "cache");
    record.targets[1].kind = TARGET_REDIS;
    report = NULL;
}

static void teardown(void)
{
    json_decref(report);
    record_finish(&record);
}

static struct recorded_handle *add_handle(unsigned target, int fd, enum outcome outcome)
{
    static uint64_t inode = 1000;
    struct handle_row row = { .inode = ++inode, .pid = 7, .fd = fd, .target = (uint16_t)target, .known_by = KNOWN_EXACT,
                              .state = SESSION_IDLE, .tcp_state = 1, .state_age_us = 252000000,
                              .transaction_age_us = -1, .session = 4711, .query = "COMMIT" };
    endpoint_parse(&row.local, "10.0.0.5", (uint16_t)(40300 + fd));
    endpoint_parse(&row.remote, "10.0.0.9", 5432);
    struct recorded_handle *handle = record_handle(&record, &row);
    record_outcome(handle, outcome, 100070000);
    return handle;
}

/* The value at a path such as "targets.0.leaked"; the test fails when there is none. */
static json_t *at(const char *path)
{
    char copy[128], *rest = NULL;
    text_copy(copy, sizeof copy, path);
    json_t *value = report;
    for (char *part = strtok_r(copy, ".", &rest); part != NULL; part = strtok_r(NULL, ".", &rest))
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part)) : json_object_get(value, part);
    ck_assert_msg(value != NULL, "no %s", path);
    return value;
}

static void parse(char *json)
{
    json_error_t error;
    ck_assert_ptr_nonnull(json);
    ck_assert_ptr_null(strchr(json, '\n'));
    json_decref(report);
    report = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(report != NULL, "%s: %s", error.text, json);
    free(json);
}

static void make(void)
{
    report_classify(&record);
    parse(report_json(&record));
    struct text text = text_in(human, sizeof human);
    report_human(&record, &text);
    ck_assert(!text.cut);
}

#define ck_json_text(path, text) ck_assert_str_eq(json_string_value(at(path)), text)
#define ck_json_number(path, n) \
    do { \
        ck_assert_msg(json_is_integer(at(path)), "%s is no integer", path); \
        ck_assert_int_eq(json_integer_value(at(path)), n); \
    } while (0)
#define ck_json_real(path, x) \
    do { \
        ck_assert_msg(json_is_real(at(path)), "%s is no real number", path); \
        ck_assert_double_eq_tol(json_real_value(at(path)), x, 1e-9); \
    } while (0)
#define ck_json_null(path) ck_assert_msg(json_is_null(at(path)), "%s is not null", path)
#define ck_human_has(part) ck_assert_msg(strstr(human, part) != NULL, "no \"%s\" in:\n%s", part, human)
#define ck_human_lacks(part) ck_assert_msg(strstr(human, part) == NULL, "\"%s\" in:\n%s", part, human)

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* -- what was before this life ------------------------------------------------------------------------------------- */

static void add_life(pid_t pid, int code, int signo)
{
    struct record_life life = { .pid = pid, .exit_code = code, .exit_signal = signo, .ran_us = 1500000,
                                .ended_wall_us = INT64_C(1767225600123000) };
    record_note_life(&record.past, &life);
}

START_TEST(a_first_life_has_nothing_before_it)
{
    make();
    ck_json_number("app.restarts", 0);
    ck_assert_uint_eq(json_array_size(at("app.earlier")), 0);
    ck_json_null("predecessor");
    ck_human_lacks("restarted");
    ck_human_lacks("predecessor");
}
END_TEST

START_TEST(earlier_ends_are_told_in_short)
{
    add_life(11, 3, 0);
    add_life(12, 139, 11);
    add_life(0, 127, 0);
    make();
    ck_json_number("app.restarts", 3);
    ck_json_number("app.earlier.0.pid", 11);
    ck_json_number("app.earlier.0.exit_code", 3);
    ck_json_null("app.earlier.0.signal");
    ck_json_real("app.earlier.0.seconds", 1.5);
    ck_json_text("app.earlier.0.ended_at", "2026-01-01T00:00:00.123Z");
    ck_json_null("app.earlier.1.exit_code");
    ck_json_text("app.earlier.1.signal", "SIGSEGV");
    ck_json_null("app.earlier.2.pid");
    ck_human_has("  restarted 3 times before; it had ended with 3 after 1.5 s, ended by SIGSEGV after 1.5 s, ended with "
                 "127");
}
END_TEST

START_TEST(only_the_last_ends_are_kept)
{
    for (int i = 1; i <= RECORD_LIVES + 5; i++)
        add_life(i, 1, 0);
    make();
    ck_json_number("app.restarts", RECORD_LIVES + 5);
    ck_assert_uint_eq(json_array_size(at("app.earlier")), RECORD_LIVES);
    ck_json_number("app.earlier.0.pid", 6);
    ck_json_number("app.earlier.9.pid", RECORD_LIVES + 5);
}
END_TEST

START_TEST(what_is_not_known_of_a_predecessor_is_no_zero)
{
    record.predecessor.asked = true;
    make();
    ck_json_null("predecessor.ended");
    ck_json_null("predecessor.still_there");
    ck_json_text("predecessor.unknown.0.target", "primary");
    ck_json_text("predecessor.unknown.1.why", "no answer");
    record.predecessor.targets[0].told = record.predecessor.targets[0].known = true;
    record.predecessor.targets[1].told = true;
    text_copy(record.predecessor.targets[1].why, sizeof record.predecessor.targets[1].why, "down\n");
    record.predecessor.ended = 2;
    record.predecessor.still_there = 1;
    make();
    ck_json_number("predecessor.ended", 2);
    ck_json_number("predecessor.still_there", 1);
    ck_assert_uint_eq(json_array_size(at("predecessor.unknown")), 1);
    ck_json_text("predecessor.unknown.0.why", "down\\x0a");
    ck_human_has("  predecessor  3 sessions left: 2 ended, 1 STILL THERE\n");
}
END_TEST

START_TEST(one_that_was_never_started_has_no_pid)
{
    record.app_pid = 0;
    record.is_stop = false;
    record.exit_signal = 0;
    record.exit_code = 127;
    make();
    ck_json_null("app.pid");
    ck_human_has("lastcall: app could not be started");
}
END_TEST

START_TEST(the_json_has_every_fixed_key)
{
    add_handle(0, 14, OUTCOME_HANDED_BACK);
    make();
    static const char *const paths[] = {
        "app.pid", "app.command", "app.exit_code", "app.signal", "stop.reason", "stop.started_at", "stop.seconds",
        "stop.in_flight", "stop.finished", "stop.aborted", "stop.phases.0.phase", "stop.phases.0.seconds",
        "targets.0.name", "targets.0.kind", "targets.0.handles", "targets.0.closed_by_app", "targets.0.leaked",
        "targets.0.handed_back", "targets.0.orphans_ended", "targets.0.aborted", "targets.0.known_by",
        "targets.0.connections.0.pid", "targets.0.connections.0.fd", "targets.0.connections.0.local",
        "targets.0.connections.0.remote", "targets.0.connections.0.state", "targets.0.connections.0.age_seconds",
        "targets.0.connections.0.last_query", "targets.0.connections.0.outcome", "targets.0.connections.0.leak",
        "targets.0.connections.0.timeline", "requests.in_progress", "requests.finished", "requests.refused", "hands",
        "unknown",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        at(paths[i]);
    ck_json_text("schema", "lastcall.report/1");
}
END_TEST

START_TEST(the_json_says_what_happened)
{
    struct recorded_handle *handle = add_handle(0, 14, OUTCOME_HANDED_BACK);
    record_timeline(handle, "idle", 99500000);
    record_timeline(handle, "handed back", 100070000);
    add_handle(0, 15, OUTCOME_ORPHAN_ENDED);
    add_handle(0, 16, OUTCOME_CLOSED_BY_APP);
    make();
    ck_json_null("app.exit_code");
    ck_json_text("app.signal", "SIGTERM");
    ck_json_number("exit_code", 143);
    ck_json_text("stop.started_at", "2026-01-01T00:00:00.123Z");
    ck_json_real("stop.seconds", 0.09);
    ck_json_real("stop.phases.0.seconds", 0.061);
    ck_json_real("stop.phases.1.seconds", 0.029);
    ck_json_null("stop.sampled");
    ck_json_number("stop.in_flight", 0);
    ck_json_number("targets.0.handles", 3);
    ck_json_number("targets.0.closed_by_app", 1);
    ck_json_number("targets.0.leaked", 2);
    ck_json_number("targets.0.handed_back", 2);
    ck_json_number("targets.0.orphans_ended", 1);
    ck_json_number("targets.0.sessions_killed", 1);
    ck_json_text("targets.0.known_by", "exact");
    ck_json_text("targets.0.connections.0.local", "10.0.0.5:40314");
    ck_json_text("targets.0.connections.0.outcome", "handed back");
    ck_json_text("targets.0.connections.0.leak", "left open");
    ck_json_real("targets.0.connections.0.age_seconds", 252);
    ck_json_real("targets.0.connections.0.timeline.0.at_seconds", -0.5);
    ck_json_text("targets.0.connections.0.timeline.1.what", "handed back");
    ck_json_text("targets.0.connections.2.outcome", "closed by the app");
    ck_json_null("targets.0.connections.2.leak");
    ck_json_number("targets.1.handles", 0);
    ck_json_null("targets.1.known_by");
    ck_assert_uint_eq(json_array_size(at("unknown")), 0);
    ck_assert_uint_eq(json_array_size(at("left_out")), 0);
    ck_json_null("requests.in_progress");
}
END_TEST

START_TEST(hooks_are_told_as_they_ended)
{
    make();
    ck_assert_uint_eq(json_array_size(at("hooks")), 0);
    record_hook(&record, "announce", "timed out", 400000, "it had not ended after 400 ms, and was killed");
    record_hook(&record, "post_stop", "running", -1, "");
    make();
    ck_json_text("hooks.0.name", "announce");
    ck_json_text("hooks.0.outcome", "timed out");
    ck_json_real("hooks.0.seconds", 0.4);
    ck_json_text("hooks.0.why", "it had not ended after 400 ms, and was killed");
    ck_json_null("hooks.1.seconds");
    record_hook(&record, "post_stop", "ok", 5000, "");
    make();
    ck_assert_uint_eq(json_array_size(at("hooks")), 2);
    ck_json_text("hooks.1.outcome", "ok");
    ck_json_null("hooks.1.why");
}
END_TEST

START_TEST(requests_are_told_as_far_as_they_are_known)
{
    record.requests = (struct record_requests){.seen = true, .in_progress = 5, .finished = 5, .refused = 12};
    make();
    ck_json_number("requests.in_progress", 5);
    ck_json_number("requests.finished", 5);
    ck_json_number("requests.refused", 12);
    ck_human_has("requests in progress     5 → 5 finished; 12 answered 503\n");
    record.requests.finished = 3;
    make();
    ck_json_number("requests.in_progress", 5);
    ck_json_null("requests.finished");
    ck_human_has("5 → 3 finished, 2 unknown; 12 answered 503\n");
    record.requests.unsure = 1;
    make();
    ck_json_null("requests.in_progress");
    ck_json_null("requests.finished");
    ck_json_number("requests.refused", 12);
    record.requests = (struct record_requests){.seen = true};
    make();
    ck_json_number("requests.in_progress", 0);
    ck_human_lacks("requests");
}
END_TEST

START_TEST(numbers_are_written_as_they_are)
{
    make();
    char *json _cleanup_free_ = report_json(&record);
    ck_assert_ptr_nonnull(strstr(json, "\"seconds\":0.061"));
}
END_TEST

START_TEST(the_json_gives_no_password_away)
{
    struct recorded_handle *handle = add_handle(0, 14, OUTCOME_HANDED_BACK);
    text_copy(handle->last.query, WIRE_QUERY, "ALTER ROLE a PASSWORD 'hunter2'");
    make();
    char *json _cleanup_free_ = report_json(&record);
    ck_assert_ptr_null(strstr(json, "hunter2"));
    ck_human_lacks("hunter2");
    ck_json_text("app.command.1", "--db=postgres://u:****@h/d");
}
END_TEST

START_TEST(query_text_can_be_turned_off)
{
    add_handle(0, 14, OUTCOME_HANDED_BACK);
    make();
    ck_json_text("targets.0.connections.0.last_query", "COMMIT");
    ck_human_has("last \"COMMIT\"");
    record.query_text = false;
    make();
    ck_json_null("targets.0.connections.0.last_query");
    ck_human_lacks("COMMIT");
}
END_TEST

START_TEST(an_unknown_outcome_makes_the_counts_null)
{
    add_handle(0, 14, OUTCOME_HANDED_BACK);
    add_handle(0, 15, OUTCOME_OPEN);
    make();
    ck_json_number("targets.0.handles", 2);
    ck_json_null("targets.0.leaked");
    ck_json_null("targets.0.closed_by_app");
    ck_json_number("targets.0.handed_back", 1);
    ck_json_number("targets.0.outcome_unknown", 1);
    ck_json_null("targets.0.connections.1.outcome");
    ck_json_text("unknown.0.what", "primary");
    ck_human_has("1 of unknown outcome");
    ck_human_has("  unknown: primary – nobody saw what became of 1 of the app's connections\n");
}
END_TEST

START_TEST(an_unknown_end_of_a_transaction_is_null)
{
    struct recorded_handle *handle = add_handle(0, 14, OUTCOME_CLOSED_BY_APP);
    handle->in_flight_at_start = true;
    handle->unseen_at_start = true;
    handle = add_handle(0, 15, OUTCOME_CLOSED_BY_APP);
    handle->in_flight_at_start = true;
    handle->transaction = TRANSACTION_FINISHED;
    make();
    ck_json_number("stop.in_flight", 2);
    ck_json_null("stop.finished");
    ck_json_null("stop.aborted");
    ck_json_null("targets.0.aborted");
    ck_json_number("targets.1.aborted", 0);
    ck_json_null("targets.0.connections.0.transaction");
    ck_json_text("unknown.0.what", "transactions");
    ck_human_has("2 transactions → 1 finished, 0 aborted, 1 unknown\n");
}
END_TEST

START_TEST(a_target_that_was_never_seen_is_null)
{
    record.targets[0].unseen = true;
    make();
    ck_json_null("targets.0.handles");
    ck_json_null("targets.0.leaked");
    ck_json_null("targets.0.closed_by_app");
    ck_json_null("targets.0.handed_back");
    ck_json_null("stop.in_flight");
    ck_json_null("stop.aborted");
    ck_json_number("targets.1.handles", 0);
    ck_human_has("postgres primary  connections unknown\n");
    ck_human_has("in flight at the signal  unknown\n");
    ck_human_has("  unknown: primary – ");
}
END_TEST

START_TEST(an_end_without_a_stop_is_told_from_the_sample)
{
    record.is_stop = false;
    record.sample_age_us = 4200000;
    record.exit_signal = 9;
    text_copy(record.reason, sizeof record.reason, "the app was killed by SIGKILL");
    add_handle(0, 14, OUTCOME_ORPHAN_ENDED);
    make();
    ck_json_real("stop.sampled.age_seconds", 4.2);
    ck_json_text("stop.reason", "the app was killed by SIGKILL");
    ck_json_null("stop.in_flight");
    ck_json_null("stop.finished");
    ck_json_null("stop.aborted");
    ck_json_null("targets.0.aborted");
    ck_json_number("targets.0.handles", 1);
    ck_json_text("unknown.0.what", "the app's last moments");
    ck_human_has("lastcall: app (pid 7) ended by SIGKILL without a stop; connections as seen 4.2 s before\n");
    ck_human_lacks("in flight");
}
END_TEST

START_TEST(an_end_without_a_sample_knows_nothing)
{
    record.is_stop = false;
    record.exit_signal = 0;
    record.exit_code = 3;
    make();
    ck_json_null("stop.sampled.age_seconds");
    ck_json_null("targets.0.handles");
    ck_json_number("app.exit_code", 3);
    ck_json_null("app.signal");
    ck_human_has("exited with 3 without a stop; its connections had not been looked at\n");
    record.target_count = 0;
    make();
    ck_assert_str_eq(human, "lastcall: app (pid 7) exited with 3 without a stop\n");
    ck_assert_uint_eq(json_array_size(at("unknown")), 0);
}
END_TEST

START_TEST(what_is_not_set_is_null)
{
    record_finish(&record);
    record_init(&record);
    make();
    static const char *const paths[] = { "app.pid", "app.command", "app.exit_code", "app.signal", "stop.reason",
                                         "stop.started_at", "stop.seconds", "stop.in_flight", "stop.finished",
                                         "stop.aborted", "hands", "exit_code" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        ck_json_null(paths[i]);
    ck_assert_uint_eq(json_array_size(at("targets")), 0);
}
END_TEST

START_TEST(a_clean_stop_is_two_or_three_lines)
{
    add_handle(0, 14, OUTCOME_CLOSED_BY_APP);
    add_handle(1, 15, OUTCOME_CLOSED_BY_APP);
    make();
    ck_assert_str_eq(human, "lastcall: app (pid 7) ended by SIGTERM 61 ms after the stop began\n"
                            "  postgres primary     1 connection    1 closed by the app\n"
                            "  redis cache          1 connection    1 closed by the app\n");
}
END_TEST

START_TEST(the_human_form_is_aligned)
{
    struct recorded_handle *handle = NULL;
    for (int i = 0; i < 7; i++) {
        handle = add_handle(1, 20 + i, OUTCOME_CLOSED_BY_APP);
        handle->in_flight_at_start = true;
        handle->transaction = TRANSACTION_FINISHED;
    }
    add_handle(0, 5, OUTCOME_HANDED_BACK);
    handle = add_handle(0, 119, OUTCOME_HANDED_BACK);
    handle->last.state = SESSION_IN_TRANSACTION;
    handle->last.state_age_us = 4000000;
    handle->last.pid = 9;
    add_handle(1, 30, OUTCOME_HANDED_BACK)->last.state_age_us = 0;
    make();
    ck_assert_str_eq(human,
        "lastcall: app (pid 7) ended by SIGTERM 61 ms after the stop began\n"
        "  in flight at the signal  7 transactions → 7 finished, 0 aborted\n"
        "  postgres primary     2 connections   0 closed by the app   2 leaked, handed back by lastcall\n"
        "      pid 9 fd 119  10.0.0.5:40419  idle in transaction 4.0 s   last \"COMMIT\"\n"
        "      fd 5          10.0.0.5:40305  idle 4m12s                  last \"COMMIT\"\n"
        "  redis cache          8 connections   7 closed by the app   1 leaked, handed back by lastcall\n"
        "      fd 30  10.0.0.5:40330  idle   last \"COMMIT\"\n");
}
END_TEST

START_TEST(every_way_to_end_has_its_first_line)
{
    record.target_count = 0;
    record.exit_signal = 0;
    record.exit_code = 0;
    make();
    ck_assert_str_eq(human, "lastcall: app (pid 7) exited with 0, 61 ms after the stop began (SIGTERM)\n");
    record.exit_signal = 9;
    record.app_ended_us = 109700000;
    make();
    ck_assert_str_eq(human, "lastcall: app (pid 7) ended by SIGKILL 9.7 s after the stop began (SIGTERM)\n");
    record.exit_signal = 0;
    record.exit_code = -1;
    record.app_ended_us = record.ended_us = 0;
    make();
    ck_assert_str_eq(human, "lastcall: app (pid 7) had not ended after the stop began (SIGTERM)\n");
}
END_TEST

START_TEST(the_human_form_names_each_way_a_leak_was_ended)
{
    add_handle(0, 1, OUTCOME_HANDED_BACK);
    add_handle(0, 2, OUTCOME_ENDED_BY_COMMAND);
    add_handle(0, 3, OUTCOME_ORPHAN_ENDED);
    struct recorded_handle *handle = add_handle(0, 4, OUTCOME_STILL_THERE);
    text_copy(handle->note, sizeof handle->note, "permission denied");
    handle->last.known_by = KNOWN_BY_NAME;
    handle = add_handle(0, 5, OUTCOME_CLOSED_UNSEEN);
    handle->in_flight_at_start = true;
    handle->transaction = TRANSACTION_ABORTED;
    add_handle(0, 6, OUTCOME_ENDED_BY_SERVER);
    add_handle(0, 7, OUTCOME_ENDED_BY_SERVER)->last.tcp_state = 8;
    make();
    ck_human_has("7 connections   0 closed by the app   1 closed, goodbye not seen   1 ended by the server   5 leaked: "
                 "1 handed back by lastcall, 1 ended by command, 1 orphaned and ended on the server, "
                 "1 already ended by the server, 1 STILL THERE   "
                 "1 transaction aborted   (known by name)\n");
    ck_human_has("last \"COMMIT\", still there: permission denied\n");
    ck_human_has("last \"COMMIT\", transaction aborted, closed unseen\n");
    ck_human_has("last \"COMMIT\", ended by command\n");
    ck_json_text("targets.0.known_by", "by name");
    ck_json_number("targets.0.still_there", 1);
}
END_TEST

START_TEST(thousands_of_leaks_make_some_sixty_lines)
{
    for (int i = 0; i < 3000; i++)
        add_handle(i % 2 == 0 ? 0 : 1, i, OUTCOME_HANDED_BACK);
    struct recorded_handle *handle = add_handle(0, 4000, OUTCOME_HANDED_BACK);
    handle->last.state = SESSION_IN_TRANSACTION;
    for (int i = 0; i < 40; i++)
        record_unknown(&record, "thing", "%d", i);
    make();
    ck_assert_uint_le(lines_of(human), 60);
    ck_assert_uint_ge(lines_of(human), 40);
    ck_human_has(" more\n");
    ck_human_has("fd 4000 "); /* the worst is not left out */
    ck_human_has(" more that are not known\n");
    ck_assert_uint_eq(json_array_size(at("targets.0.connections")), 1000);
    ck_json_number("targets.0.connections_left_out", 501);
    ck_json_number("targets.0.leaked", 1501);
}
END_TEST

START_TEST(closed_connections_are_left_out_first)
{
    for (int i = 0; i < 1500; i++)
        add_handle(0, i, OUTCOME_CLOSED_BY_APP);
    add_handle(0, 2000, OUTCOME_HANDED_BACK);
    make();
    ck_json_number("targets.0.connections.0.fd", 2000);
    ck_json_number("targets.0.connections_left_out", 501);
}
END_TEST

/* Hostile texts */

static void fill(char *at_bytes, size_t size, const char *pattern)
{
    size_t length = strlen(pattern);
    for (size_t i = 0; i + 1 < size; i++)
        at_bytes[i] = pattern[i % length];
    at_bytes[size - 1] = '\0';
}

static const char *const hostile[] = {
    "\x1b[2J\x1b]0;x\a", "a\nb\r\n", "\xff\xfe\xc3\x28", "\xf0\x9f\x98", "\"\\\",\"", "\u202e\u2028", "\xc2\x9b" "31m",
    "{}[]:,", "%s%n", "é",
};

START_TEST(hostile_texts_break_neither_lines_nor_json)
{
    const char *pattern = hostile[_i];
    static char argument[10240];
    fill(argument, sizeof argument, pattern);
    char *arguments[] = { argument, argument, NULL };
    record.command = arguments;
    fill(record.reason, sizeof record.reason, pattern);
    fill(record.targets[0].name, WIRE_NAME, pattern);
    struct recorded_handle *handle = add_handle(0, 14, OUTCOME_STILL_THERE);
    fill(handle->last.query, WIRE_QUERY, pattern);
    handle->last.query[WIRE_QUERY - 1] = 'x'; /* not even ended */
    fill(handle->note, sizeof handle->note, pattern);
    char why[200];
    fill(why, sizeof why, pattern);
    record_unknown(&record, why, "%s", why);
    make();
    ck_assert_uint_eq(lines_of(human), 5);
    for (const char *byte = human; *byte != '\0'; byte++)
        ck_assert_msg((unsigned char)*byte >= 0x20 || *byte == '\n', "byte %02x in:\n%s", (unsigned char)*byte, human);
    ck_assert_ptr_null(strstr(human, "\u202e"));
    json_t *shown = json_string(human); /* NULL unless it is valid UTF-8 */
    ck_assert_ptr_nonnull(shown);
    json_decref(shown);
}
END_TEST

START_TEST(hostile_texts_fit_into_what_the_header_promises)
{
    fill(record.reason, sizeof record.reason, "\x1b");
    record.target_count = WIRE_TARGETS;
    for (unsigned i = 0; i < WIRE_TARGETS; i++) {
        fill(record.targets[i].name, WIRE_NAME, "\x1b");
        for (int k = 0; k < 60; k++) {
            struct recorded_handle *handle = add_handle(i, 1000000000 + k, (enum outcome)(k % 8));
            fill(handle->last.query, WIRE_QUERY, "\x1b");
            fill(handle->note, sizeof handle->note, "\x1b");
            handle->last.pid = 1999999999;
            handle->last.state = SESSION_IN_FAILED_TRANSACTION;
            handle->transaction = TRANSACTION_ABORTED;
        }
    }
    char why[200];
    for (char letter = 'a'; letter <= 'z'; letter++) {
        fill(why, sizeof why, "\x1b");
        why[0] = letter;
        record_unknown(&record, why, "%s", why);
    }
    make();
    ck_assert_uint_le(lines_of(human), 64);
}
END_TEST

/* The short form */

START_TEST(a_short_report_is_whole_or_not_at_all)
{
    static char long_argument[5000];
    fill(long_argument, sizeof long_argument, "x");
    char *arguments[] = { "app", long_argument, NULL };
    record.command = arguments;
    for (int i = 0; i < 30; i++)
        add_handle(i % 2, i, OUTCOME_HANDED_BACK);
    report_classify(&record);
    char *full _cleanup_free_ = report_json(&record);
    unsigned long least = 0;
    for (unsigned long size = 0; size <= strlen(full) + 1; size += size < 1500 ? 7 : 211) {
        char *json = report_json_short(&record, size);
        if (json == NULL) {
            ck_assert_uint_eq(least, 0);
            continue;
        }
        least = least == 0 ? size : least;
        ck_assert_uint_lt(strlen(json), size);
        parse(json);
        ck_json_text("stop.reason", "SIGTERM");
    }
    ck_assert_uint_gt(least, 0);
    ck_assert_uint_lt(least, 700);
}
END_TEST

START_TEST(a_short_report_leaves_out_the_details_before_the_counts)
{
    for (int i = 0; i < 30; i++)
        add_handle(i % 2, i, OUTCOME_HANDED_BACK);
    report_classify(&record);
    parse(report_json_short(&record, 1024));
    ck_json_number("targets.0.leaked", 15);
    ck_json_null("targets.0.connections");
    ck_json_text("left_out.0", "connections");
    parse(report_json_short(&record, 700));
    ck_json_null("targets");
    ck_assert_uint_eq(json_array_size(at("unknown")), 0);
}
END_TEST

START_TEST(a_short_report_that_cannot_name_the_unknown_says_null)
{
    for (int i = 0; i < 20; i++)
        record_unknown(&record, "a thing that is not known", "because of a reason with the number %d", i);
    parse(report_json_short(&record, 1024));
    ck_json_null("unknown");
    ck_json_text("left_out.3", "unknown");
}
END_TEST

/* Without memory */

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

START_TEST(without_memory_there_is_no_json_and_no_half_of_it)
{
    add_handle(0, 14, OUTCOME_HANDED_BACK);
    record_unknown(&record, "a", "b");
    json_set_alloc_funcs(failing_malloc, free);
    unsigned failures = 0;
    for (long room = 0; room < 5000; room++) {
        allocations_left = room;
        errno = 0;
        char *json = report_json(&record);
        if (json != NULL) {
            free(json);
            break;
        }
        ck_assert_int_eq(errno, ENOMEM);
        failures++;
    }
    json_set_alloc_funcs(malloc, free);
    ck_assert_uint_gt(failures, 100);
    ck_assert_uint_lt(failures, 5000);
}
END_TEST

/* The file */

static char directory[64], path[128];
static struct error error;

static void setup_directory(void)
{
    text_copy(directory, sizeof directory, "/tmp/lastcall-report-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/report.json", directory);
    error.text[0] = '\0';
}

static void teardown_directory(void)
{
    char line[160];
    snprintf(line, sizeof line, "rm -rf %s", directory);
    ck_assert_int_eq(system(line), 0);
}

static const char *content_of(const char *file)
{
    static char content[4096];
    ck_assert_int_ge(fd_read_file(AT_FDCWD, file, content, sizeof content), 0);
    return content;
}

static unsigned entries(void)
{
    char line[160], count[16] = "";
    snprintf(line, sizeof line, "ls -A %s | wc -l", directory);
    FILE *pipe = popen(line, "r");
    ck_assert_ptr_nonnull(fgets(count, sizeof count, pipe));
    pclose(pipe);
    return (unsigned)atoi(count);
}

START_TEST(a_file_is_made_and_replaced)
{
    struct stat status;
    umask(077);
    ck_assert_int_eq(report_write_file(path, "{\"a\":1111}", &error), 0);
    ck_assert_str_eq(content_of(path), "{\"a\":1111}\n");
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    ck_assert_str_eq(content_of(path), "{}\n");
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0644);
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

START_TEST(a_relative_path_and_the_longest_name_work)
{
    char name[256];
    ck_assert_int_eq(chdir(directory), 0);
    memset(name, 'n', 255);
    name[255] = '\0';
    ck_assert_int_eq(report_write_file(name, "{}", &error), 0);
    ck_assert_str_eq(content_of(name), "{}\n");
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(a_reader_of_the_old_file_keeps_it_whole)
{
    ck_assert_int_eq(report_write_file(path, "{\"old\":1}", &error), 0);
    int old _cleanup_close_ = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    char bytes[32] = "";
    ck_assert_int_eq(read(old, bytes, sizeof bytes - 1), 10);
    ck_assert_str_eq(bytes, "{\"old\":1}\n");
}
END_TEST

START_TEST(a_missing_directory_is_said)
{
    char missing[160];
    snprintf(missing, sizeof missing, "%s/no/report.json", directory);
    ck_assert_int_eq(report_write_file(missing, "{}", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, missing));
    ck_assert_ptr_nonnull(strstr(error.text, "its directory does not exist"));
    ck_assert_int_eq(report_write_file(directory, "{}", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "Is a directory"));
    ck_assert_int_eq(report_write_file("", "{}", NULL), -1);
}
END_TEST

START_TEST(a_fifo_without_a_reader_does_not_block)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    alarm(2);
    ck_assert_int_eq(report_write_file(path, "{}", &error), -1);
    alarm(0);
    ck_assert_ptr_nonnull(strstr(error.text, "nobody reads"));
    int reader _cleanup_close_ = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    char bytes[8] = "";
    ck_assert_int_eq(read(reader, bytes, sizeof bytes - 1), 3);
    ck_assert_str_eq(bytes, "{}\n");
}
END_TEST

START_TEST(a_full_fifo_does_not_block)
{
    static char json[200000];
    fill(json, sizeof json, "x");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int reader _cleanup_close_ = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    alarm(2);
    ck_assert_int_eq(report_write_file(path, json, &error), -1);
    alarm(0);
    ck_assert_ptr_nonnull(strstr(error.text, "too slow"));
}
END_TEST

START_TEST(a_full_disk_is_said)
{
    ck_assert_int_eq(report_write_file("/dev/full", "{}", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "the disk is full"));
}
END_TEST

START_TEST(a_symbolic_link_stays_one)
{
    char link[160];
    struct stat status;
    snprintf(link, sizeof link, "%s/link", directory);
    ck_assert_int_eq(symlink("report.json", link), 0);
    ck_assert_int_eq(report_write_file(link, "{}", &error), 0); /* its file is not there yet */
    ck_assert_str_eq(content_of(path), "{}\n");
    ck_assert_int_eq(report_write_file(link, "{\"b\":2}", &error), 0);
    ck_assert_str_eq(content_of(path), "{\"b\":2}\n");
    ck_assert_int_eq(lstat(link, &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
}
END_TEST

/* What `2>>log` and --report /dev/stderr make: the log must stay what it is. */
START_TEST(standard_error_in_a_file_is_appended_to)
{
    struct stat before, after;
    int saved _cleanup_close_ = dup(STDERR_FILENO);
    int log _cleanup_close_ = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(log, "line\n", 5), 5);
    ck_assert_int_eq(stat(path, &before), 0);
    dup2(log, STDERR_FILENO);
    int result = report_write_file("/proc/self/fd/2", "{}", &error);
    dup2(saved, STDERR_FILENO);
    ck_assert_int_eq(result, 0);
    ck_assert_str_eq(content_of(path), "line\n{}\n");
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(standard_error_may_be_a_socket)
{
    int ends[2];
    char bytes[8] = "";
    int saved _cleanup_close_ = dup(STDERR_FILENO);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    dup2(ends[1], STDERR_FILENO);
    int result = report_write_file("/proc/self/fd/2", "{}", &error);
    dup2(saved, STDERR_FILENO);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(read(ends[0], bytes, sizeof bytes - 1), 3);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(a_full_socket_does_not_block)
{
    int ends[2];
    static char json[4000000];
    fill(json, sizeof json, "x");
    int saved _cleanup_close_ = dup(STDERR_FILENO);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    dup2(ends[1], STDERR_FILENO);
    alarm(2);
    int result = report_write_file("/proc/self/fd/2", json, &error);
    alarm(0);
    dup2(saved, STDERR_FILENO);
    ck_assert_int_eq(result, -1);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* In a child whose files may hold 4 KiB: a disk that is full after a part of the report. */
static void write_too_much(const char *file, uid_t uid)
{
    static char json[9000];
    fill(json, sizeof json, "x");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = { 4096, 4096 };
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || (uid != geteuid() && setuid(uid) != 0))
            _exit(9);
        _exit(report_write_file(file, json, &error) != 0 && errno == EFBIG ? 0 : 1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(a_file_that_cannot_be_written_whole_stays_as_it_was)
{
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    write_too_much(path, geteuid());
    ck_assert_str_eq(content_of(path), "{}\n");
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

/* Run by an ordinary user, its own directory refuses it as well as another one's. */
START_TEST(a_file_that_cannot_be_written_whole_in_place_is_empty)
{
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(chmod(directory, 0555), 0);
    write_too_much(path, geteuid() == 0 ? 65534 : geteuid());
    ck_assert_str_eq(content_of(path), "");
    ck_assert_int_eq(chmod(directory, 0755), 0);
}
END_TEST

/* In a child that is no superuser, since nothing stops root: what it got is its exit code. */
static int as_nobody(const char *file)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(9);
        _exit(report_write_file(file, "{\"new\":1}", &error) == 0 ? 0 : errno == EACCES ? 1 : 2);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

START_TEST(a_file_of_ours_in_a_directory_that_is_not_is_written_in_place)
{
    struct stat before, after;
    ck_assert_int_eq(report_write_file(path, "{}", &error), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(chmod(directory, 0555), 0);
    ck_assert_int_eq(stat(path, &before), 0);
    ck_assert_int_eq(as_nobody(path), 0);
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_str_eq(content_of(path), "{\"new\":1}\n");
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert_int_eq(as_nobody(path), 1);
    ck_assert_str_eq(content_of(path), "{\"new\":1}\n");
    ck_assert_int_eq(chmod(directory, 0755), 0);
}
END_TEST

static void add_json_tests(Suite *suite)
{
    TCase *json = tcase_create("json and people");
    tcase_add_checked_fixture(json, setup, teardown);
    tcase_set_timeout(json, 30);
    tcase_add_test(json, a_first_life_has_nothing_before_it);
    tcase_add_test(json, earlier_ends_are_told_in_short);
    tcase_add_test(json, only_the_last_ends_are_kept);
    tcase_add_test(json, what_is_not_known_of_a_predecessor_is_no_zero);
    tcase_add_test(json, one_that_was_never_started_has_no_pid);
    tcase_add_test(json, the_json_has_every_fixed_key);
    tcase_add_test(json, the_json_says_what_happened);
    tcase_add_test(json, hooks_are_told_as_they_ended);
    tcase_add_test(json, requests_are_told_as_far_as_they_are_known);
    tcase_add_test(json, numbers_are_written_as_they_are);
    tcase_add_test(json, the_json_gives_no_password_away);
    tcase_add_test(json, query_text_can_be_turned_off);
    tcase_add_test(json, an_unknown_outcome_makes_the_counts_null);
    tcase_add_test(json, an_unknown_end_of_a_transaction_is_null);
    tcase_add_test(json, a_target_that_was_never_seen_is_null);
    tcase_add_test(json, an_end_without_a_stop_is_told_from_the_sample);
    tcase_add_test(json, an_end_without_a_sample_knows_nothing);
    tcase_add_test(json, what_is_not_set_is_null);
    tcase_add_test(json, a_clean_stop_is_two_or_three_lines);
    tcase_add_test(json, the_human_form_is_aligned);
    tcase_add_test(json, every_way_to_end_has_its_first_line);
    tcase_add_test(json, the_human_form_names_each_way_a_leak_was_ended);
    tcase_add_test(json, thousands_of_leaks_make_some_sixty_lines);
    tcase_add_test(json, closed_connections_are_left_out_first);
    tcase_add_loop_test(json, hostile_texts_break_neither_lines_nor_json, 0, sizeof hostile / sizeof hostile[0]);
    tcase_add_test(json, hostile_texts_fit_into_what_the_header_promises);
    tcase_add_test(json, a_short_report_is_whole_or_not_at_all);
    tcase_add_test(json, a_short_report_leaves_out_the_details_before_the_counts);
    tcase_add_test(json, a_short_report_that_cannot_name_the_unknown_says_null);
    tcase_add_test(json, without_memory_there_is_no_json_and_no_half_of_it);
    suite_add_tcase(suite, json);
}

static void add_file_tests(Suite *suite)
{
    TCase *file = tcase_create("file");
    tcase_add_checked_fixture(file, setup_directory, teardown_directory);
    tcase_set_timeout(file, 30);
    tcase_add_test(file, a_file_is_made_and_replaced);
    tcase_add_test(file, a_relative_path_and_the_longest_name_work);
    tcase_add_test(file, a_reader_of_the_old_file_keeps_it_whole);
    tcase_add_test(file, a_missing_directory_is_said);
    tcase_add_test(file, a_fifo_without_a_reader_does_not_block);
    tcase_add_test(file, a_full_fifo_does_not_block);
    tcase_add_test(file, a_full_disk_is_said);
    tcase_add_test(file, a_symbolic_link_stays_one);
    tcase_add_test(file, standard_error_in_a_file_is_appended_to);
    tcase_add_test(file, standard_error_may_be_a_socket);
    tcase_add_test(file, a_full_socket_does_not_block);
    tcase_add_test(file, a_file_that_cannot_be_written_whole_stays_as_it_was);
    tcase_add_test(file, a_file_that_cannot_be_written_whole_in_place_is_empty);
    tcase_add_test(file, a_file_of_ours_in_a_directory_that_is_not_is_written_in_place);
    suite_add_tcase(suite, file);
}

int main(void)
{
    Suite *suite = suite_create("report");
    add_json_tests(suite);
    add_file_tests(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
