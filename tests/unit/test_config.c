/* The configuration as a whole: precedence, targets of the environment, what is printed, what is in the tree. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/keys.h"
#include "config/print.h"
#include "config/url.h"
#include "config/value.h"

static struct config config;
static struct config_errors errors;
static char directory[64], file[128];

static void set_up(void)
{
    static char *nothing[] = {NULL};
    environ = nothing;
    strcpy(directory, "/tmp/lastcall-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(file, sizeof file, "%s/f", directory);
}

static void tear_down(void)
{
    unlink(file);
    rmdir(directory);
}

static void write_file(const char *bytes)
{
    FILE *stream = fopen(file, "w");
    ck_assert_ptr_nonnull(stream);
    fputs(bytes, stream);
    ck_assert_int_eq(fclose(stream), 0);
}

static void load(const struct config_option *options, size_t count)
{
    int result = config_load(&config, options, count, &errors);
    ck_assert_msg(result == 0, "%s", errors.list[0].text);
}

static void load_file(const char *yaml)
{
    struct config_option option = {"config", file, "--config"};
    write_file(yaml);
    load(&option, 1);
}

/* Exactly these errors, each by its beginning; NULL at the end. */
static void expect_errors(const struct config_option *options, size_t count, const char *const *wanted)
{
    size_t i = 0;
    ck_assert_int_eq(config_load(&config, options, count, &errors), -1);
    for (; wanted[i]; i++) {
        ck_assert_msg(i < errors.count, "missing: %s", wanted[i]);
        ck_assert_msg(strncmp(errors.list[i].text, wanted[i], strlen(wanted[i])) == 0, "'%s' is not '%s'",
                      errors.list[i].text, wanted[i]);
    }
    ck_assert_msg(errors.count == i, "one more: %s", errors.list[i].text);
}
#define EXPECT_ERRORS(options, count, ...) \
    expect_errors(options, count, (const char *const[]){__VA_ARGS__, NULL})

static const char *param(size_t target, const char *keyword)
{
    const char *value = url_param(config.targets[target].params, keyword);
    return value ? value : "(none)";
}

START_TEST(test_defaults)
{
    char host[64] = "";
    load(NULL, 0);
    ck_assert_int_eq(config.grace_period_us, 10000000);
    ck_assert(config.report_termination_log && config.report_query_text);
    ck_assert_int_eq(config.log_level, LOG_LEVEL_INFO);
    ck_assert_uint_eq(config.stop_signals, UINT64_C(1) << 14 | UINT64_C(1) << 1);
    ck_assert_int_eq(config.stop_signal_to, SIGNAL_TO_AUTO);
    ck_assert_int_eq(config.stop_order, ORDER_DRAIN_FIRST);
    ck_assert_int_eq(config.stop_end, END_SIGNAL);
    ck_assert_int_eq(config.stop_settle_us, 0);
    ck_assert_int_eq(config.drain_hold_us, 5000000);
    ck_assert_int_eq(config.monitor_interval_us, 60000000);
    ck_assert_int_eq(config.leak_stale_us, 600000000);
    ck_assert_int_eq(config.leak_transaction_us, 60000000);
    ck_assert(!*config.user && !*config.report_file && !*config.http_listen && !*config.socket && !*config.file);
    ck_assert_uint_eq(config.target_count, 0);
    ck_assert_ptr_null(config.command);
    snprintf(host, sizeof host, "-%d", (int)getpid());
    ck_assert_str_eq(config.instance + strlen(config.instance) - strlen(host), host);
}
END_TEST

