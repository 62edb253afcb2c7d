/* Configuration files from memory: every refusal with its line and column, all of them at once and in order. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"
#include "config/file.h"
#include "config/yaml.h"

static struct config config;
static struct config_errors errors;

static void load_bytes(const char *bytes, size_t size)
{
    memset(&config, 0, sizeof config);
    errors.count = 0;
    file_load_bytes(&config, "f", bytes, size, &errors);
}

/* Errors are written as one text, " | " between. */
static const char *told(void)
{
    static char all[8192];
    struct text text = text_in(all, sizeof all);
    for (size_t i = 0; i < errors.count && i < sizeof errors.list / sizeof *errors.list; i++)
        text_add(&text, "%s%s", i ? " | " : "", errors.list[i].text);
    return all;
}

static const struct refused {
    const char *yaml, *told;
} refused[] = {
    /* form */
    {"x", "f:1:1: the file: must be a map of keys"},
    {"- a", "f:1:1: the file: must be a map of keys"},
    {"a: b: c", "f:1:1: a: unknown key | f:1:5: no valid YAML: mapping values are not allowed in this context"},
    {"stop:\n\tsettle: 1s", "f:2:1: a tab in the indentation: YAML wants blanks"},
    {"user: a\n---\nuser: b", "f:2:1: a second document (---): one file is one document"},
    {"user: &x a", "f:1:7: an anchor (&): write the value out"},
    {"user: &x a\ninstance: *x",
     "f:1:7: an anchor (&): write the value out | f:2:11: an alias (*): write the value out"},
    {"stop: &x {settle: 1s}", "f:1:7: an anchor (&): write the value out"},
    {"user: !!str a", "f:1:7: a tag (!): not needed, take it away"},
    {"stop: {signals: !x [TERM]}", "f:1:17: a tag (!): not needed, take it away"},
    {"%TAG ! tag:x,2000:\n---\nuser: a", "f:1:1: a %TAG directive: not needed, take it away"},
    {"? [a]\n: b", "f:1:3: a key must be plain text"},
    {"? {a: b}\n: b", "f:1:3: a key must be plain text"},
    {"user: a\nuser: b", "f:2:1: user: was given before, in line 1"},
    {"stop: {end: kill}\nstop: {order: drain-first}", "f:2:1: stop: was given before, in line 1"},
    {"stop.end: kill\nstop: {end: kill}", "f:2:8: stop.end: was given before, in line 1"},
    {"{stop: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}}", "f:1:9: stop.a: unknown key: did you mean stop.map? | f:1:36: nested too deeply"},
    {"user: \"", "f:1:8: no valid YAML: found unexpected end of stream while scanning a quoted scalar"},
    {"user: \"a\\0b\"", "f:1:7: a NUL byte"},
    {"user: caf\xe9", "f:1:10: incomplete UTF-8 octet sequence: the file must be UTF-8 text"},
    {"\xc3\xa9: a\n\xc3\xa9: \x01", "f:2:4: control characters are not allowed: the file must be UTF-8 text"},
    {"\xc3\xa9: a\n", "f:1:1: \xc3\xa9: unknown key"},
    {"\xff\xfeu", "f:1:1: the file is UTF-16: save it as UTF-8"},
    {"\xfe\xffu", "f:1:1: the file is UTF-16: save it as UTF-8"},
    /* keys */
    {"stop:\n  sginals: [TERM]", "f:2:3: stop.sginals: unknown key: did you mean stop.signals?"},
    {"sotp: {order: x}", "f:1:1: sotp: unknown key: did you mean stop?"},
    {"settle: 1s", "f:1:1: settle: unknown key: did you mean stop.settle?"},
    {"grace: 1s", "f:1:1: grace: unknown key: did you mean grace_period?"},
    {"target: {}", "f:1:1: target: unknown key: did you mean targets?"},
    {"nothing_like_it: 1", "f:1:1: nothing_like_it: unknown key"},
    {"<<: {user: a}", "f:1:1: <<: unknown key"},
    {"config: x\nsocket: y",
     "f:1:1: config: cannot be set in the file: use LASTCALL_CONFIG | f:2:1: socket: cannot be set in "
     "the file: use LASTCALL_SOCKET"},
    {"\"a\\eb\": 1", "f:1:1: a\\x1bb: unknown key"},
    {"postgres://u:secret@h: 1", "f:1:1: ****: unknown key"},
    /* values */
    {"grace_period: 10 sec", "f:1:15: grace_period: '10 sec' is not a duration: write 10s, 500ms, 1m30s"},
    {"grace_period: {a: {b: c}}", "f:1:15: grace_period: must be a duration, 1s to 1h, not a map"},
    {"grace_period: [1s]", "f:1:15: grace_period: must be a duration, 1s to 1h, not a list"},
    {"stop: 5", "f:1:7: stop: must be a map of keys"},
    {"stop: [end, kill]", "f:1:7: stop: must be a map of keys"},
    {"stop: {signals: [TREM, INT, KILL]}",
     "f:1:18: stop.signals: 'TREM' is not a signal: write TERM, INT, QUIT, RTMIN+3 or a number | "
     "f:1:29: stop.signals: 'KILL' cannot begin a stop: choose TERM, INT, QUIT, USR1 or the like"},
    {"stop: {signals: []}", "f:1:17: stop.signals: names no signal: write [TERM, INT]"},
    {"stop: {signals: [TERM, [INT]]}", "f:1:24: stop.signals: a list holds plain values only"},
    {"report: {query_text: ''}", "f:1:22: report.query_text: '' is neither true nor false"},
    /* targets */
    {"targets: postgres://u:secret@h", "f:1:10: targets: must be a map of keys"},
    {"targets: [a]", "f:1:10: targets: must be a map of keys"},
    {"targets: {pg: postgres://u:secret@h}", "f:1:15: targets.pg: must be a map with url, url_env or url_file"},
    {"targets: {a b: {url: redis://h}}",
     "f:1:11: targets.a b: a target's name is at most 63 letters, digits, '_' and '-'"},
    {"targets: {'': {url: redis://h}}", "f:1:11: targets.: a target's name is at most 63 letters, digits, '_' and '-'"},
    {"targets: {a: {}}", "f:1:11: targets.a: url, url_env or url_file is missing"},
    {"targets: {a: {url: '', limit: 3}}", "f:1:11: targets.a: url, url_env or url_file is missing"},
    {"targets: {a: {url: redis://h, url_env: X}}",
     "f:1:40: targets.a.url_env: only one of url, url_env and url_file may be given"},
    {"targets: {a: {url: 'postgres://u:secret@h:x'}}", "f:1:20: targets.a.url, column 23: the port is no number from 1 "
                                                       "to 65535 (in a password write '/' as %2F, '?' as %3F; an "
                                                       "IPv6 address stands in [ ])"},
    {"targets: {a: {url: 'mysql://h'}}",
     "f:1:20: targets.a.url, column 1: scheme 'mysql' is neither PostgreSQL's nor Redis's"},
    {"targets: {a: {url_env: NOT_SET_ANYWHERE}}", "f:1:24: targets.a.url_env: that environment variable is not set"},
    {"targets: {a: {url_file: /nonexistent/x}}",
     "f:1:25: targets.a.url_file: /nonexistent/x cannot be opened: No such file or directory"},
    {"targets: {a: {url_file: /}}", "f:1:25: targets.a.url_file: / is a directory, not a file"},
    {"targets:\n  a: {url: redis://h}\n  a: {url: redis://h}", "f:3:3: targets.a: was given before, in line 2 | f:3:7: "
                                                               "targets.a.url: was given before, in line 2"},
    {"targets: {a: {url: redis://h, limt: 3}}", "f:1:31: targets.a.limt: unknown key: did you mean limit?"},
    {"targets: {a: {url: redis://h, limit: 0}}", "f:1:38: targets.a.limit: must be a whole number from 1 to 100000"},
    {"targets: {a: {url: redis://h, limit: [1]}}", "f:1:38: targets.a.limit: must be a plain value"},
    {"targets: {a: {url: redis://h, kind: postgres}}", "f:1:37: targets.a.kind: the URL is of another kind"},
    {"targets: {a: {url: redis://h, kind: mysql}}", "f:1:37: targets.a.kind: must be postgres, pgbouncer or redis"},
    {"targets: {a: {url: redis://h, look_only: 2}}", "f:1:42: targets.a.look_only: must be true or false"},
    {"targets: {a: {url: 'postgres://h', server: a}}",
     "f:1:44: targets.a.server: only a pgbouncer has a server behind it: add kind: pgbouncer"},
    {"targets: {a: {url: 'postgres://h', kind: pgbouncer, server: b}}",
     "f:1:61: targets.a.server: there is no target of that name"},
    {"targets: {a: {url: 'postgres://h', kind: pgbouncer, server: b}, b: {url: redis://h}}",
     "f:1:61: targets.a.server: must name a postgres target"},
    {"stop: {map: {TERM: QIUT, KILL: 3, INT: [1], HUP: {a: 1}, USR1: }}",
     "f:1:20: stop.map: 'QIUT' is not a signal: write TERM, INT, QUIT, RTMIN+3, a number, or 0 to swallow it | "
     "f:1:32: stop.map: 'KILL' cannot be rewritten: lastcall never has it to pass on | "
     "f:1:40: stop.map: INT: must be one value | f:1:50: stop.map: HUP: must be one value | "
     "f:1:64: stop.map: USR1: must be one value"},
    {"stop:\n  map: [TERM:QUIT, INT]\n  signal: [TERM]\n  sequence: {a: 1}\nexit_codes:\n  143: no\n",
     "f:2:20: stop.map: 'INT' rewrites nothing: write TERM:QUIT, or TERM:0 to swallow it | "
     "f:3:11: stop.signal: must be a signal, not a list | "
     "f:4:13: stop.sequence: must be a list of signals with times, as [INT 3s, QUIT 5s], not a map | "
     "f:6:8: exit_codes: 'no' is not an exit code: write 0 to 255, as in 143 or 143:0"},
    {"stop.sequence: [INT 3s, QUIT 2s]",
     "f:1:25: stop.sequence: 'QUIT 2s' must come later than INT 3s, which stands before it"},
    /* all at once, in the file's order, whoever found them */
    {"grace_period: x\ntargets: {a: {limit: 3}}\nuser: a b\nuser: c\nlog: {level: y}\n\tz",
     "f:1:15: grace_period: 'x' is not a duration: write 10s, 500ms, 1m30s | "
     "f:2:11: targets.a: url, url_env or url_file is missing | "
     "f:3:7: user: 'a b' is not a user: write name, uid, name:group or uid:gid | f:4:1: user: was given before, in "
     "line 3 | "
     "f:5:14: log.level: 'y' is not one of error, warning, info, debug | f:6:1: a tab in the indentation: YAML wants "
     "blanks"},
};

