/* Values of keys: durations, every type's refusals, and each row's default and bounds. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/duration.h"
#include "config/nearest.h"
#include "config/value.h"

static struct config config;

static const struct duration {
    const char *text;
    int64_t us; /* -1: refused */
    const char *shown;
} durations[] = {
    {"10", 10000000, "10s"},
    {"10s", 10000000, "10s"},
    {"500ms", 500000, "500ms"},
    {"1m30s", 90000000, "1m30s"},
    {"2h", 7200000000, "2h"},
    {"1h1m1s1ms", 3661001000, "1h1m1s1ms"},
    {"0", 0, "0s"},
    {"0s", 0, "0s"},
    {"90s", 90000000, "1m30s"},
    {"007s", 7000000, "7s"},
    {"1500ms", 1500000, "1s500ms"},
    {"", -1, NULL},
    {"s", -1, NULL},
    {"10 s", -1, NULL},
    {" 10s", -1, NULL},
    {"10s ", -1, NULL},
    {"-1s", -1, NULL},
    {"+1s", -1, NULL},
    {"1.5s", -1, NULL},
    {"1s1m", -1, NULL},
    {"1s1s", -1, NULL},
    {"1m30", -1, NULL},
    {"10sec", -1, NULL},
    {"10S", -1, NULL},
    {"1d", -1, NULL},
    {"99999999999h", -1, NULL},
    {"9999999999999999999", -1, NULL},
    {"1mss", -1, NULL},
    {"1hm", -1, NULL},
    {"0x10", -1, NULL},
};

START_TEST(test_duration)
{
    const struct duration *row = &durations[_i];
    int64_t us = -7;
    char shown[64];
    struct text text = text_in(shown, sizeof shown);
    ck_assert_msg(duration_parse(row->text, &us) == (row->us < 0 ? -1 : 0), "'%s'", row->text);
    if (row->us < 0)
        return;
    ck_assert_int_eq(us, row->us);
    duration_format(us, &text);
    ck_assert_str_eq(shown, row->shown);
    ck_assert(duration_parse(shown, &us) == 0 && us == row->us);
}
END_TEST