START_TEST(test_precedence)
{
    struct config_option options[] = {{"config", file, "--config"}, {"grace_period", "4s", "--grace"}};
    write_file("grace_period: 2s\nstop: {settle: 1s}\nlog: {level: error}\n");
    setenv("LASTCALL_GRACE", "3s", 1);
    setenv("LASTCALL_STOP_SETTLE", "1500ms", 1);
    load(options, 2);
    ck_assert_int_eq(config.grace_period_us, 4000000);
    ck_assert_int_eq(config.stop_settle_us, 1500000);
    ck_assert_int_eq(config.log_level, LOG_LEVEL_ERROR);
    load(options, 1);
    ck_assert_int_eq(config.grace_period_us, 3000000);
    unsetenv("LASTCALL_GRACE");
    load(options, 1);
    ck_assert_int_eq(config.grace_period_us, 2000000);
    ck_assert_int_eq(config.origins[key_find("grace_period") - keys].source, FROM_FILE);
    load(NULL, 0);
    ck_assert_int_eq(config.grace_period_us, 10000000);
}
END_TEST

/* -e and -r come together; they go before the environment as a whole, that before the file. */
START_TEST(test_maps_of_options)
{
    struct config_option options[] = {{"config", file, "--config"}, {"exit_codes", "143", "-e"},
                                      {"exit_codes", "130:1", "-e"}, {"stop.map", "15:3", "-r"}};
    write_file("exit_codes: {7: 0}\nstop: {map: {INT: 0}}\n");
    setenv("LASTCALL_EXIT_CODES", "8:0", 1);
    load(options, 4);
    ck_assert(config.exit_codes.set[143] && config.exit_codes.set[130] && !config.exit_codes.set[7]);
    ck_assert(!config.exit_codes.set[8] && config.exit_codes.to[130] == 1);
    ck_assert(config.stop_map.set[15] && !config.stop_map.set[2]);
    load(options, 1);
    ck_assert(config.exit_codes.set[8] && !config.exit_codes.set[7] && config.stop_map.set[2]);
}
END_TEST

static const struct borrowed {
    const char *name, *value, *ours; /* ours: one of ours that goes before it, or NULL */
    enum log_level level;
    enum stop_signal_to to;
} borrowed[] = {
    {"TINI_VERBOSITY", "0", NULL, LOG_LEVEL_ERROR, SIGNAL_TO_AUTO},
    {"TINI_VERBOSITY", "1", NULL, LOG_LEVEL_WARNING, SIGNAL_TO_AUTO},
    {"TINI_VERBOSITY", "3", NULL, LOG_LEVEL_DEBUG, SIGNAL_TO_AUTO},
    {"TINI_VERBOSITY", "12", NULL, LOG_LEVEL_DEBUG, SIGNAL_TO_AUTO},
    {"TINI_VERBOSITY", "x", NULL, LOG_LEVEL_INFO, SIGNAL_TO_AUTO},
    {"TINI_VERBOSITY", "3", "LASTCALL_LOG_LEVEL=error", LOG_LEVEL_ERROR, SIGNAL_TO_AUTO},
    {"TINI_SUBREAPER", "", NULL, LOG_LEVEL_INFO, SIGNAL_TO_AUTO},
    {"TINI_KILL_PROCESS_GROUP", "", NULL, LOG_LEVEL_INFO, SIGNAL_TO_GROUP},
    {"TINI_KILL_PROCESS_GROUP", "1", "LASTCALL_STOP_SIGNAL_TO=tree", LOG_LEVEL_INFO, SIGNAL_TO_TREE},
    {"DUMB_INIT_DEBUG", "1", NULL, LOG_LEVEL_DEBUG, SIGNAL_TO_AUTO},
    {"DUMB_INIT_DEBUG", "0", NULL, LOG_LEVEL_INFO, SIGNAL_TO_AUTO},
    {"DUMB_INIT_SETSID", "0", NULL, LOG_LEVEL_INFO, SIGNAL_TO_MAIN},
    {"DUMB_INIT_SETSID", "1", NULL, LOG_LEVEL_INFO, SIGNAL_TO_GROUP},
};