START_TEST(test_refused)
{
    load_bytes(refused[_i].yaml, strlen(refused[_i].yaml));
    ck_assert_str_eq(told(), refused[_i].told);
}
END_TEST

/* Forms that say the same. */
static const char *const same[] = {
    "grace_period: 20s\nstop:\n  settle: 3s\n  signals: [TERM, USR1]\nuser: bob\n",
    "grace_period: 20\nstop: {settle: 3s, signals: 'TERM USR1'}\nuser: 'bob'\n",
    "stop.settle: 3s\nstop.signals:\n- USR1\n- SIGTERM\ngrace_period: \"20s\"\nuser: \"b\\\n  o\\x62\"\n",
    "\xef\xbb\xbf%YAML 1.1\n---\r\n# comment\r\ngrace_period: 20s\r\nstop: {\"settle\": 3s, signals: [10, "
    "15]}\r\nuser: bob\r\n...\r\n",
    "{grace_period: 20s, stop: {settle: 3000ms, signals: [TERM, USR1, TERM]}, user: bob, log: , report: ~, http: null}",
};

START_TEST(test_taken)
{
    load_bytes(same[_i], strlen(same[_i]));
    ck_assert_str_eq(told(), "");
    ck_assert_int_eq(config.grace_period_us, 20 * US_PER_SECOND);
    ck_assert_int_eq(config.stop_settle_us, 3 * US_PER_SECOND);
    ck_assert_uint_eq(config.stop_signals, UINT64_C(1) << 14 | UINT64_C(1) << 9);
    ck_assert_str_eq(config.user, "bob");
}
END_TEST