static const struct value {
    const char *key, *value, *error; /* error: its beginning; NULL: taken */
    const char *shown;               /* NULL: as it was written */
} values[] = {
    {"grace_period", "1s", NULL, NULL},
    {"grace_period", "1h", NULL, NULL},
    {"grace_period", "999ms", "999ms is too short: at least 1s", NULL},
    {"grace_period", "3601s", "3601s is too long: at most 1h", NULL},
    {"grace_period", "10 sec", "'10 sec' is not a duration: write 10s, 500ms, 1m30s", NULL},
    {"stop.settle", "0", NULL, "0s"},
    {"leak.stale", "24h", NULL, NULL},
    {"restart.policy", "on-failure", NULL, NULL},
    {"restart.policy", "on failure", "'on failure' is not one of never, on-failure, always", NULL},
    {"restart.limit", "0", NULL, NULL},
    {"restart.limit", "064", NULL, "64"},
    {"restart.limit", "65", "65 is too many: at most 64", NULL},
    {"restart.limit", "-1", "'-1' is not a number: write digits", NULL},
    {"restart.limit", "3x", "'3x' is not a number: write digits", NULL},
    {"restart.limit", "", "'' is not a number: write digits", NULL},
    {"restart.limit", "99999999999999999999", "'99999999999999999999' is not a number", NULL},
    {"report.query_text", "off", NULL, "false"},
    {"report.query_text", "YES", NULL, "true"},
    {"report.query_text", "maybe", "'maybe' is neither true nor false", NULL},
    {"report.query_text", "", "'' is neither true nor false", NULL},
    {"log.level", "Debug", NULL, "debug"},
    {"log.level", "eror", "'eror' is not one of error, warning, info, debug: did you mean error?", NULL},
    {"log.level", "trace", "'trace' is not one of error, warning, info, debug", NULL},
    {"stop.signal_to", "tree", NULL, NULL},
    {"stop.order", "signal-first", NULL, NULL},
    {"stop.end", "kill", NULL, NULL},
    {"stop.listener", "refuse", NULL, NULL},
    {"stop.idle", "0s", NULL, NULL},
    {"stop.ports", "", NULL, NULL},
    {"stop.ports", "9000=off, 8443=50ms", NULL, NULL},
    {"stop.ports", "[9000=off 1=1s]", NULL, "9000=off, 1=1s"},
    {"stop.ports", "9000", "'9000' is no port of the app: write 9000=off, 8443=50ms", NULL},
    {"stop.ports", "0=off", "'0=off' is no port of the app", NULL},
    {"stop.ports", "65536=off", "'65536=off' is no port of the app", NULL},
    {"stop.ports", "80=on", "'80=on' has no idle time: write off, or a duration such as 50ms", NULL},
    {"stop.ports", "80=0s", "'80=0s' has no idle time", NULL},
    {"stop.ports", "80=off,80=1s", "'80=1s' names a port that was named before", NULL},
    {"stop.ports", "1=off 2=off 3=off 4=off 5=off 6=off 7=off 8=off 9=off 10=off 11=off 12=off 13=off 14=off 15=off "
     "16=off 17=off", "names more than 16 ports", NULL},
    {"stop.signals", "TERM", NULL, "[TERM]"},
    {"stop.signals", "[SIGQUIT, int 10]", NULL, "[INT, QUIT, USR1]"},
    {"stop.signals", "RTMIN+3", NULL, "[RTMIN+3]"},
    {"stop.signals", "", "names no signal", NULL},
    {"stop.signals", "TREM", "'TREM' is not a signal", NULL},
    {"stop.signals", "KILL", "'KILL' cannot begin a stop", NULL},
    {"stop.signals", "TERM,CHLD", "'CHLD' cannot begin a stop", NULL},
    {"stop.signals", "65", "'65' is not a signal", NULL},
    {"stop.signal", "quit", NULL, "QUIT"},
    {"stop.signal", "28", NULL, "WINCH"},
    {"stop.signal", "", NULL, NULL},
    {"stop.signal", "KILL", "'KILL' cannot be the stop signal: write stop.end: kill", NULL},
    {"stop.signal", "STOP", "'STOP' cannot be the stop signal: choose", NULL},
    {"stop.signal", "QIUT", "'QIUT' is not a signal", NULL},
    {"parent_death_signal", "KILL", NULL, NULL},
    {"parent_death_signal", "65", "'65' is not a signal", NULL},
    {"stop.map", "15:3", NULL, "{TERM: QUIT}"},
    {"stop.map", "{TERM: QUIT, HUP : 0,USR1:RTMIN+3}", NULL, "{HUP: 0, USR1: RTMIN+3, TERM: QUIT}"},
    {"stop.map", "TSTP:STOP, 32:33", NULL, "{TSTP: STOP, 32: 33}"},
    {"stop.map", "{}", NULL, NULL},
    {"stop.map", "", NULL, "{}"},
    {"stop.map", "TERM", "'TERM' rewrites nothing: write TERM:QUIT, or TERM:0", NULL},
    {"stop.map", "TERM:", "'' is not a signal: write", NULL},
    {"stop.map", ":QUIT", "'' is not a signal", NULL},
    {"stop.map", "TERM:00", "'00' is not a signal", NULL},
    {"stop.map", "TERM:QUIT:INT", "'QUIT:INT' is not a signal", NULL},
    {"stop.map", "KILL:TERM", "'KILL' cannot be rewritten", NULL},
    {"stop.map", "CHLD:TERM", "'CHLD' cannot be rewritten", NULL},
    {"stop.map", "0:15", "'0' is not a signal", NULL},
    {"exit_codes", "143", NULL, "{143: 0}"},
    {"exit_codes", "{143: 0, 1: 255, 0: 7}", NULL, "{0: 7, 1: 255, 143: 0}"},
    {"exit_codes", "[143, 130]", NULL, "{130: 0, 143: 0}"},
    {"exit_codes", "256", "'256' is not an exit code", NULL},
    {"exit_codes", "143:-1", "'-1' is not an exit code", NULL},
    {"exit_codes", "143:", "'' is not an exit code", NULL},
    {"exit_codes", "x:0", "'x' is not an exit code", NULL},
    {"exit_codes", "1:2:3", "'2:3' is not an exit code", NULL},
    {"stop.sequence", "[TERM 0s, INT 3s, QUIT 6s]", NULL, NULL},
    {"stop.sequence", "sigint 500ms,3 2", NULL, "[INT 500ms, QUIT 2s]"},
    {"stop.sequence", "[]", NULL, NULL},
    {"stop.sequence", "INT", "'INT' is not a signal and a time: write [INT 3s, QUIT 5s]", NULL},
    {"stop.sequence", "INT 3x", "'INT 3x' is not a signal and a time", NULL},
    {"stop.sequence", "INT 3s 4s", "'INT 3s 4s' is not a signal and a time", NULL},
    {"stop.sequence", "TINT 3s", "'TINT' is not a signal", NULL},
    {"stop.sequence", "KILL 3s", "'KILL 3s' is not needed: SIGKILL comes by itself", NULL},
    {"stop.sequence", "STOP 3s", "'STOP' does not stop an app", NULL},
    {"stop.sequence", "INT 3s, QUIT 3s", "'QUIT 3s' must come later than INT 3s", NULL},
    {"stop.sequence", "INT 1,INT 2,INT 3,INT 4,INT 5,INT 6,INT 7,INT 8,INT 9", "holds more than 8 signals", NULL},
    {"instance", "web-1.a_B", NULL, NULL},
    {"instance", "", NULL, NULL},
    {"instance", "a/b", "'a/b' is not a name", NULL},
    {"instance", "..", "'..' is not a name", NULL},
    {"instance", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, NULL},
    {"instance", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is too long: at most 54 bytes", NULL},
    {"report.file", "/a b", NULL, NULL},
    {"report.file", "/a\nb", "'/a\\x0ab' holds a control character", NULL},
    {"user", "app", NULL, NULL},
    {"user", "1001:1001", NULL, NULL},
    {"user", "a:b:c", "'a:b:c' is not a user", NULL},
    {"user", ":b", "':b' is not a user", NULL},
    {"user", "a b", "'a b' is not a user", NULL},
    {"http.listen", "127.0.0.1:9400", NULL, NULL},
    {"http.listen", "localhost:1", NULL, NULL},
    {"http.listen", "[::]:65535", NULL, NULL},
    {"http.listen", "unix:/run/x.sock", NULL, NULL},
    {"http.listen", "unix:x.sock", "'unix:x.sock' is no socket path", NULL},
    {"http.listen", "9400", "'9400' is not a listen address", NULL},
    {"http.listen", ":9400", "':9400' is not a listen address", NULL},
    {"http.listen", "::1:9400", "'::1:9400' is not a listen address", NULL},
    {"http.listen", "example.com:80", "'example.com:80' is not a listen address", NULL},
    {"http.listen", "1.2.3.4:65536", "'1.2.3.4:65536' is not a listen address", NULL},
    {"http.listen", "http://u:secret@h", "'****' is not a listen address", NULL},
    {"grace_period", "password=secret", "'****' is not a duration", NULL},
};

START_TEST(test_value)
{
    const struct value *row = &values[_i];
    struct error error = {""};
    char shown[400];
    struct text text = text_in(shown, sizeof shown);
    const struct key *key = key_find(row->key);
    int result = value_set(&config, key, row->value, &error);
    ck_assert_msg(result == (row->error ? -1 : 0), "%s: '%s': %s", row->key, row->value, error.text);
    if (row->error)
        ck_assert_msg(strncmp(error.text, row->error, strlen(row->error)) == 0, "%s: %s", row->key, error.text);
    if (row->error)
        return;
    value_format(&config, key, &text);
    ck_assert_str_eq(shown, row->shown ? row->shown : row->value);
}
END_TEST

/* Every key takes its own default and shows a value that it takes again. */
START_TEST(test_defaults_are_taken)
{
    struct error error = {""};
    char shown[400], type[200] = "";
    struct text text = text_in(shown, sizeof shown), type_text = text_in(type, sizeof type);
    ck_assert_msg(value_set(&config, &keys[_i], keys[_i].fallback, &error) == 0, "%s: %s", keys[_i].name, error.text);
    value_format(&config, &keys[_i], &text);
    ck_assert_msg(value_set(&config, &keys[_i], shown, &error) == 0, "%s: %s", keys[_i].name, error.text);
    value_describe(&keys[_i], &type_text);
    ck_assert_str_ne(type, "");
    if (keys[_i].example)
        ck_assert_msg(value_set(&config, &keys[_i], keys[_i].example, &error) == 0, "%s: %s", keys[_i].name,
                      error.text);
}
END_TEST

static const char *nearest_of(const char *word)
{
    static const char *const known[] = {"stop.signals", "grace_period", "user", "drain"};
    struct nearest nearest = nearest_to(word);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        nearest_offer(&nearest, known[i], known[i]);
    return nearest_found(&nearest);
}

START_TEST(test_nearest)
{
    ck_assert_str_eq(nearest_of("stop.sginals"), "stop.signals");
    ck_assert_str_eq(nearest_of("drian"), "drain");
    ck_assert_str_eq(nearest_of("uesr"), "user");
    ck_assert_str_eq(nearest_of("graceperiod"), "grace_period");
    ck_assert_ptr_null(nearest_of("reus"));
    ck_assert_ptr_null(nearest_of(""));
    ck_assert_ptr_null(nearest_of("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_value");
    TCase *tcase = tcase_create("config_value");
    tcase_add_loop_test(tcase, test_duration, 0, sizeof durations / sizeof *durations);
    tcase_add_loop_test(tcase, test_value, 0, sizeof values / sizeof *values);
    tcase_add_loop_test(tcase, test_defaults_are_taken, 0, CONFIG_KEYS);
    tcase_add_test(tcase, test_nearest);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