/* What tini and dumb-init read: before the file, after our own variables. */
START_TEST(test_borrowed_variables)
{
    struct config_option options[] = {{"config", file, "--config"}, {"stop.signal_to", "main", "-c"}};
    write_file("monitor: {interval: 2s}\n");
    setenv(borrowed[_i].name, borrowed[_i].value, 1);
    if (borrowed[_i].ours)
        putenv((char *)borrowed[_i].ours);
    load(options, 1);
    ck_assert_int_eq(config.log_level, borrowed[_i].level);
    ck_assert_int_eq(config.stop_signal_to, borrowed[_i].to);
    load(options, 2);
    ck_assert_int_eq(config.stop_signal_to, SIGNAL_TO_MAIN);
    write_file("stop: {signal_to: auto}\nlog: {level: info}\n");
    load(options, 1);
    ck_assert_int_eq(config.stop_signal_to, borrowed[_i].to);
    ck_assert_int_eq(config.log_level, borrowed[_i].level);
}
END_TEST

START_TEST(test_sequence_and_what_it_goes_with)
{
    struct config_option option = {"config", file, "--config"};
    char error[300];
    write_file("stop: {sequence: [TERM 0s, INT 1s], signal: TERM}\n");
    load(&option, 1);
    write_file("stop: {sequence: [TERM 0s, INT 1s], end: kill, order: signal-first}\n");
    load(&option, 1);
    write_file("stop: {sequence: [TERM 0s], signal: QUIT}\n");
    snprintf(error, sizeof error, "%s:1:18: stop.sequence: its signal at 0s is not that of stop.signal", file);
    EXPECT_ERRORS(&option, 1, error);
    write_file("stop: {sequence: [INT 1s], end: kill}\n");
    snprintf(error, sizeof error, "%s:1:18: stop.sequence: with stop.end: kill the app gets no signal but", file);
    EXPECT_ERRORS(&option, 1, error);
}
END_TEST

/* The last of several options counts; what is overruled is still checked. */
START_TEST(test_every_source_is_checked)
{
    struct config_option options[] = {
        {"config", file, "--config"}, {"grace_period", "x", "--grace"}, {"grace_period", "5s", "--grace"}};
    write_file("grace_period: y\nstop: {signals: [z]}\n");
    setenv("LASTCALL_GRACE_PERIOD", "w", 1);
    char in_file[200], signals[200];
    snprintf(in_file, sizeof in_file, "%s:1:15: grace_period: 'y' is not a duration: write 10s, 500ms, 1m30s", file);
    snprintf(signals, sizeof signals, "%s:2:18: stop.signals: 'z' is not a signal", file);
    EXPECT_ERRORS(options, 3, "--grace: 'x' is not a duration", "LASTCALL_GRACE_PERIOD: 'w' is not a duration", in_file,
                  signals);
}
END_TEST

START_TEST(test_environment_names)
{
    setenv("LASTCALL_HTTP", "127.0.0.1:9400", 1);
    setenv("LASTCALL_USER", "nobody", 1);
    setenv("LASTCALL_REPORT", "/r.json", 1);
    setenv("LASTCALL_SOCKET", "/s.sock", 1);
    setenv("LASTCALL_INSTANCE", "web-1", 1);
    setenv("LASTCALL_STOP_SIGNALS", "QUIT, TERM", 1);
    setenv("LASTCALL_GRACE_PERIOD", "", 1);
    setenv("LASTCALL_NO_SUCH_THING", "1", 1);
    load(NULL, 0);
    ck_assert_str_eq(config.http_listen, "127.0.0.1:9400");
    ck_assert_str_eq(config.user, "nobody");
    ck_assert_str_eq(config.report_file, "/r.json");
    ck_assert_str_eq(config.socket, "/s.sock");
    ck_assert_str_eq(config.instance, "web-1");
    ck_assert_uint_eq(config.stop_signals, UINT64_C(1) << 14 | UINT64_C(1) << 2);
    ck_assert_int_eq(config.grace_period_us, 10000000);
}
END_TEST