/* Maps and lists, each form; the last document: nothing in it. */
static const char *const same_maps[] = {
    "stop:\n  map:\n    TERM: QUIT\n    1: 0\n  sequence:\n  - INT 3s\n  - QUIT 5s\nexit_codes: {143: 0, 2: 3}\n",
    "{stop: {map: [15:3, HUP:0], sequence: 'INT 3s, QUIT 5s'}, exit_codes: [143, '2:3']}",
    "stop: {map: '{TERM: QUIT, HUP: 0}', sequence: [SIGINT 3, 3 5s]}\nexit_codes: '{143: 0, 2: 3}'\n",
};

START_TEST(test_maps)
{
    load_bytes(same_maps[_i], strlen(same_maps[_i]));
    ck_assert_str_eq(told(), "");
    ck_assert_int_eq(config_mapped(&config.stop_map, 15), 3);
    ck_assert_int_eq(config_mapped(&config.stop_map, 1), 0);
    ck_assert_int_eq(config_mapped(&config.stop_map, 2), 2);
    ck_assert_int_eq(config_mapped(&config.exit_codes, 143), 0);
    ck_assert_int_eq(config_mapped(&config.exit_codes, 2), 3);
    ck_assert_int_eq(config_mapped(&config.exit_codes, 3), 3);
    ck_assert_uint_eq(config.stop_sequence.count, 2);
    ck_assert_int_eq(config.stop_sequence.list[1].signo, 3);
    ck_assert_int_eq(config.stop_sequence.list[1].after_us, 5 * US_PER_SECOND);
}
END_TEST