START_TEST(test_both_names)
{
    setenv("LASTCALL_GRACE", "3s", 1);
    setenv("LASTCALL_GRACE_PERIOD", "3s", 1);
    load(NULL, 0);
    ck_assert_int_eq(config.grace_period_us, 3000000);
    setenv("LASTCALL_GRACE_PERIOD", "4s", 1);
    EXPECT_ERRORS(NULL, 0, "LASTCALL_GRACE and LASTCALL_GRACE_PERIOD are both set");
}
END_TEST

START_TEST(test_settle_within_grace)
{
    struct config_option options[] = {{"grace_period", "5s", "--grace"}};
    setenv("LASTCALL_STOP_SETTLE", "5s", 1);
    EXPECT_ERRORS(options, 1, "LASTCALL_STOP_SETTLE: stop.settle: 5s does not fit into grace_period, which is 5s");
}
END_TEST

START_TEST(test_backoff_within_its_longest)
{
    struct config_option options[] = {{"restart.backoff", "2m", "--x"}};
    EXPECT_ERRORS(options, 1, "--x: restart.backoff: 2m is longer than restart.backoff_max, which is 1m");
    setenv("LASTCALL_RESTART_BACKOFF_MAX", "500ms", 1);
    EXPECT_ERRORS(NULL, 0, "LASTCALL_RESTART_BACKOFF_MAX: restart.backoff: 1s is longer than restart.backoff_max, which "
                           "is 500ms");
}
END_TEST

START_TEST(test_predecessor_needs_a_name)
{
    static const char *const no_names[] = {NULL, ""};
    setenv("LASTCALL_SWEEP_PREDECESSOR", "true", 1);
    for (size_t i = 0; i < 2; i++) {
        if (no_names[i])
            setenv("LASTCALL_INSTANCE", no_names[i], 1);
        EXPECT_ERRORS(NULL, 0, "LASTCALL_SWEEP_PREDECESSOR: sweep.predecessor: needs `instance`");
    }
    setenv("LASTCALL_INSTANCE", "web", 1);
    load(NULL, 0);
    ck_assert(config.sweep_predecessor);
}
END_TEST

/* ---- targets of the environment ---- */

START_TEST(test_database_and_redis)
{
    setenv("DATABASE_URL", "postgres://u:p@h/db?connection_limit=3", 1);
    setenv("REDIS_URL", "redis://r", 1);
    load(NULL, 0);
    ck_assert_uint_eq(config.target_count, 2);
    ck_assert_str_eq(config.targets[0].name, "database");
    ck_assert_int_eq(config.targets[0].kind, TARGET_POSTGRES);
    ck_assert_int_eq(config.targets[0].limit, 3);
    ck_assert_int_eq(config.targets[0].server, -1);
    ck_assert(!config.targets[0].look_only);
    ck_assert_str_eq(config.targets[0].origin, "DATABASE_URL");
    ck_assert_str_eq(config.targets[1].name, "redis");
    ck_assert_str_eq(param(1, "host"), "r");
}
END_TEST

START_TEST(test_pooler_and_direct)
{
    static const char *const names[] = {"DATABASE_URL_DIRECT", "DIRECT_URL", "DIRECT_DATABASE_URL",
                                        "DATABASE_URL_UNPOOLED"};
    setenv("DATABASE_URL", "postgres://u:p@h:6432/db?pgbouncer=true", 1);
    setenv(names[_i], "postgres://u:p@h:5432/db", 1);
    load(NULL, 0);
    ck_assert_uint_eq(config.target_count, 2);
    ck_assert_int_eq(config.targets[0].kind, TARGET_PGBOUNCER);
    ck_assert_int_eq(config.targets[0].server, 1);
    ck_assert_str_eq(config.targets[1].name, "direct");
    ck_assert(config.targets[1].look_only);
    ck_assert_str_eq(config.targets[1].origin, names[_i]);
    unsetenv("DATABASE_URL");
    load(NULL, 0);
    ck_assert_uint_eq(config.target_count, 1);
    ck_assert(!config.targets[0].look_only);
}
END_TEST

START_TEST(test_port_6432_is_no_pooler_by_itself)
{
    setenv("DATABASE_URL", "postgres://h:6432/db", 1);
    setenv("DIRECT_URL", "postgres://h:5432/db", 1);
    load(NULL, 0);
    ck_assert_int_eq(config.targets[0].kind, TARGET_POSTGRES);
    ck_assert_int_eq(config.targets[0].server, 1); /* should the agent find out that it is one after all */
    ck_assert(config.targets[1].look_only);
}
END_TEST

START_TEST(test_same_server_is_one_target)
{
    setenv("DATABASE_URL", "postgres://u:p@h/db?connection_limit=3", 1);
    setenv("DIRECT_URL", "postgres://u:p@h:5432/db", 1);
    load(NULL, 0);
    ck_assert_uint_eq(config.target_count, 1);
}
END_TEST

START_TEST(test_foreign_is_no_error)
{
    static const char *const urls[] = {"mysql://u:p@h/db", "sqlite:x.db",    "mongodb://h",
                                       "redis://h",        "jdbc:mysql://h", ""};
    setenv("DATABASE_URL", urls[_i], 1);
    setenv("REDIS_URL", "memcached://h", 1);
    load(NULL, 0);
    ck_assert_uint_eq(config.target_count, 0);
}
END_TEST

START_TEST(test_broken_is_an_error)
{
    setenv("DATABASE_URL", "postgres://u:secret@h:x/db", 1);
    setenv("DIRECT_URL", "postgres://a,b", 1);
    setenv("REDIS_URL", "rediss://:secret@h", 1);
    EXPECT_ERRORS(NULL, 0, "DATABASE_URL, column 23: the port", "DIRECT_URL, column 13: several hosts",
                  "REDIS_URL, column 1: rediss: TLS to Redis is not supported");
    for (size_t i = 0; i < errors.count; i++)
        ck_assert_ptr_null(strstr(errors.list[i].text, "secret"));
}
END_TEST

START_TEST(test_url_from_file)
{
    write_file("postgres://u:p@h/db\n");
    setenv("DATABASE_URL_FILE", file, 1);
    load(NULL, 0);
    ck_assert_str_eq(param(0, "dbname"), "db");
    ck_assert_str_eq(config.targets[0].origin, "DATABASE_URL_FILE");
    setenv("DATABASE_URL", "postgres://h", 1);
    EXPECT_ERRORS(NULL, 0, "DATABASE_URL and DATABASE_URL_FILE are both set: keep one");
}
END_TEST

START_TEST(test_bad_url_file)
{
    char wanted[200];
    setenv("REDIS_URL_FILE", file, 1);
    snprintf(wanted, sizeof wanted, "REDIS_URL_FILE: %s cannot be opened: No such file or directory", file);
    EXPECT_ERRORS(NULL, 0, wanted);
    write_file("\n");
    snprintf(wanted, sizeof wanted, "REDIS_URL_FILE: %s is empty", file);
    EXPECT_ERRORS(NULL, 0, wanted);
    write_file("redis://h\n\n");
    EXPECT_ERRORS(NULL, 0, "REDIS_URL_FILE, column 10: a control character or line end");
}
END_TEST

START_TEST(test_file_goes_before_environment)
{
    setenv("DATABASE_URL", "postgres://broken:port:x/", 1);
    load_file("targets: {pg: {url: 'postgres://h'}}\n");
    ck_assert_uint_eq(config.target_count, 1);
    ck_assert_str_eq(config.targets[0].name, "pg");
    load_file("targets: {}\n");
    ck_assert_uint_eq(config.target_count, 0);
}
END_TEST

/* ---- files that are none ---- */