START_TEST(test_empty_maps)
{
    const char *yaml = "stop: {map: {}, sequence: [], signal: ''}\nexit_codes: {}\n";
    load_bytes(yaml, strlen(yaml));
    ck_assert_str_eq(told(), "");
    ck_assert_int_eq(config_mapped(&config.exit_codes, 143), 143);
    ck_assert_uint_eq(config.stop_sequence.count, 0);
}
END_TEST

START_TEST(test_empty_is_fine)
{
    static const char *const empty[] = {"", "\n", "# nothing\n", "---\n", "~", "{}", "---\n...\n", "\xef\xbb\xbf"};
    load_bytes(empty[_i], strlen(empty[_i]));
    ck_assert_str_eq(told(), "");
    ck_assert(!config.targets_in_file);
}
END_TEST

START_TEST(test_targets)
{
    const char *yaml =
        "targets:\n  pool:\n    url: postgres://h:6432/db?connection_limit=3\n    kind: pgbouncer\n    server: pg\n"
        "    limit: 9\n  pg: {url: 'host=h', look_only: yes, server: ~}\n  r: {url_env: A_REDIS_URL}\n";
    setenv("A_REDIS_URL", "redis://x", 1);
    load_bytes(yaml, strlen(yaml));
    ck_assert_str_eq(told(), "");
    ck_assert_uint_eq(config.target_count, 3);
    ck_assert_str_eq(config.targets[0].name, "pool");
    ck_assert_int_eq(config.targets[0].kind, TARGET_PGBOUNCER);
    ck_assert_int_eq(config.targets[0].server, 1);
    ck_assert_int_eq(config.targets[0].limit, 9);
    ck_assert(config.targets[1].look_only && !config.targets[0].look_only);
    ck_assert_int_eq(config.targets[1].server, -1);
    ck_assert_int_eq(config.targets[2].kind, TARGET_REDIS);
}
END_TEST

/* As many targets as there is room for, and one more. */
START_TEST(test_too_many_targets)
{
    char yaml[4096];
    struct text text = text_in(yaml, sizeof yaml);
    text_add(&text, "targets:\n");
    for (int i = 0; i <= WIRE_TARGETS; i++)
        text_add(&text, "  t%d: {url: redis://h}\n", i);
    load_bytes(yaml, strlen(yaml));
    ck_assert_str_eq(told(), "f:18:3: targets.t16: more than 16 targets");
    ck_assert_uint_eq(config.target_count, WIRE_TARGETS);
}
END_TEST

/* More errors than the list can hold are counted. */
START_TEST(test_many_errors)
{
    char yaml[4096];
    struct text text = text_in(yaml, sizeof yaml);
    for (int i = 0; i < 100; i++)
        text_add(&text, "zzzzzzz%d: 1\n", i);
    load_bytes(yaml, strlen(yaml));
    ck_assert_uint_eq(errors.count, 100);
    ck_assert_str_eq(errors.list[31].text, "f:32:1: zzzzzzz31: unknown key");
}
END_TEST

/* What could make libyaml or the search for duplicates slow is refused within Check's time limit. */
static const struct huge {
    const char *repeated, *told;
} huge[] = {
    {"a: 1\n", "f:2:1: a: was given before, in line 1"},
    {"[", "f:1:1: more than 4000 brackets"},
    {"a: {", "f:1:1: more than 4000 brackets"},
    {"- ", "f:1:3: the file: a list holds plain values only"},
    {"? ", "f:1:3: a key must be plain text"},
    {"x,", "f:1:1: the file: must be a map of keys"},
    {"# x\n", ""},
};

START_TEST(test_huge)
{
    size_t size = YAML_LARGEST, length = strlen(huge[_i].repeated);
    char *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = huge[_i].repeated[i % length];
    load_bytes(bytes, size);
    ck_assert_msg(*huge[_i].told ? strstr(told(), huge[_i].told) != NULL : errors.count == 0, "%s", told());
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_file");
    TCase *tcase = tcase_create("config_file");
    tcase_add_loop_test(tcase, test_refused, 0, sizeof refused / sizeof *refused);
    tcase_add_loop_test(tcase, test_taken, 0, sizeof same / sizeof *same);
    tcase_add_loop_test(tcase, test_maps, 0, sizeof same_maps / sizeof *same_maps);
    tcase_add_test(tcase, test_empty_maps);
    tcase_add_loop_test(tcase, test_empty_is_fine, 0, 8);
    tcase_add_test(tcase, test_targets);
    tcase_add_test(tcase, test_too_many_targets);
    tcase_add_test(tcase, test_many_errors);
    tcase_add_loop_test(tcase, test_huge, 0, sizeof huge / sizeof *huge);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