START_TEST(test_odd_files)
{
    char wanted[200];
    struct config_option option = {"config", directory, "--config"};
    snprintf(wanted, sizeof wanted, "%s: is a directory, not a file", directory);
    EXPECT_ERRORS(&option, 1, wanted);
    ck_assert_int_eq(mkfifo(file, 0600), 0);
    option.value = file;
    snprintf(wanted, sizeof wanted, "%s: is a FIFO, not a file", file);
    EXPECT_ERRORS(&option, 1, wanted);
    unlink(file);
    snprintf(wanted, sizeof wanted, "%s: cannot be opened: No such file or directory", file);
    EXPECT_ERRORS(&option, 1, wanted);
    write_file("\n");
    ck_assert_int_eq(truncate(file, 1024 * 1024 + 1), 0);
    snprintf(wanted, sizeof wanted, "%s: is too large: at most 1048576 bytes", file);
    EXPECT_ERRORS(&option, 1, wanted);
}
END_TEST

/* ---- printing ---- */

static char *printed(void)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&bytes, &size);
    ck_assert_int_eq(config_print(&config, stream), 0);
    fclose(stream);
    return bytes;
}

static void check_value(const struct config *a, const struct config *b, const struct key *key)
{
    char left[400], right[400];
    struct text left_text = text_in(left, sizeof left), right_text = text_in(right, sizeof right);
    value_format(a, key, &left_text);
    value_format(b, key, &right_text);
    ck_assert_msg(key->not_in_file || key->type == KEY_NAME || strcmp(left, right) == 0, "%s: %s, %s", key->name, left,
                  right);
}

START_TEST(test_print_loads_again)
{
    static struct config first;
    load_file("grace_period: 1m30s500ms\nuser: '#1:\"x\\y'\nhttp: {listen: '[::1]:80'}\nreport: {file: '/a b/ü: #'}\n"
              "stop: {signals: [QUIT, 35, 40], signal_to: tree, order: signal-first, end: kill, settle: 1s}\n"
              "targets:\n"
              "  pg: {url: \"host=/tmp user='a b' password=secret options='-c x=\\\\'1'\"}\n"
              "  pool: {url: 'postgres://u:se%20cret@[::1]:6432/d%22b', kind: pgbouncer, server: pg, limit: 4}\n"
              "  a: {url: 'redis://u%40:secret@[::1]:6380/3'}\n"
              "  b: {url: 'unix:///tmp/r%20s?db=1&password=secret', look_only: yes}\n");
    first = config;
    char *bytes = printed();
    ck_assert_msg(!strstr(bytes, "secret") && !strstr(bytes, "se cret"), "%s", bytes);
    ck_assert_ptr_nonnull(strstr(bytes, "****"));
    load_file(bytes);
    free(bytes);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        check_value(&first, &config, &keys[i]);
    ck_assert_uint_eq(config.target_count, 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(config.targets[i].kind, first.targets[i].kind);
        ck_assert_int_eq(config.targets[i].limit, first.targets[i].limit);
        ck_assert_int_eq(config.targets[i].server, first.targets[i].server);
        ck_assert_int_eq(config.targets[i].look_only, first.targets[i].look_only);
        ck_assert_str_eq(param(i, "password"), "****");
    }
    ck_assert_str_eq(param(0, "options"), "-c x='1");
    ck_assert_str_eq(param(1, "dbname"), "d\"b");
    ck_assert_str_eq(param(2, "user"), "u@");
    ck_assert_str_eq(param(3, "path"), "/tmp/r s");
}
END_TEST

START_TEST(test_print_says_where_from)
{
    struct config_option options[] = {{"config", file, "--config"}, {"user", "bob", "--user"}};
    write_file("stop:\n  settle: 1s\n");
    setenv("LASTCALL_GRACE", "7s", 1);
    load(options, 2);
    char *bytes = printed(), wanted[200];
    ck_assert_ptr_nonnull(strstr(bytes, "grace_period: 7s                        # LASTCALL_GRACE\n"));
    ck_assert_ptr_nonnull(strstr(bytes, "user: bob                               # --user\n"));
    snprintf(wanted, sizeof wanted, "  settle: 1s                            # %s:2:11\n", file);
    ck_assert_ptr_nonnull(strstr(bytes, wanted));
    ck_assert_ptr_nonnull(strstr(bytes, "  hold: 5s                              # default\n"));
    free(bytes);
}
END_TEST

/* ---- what the tables make ---- */

static char *example(void)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&bytes, &size);
    ck_assert_int_eq(print_example(stream), 0);
    fclose(stream);
    return bytes;
}

START_TEST(test_example_is_what_is_in_the_tree)
{
    static char kept[32768];
    char *bytes = example();
    FILE *stream = fopen("config/lastcall.yaml", "r");
    ck_assert_msg(stream != NULL, "run from the top of the tree");
    kept[fread(kept, 1, sizeof kept - 1, stream)] = '\0';
    fclose(stream);
    ck_assert_msg(strcmp(kept, bytes) == 0, "config/lastcall.yaml: make it with lastcall check --example");
    free(bytes);
}
END_TEST

/* Also with every "#key: value" taken out of its comment. */
START_TEST(test_example_loads)
{
    static struct config defaults;
    char *bytes = example();
    load(NULL, 0);
    defaults = config;
    load_file(bytes);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        check_value(&defaults, &config, &keys[i]);
    char *to = bytes;
    for (char *at = bytes; *at; at++)
        if (*at != '#' || at[1] == ' ' || at[1] == '\n')
            *to++ = *at;
        else if (strncmp(at, "#targets:", 9) == 0)
            break;
    strcpy(to, "targets: {primary: {url: redis://a}, cache: {url: redis://b}}\n"); /* in place of the rest */
    load_file(bytes);
    ck_assert_str_eq(config.instance, "web-1");
    ck_assert_str_eq(config.http_listen, "127.0.0.1:9400");
    free(bytes);
}
END_TEST

START_TEST(test_table_is_whole)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        ck_assert_msg(keys[i].name && keys[i].help && keys[i].fallback, "row %zu", i);
        ck_assert_msg(key_find(keys[i].name) == &keys[i], "%s twice", keys[i].name);
        ck_assert_msg(strlen(keys[i].help) <= 85, "%s: the help is too long for a line", keys[i].name);
        ck_assert(keys[i].type != KEY_DURATION || keys[i].max_us > keys[i].min_us);
        ck_assert((keys[i].type == KEY_CHOICE) == (keys[i].choices != NULL));
        ck_assert(!keys[i].option == !keys[i].argument);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_defaults);
    tcase_add_test(tcase, test_precedence);
    tcase_add_test(tcase, test_maps_of_options);
    tcase_add_loop_test(tcase, test_borrowed_variables, 0, sizeof borrowed / sizeof *borrowed);
    tcase_add_test(tcase, test_sequence_and_what_it_goes_with);
    tcase_add_test(tcase, test_every_source_is_checked);
    tcase_add_test(tcase, test_environment_names);
    tcase_add_test(tcase, test_both_names);
    tcase_add_test(tcase, test_settle_within_grace);
    tcase_add_test(tcase, test_backoff_within_its_longest);
    tcase_add_test(tcase, test_predecessor_needs_a_name);
    tcase_add_test(tcase, test_database_and_redis);
    tcase_add_loop_test(tcase, test_pooler_and_direct, 0, 4);
    tcase_add_test(tcase, test_port_6432_is_no_pooler_by_itself);
    tcase_add_test(tcase, test_same_server_is_one_target);
    tcase_add_loop_test(tcase, test_foreign_is_no_error, 0, 6);
    tcase_add_test(tcase, test_broken_is_an_error);
    tcase_add_test(tcase, test_url_from_file);
    tcase_add_test(tcase, test_bad_url_file);
    tcase_add_test(tcase, test_file_goes_before_environment);
    tcase_add_test(tcase, test_odd_files);
    tcase_add_test(tcase, test_print_loads_again);
    tcase_add_test(tcase, test_print_says_where_from);
    tcase_add_test(tcase, test_example_is_what_is_in_the_tree);
    tcase_add_test(tcase, test_example_loads);
    tcase_add_test(tcase, test_table_is_whole);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
