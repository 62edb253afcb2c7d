/* The command line: what is parsed, tini's and dumb-init's habits, complaints with their exit codes, and the help. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/help.h"
#include "cli/options.h"
#include "common/text.h"
#include "config/keys.h"

enum { WORDS = 20 };

static char output[8192]; /* of both streams */
static char words[512];   /* the words of the line; options point into them */

/* Splits `line` at blanks and parses it; what is printed goes to `output`. */
static bool parse(struct options *options, enum verb verb, const char *line)
{
    char *argv[WORDS + 1] = {NULL}, *rest = NULL;
    int argc = 0;
    static char *kept[WORDS + 1];
    text_copy(words, sizeof words, line);
    for (char *word = strtok_r(words, " ", &rest); word && argc < WORDS; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    memcpy(kept, argv, sizeof kept);
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2);
    dup2(fileno(file), 1);
    dup2(fileno(file), 2);
    bool go_on = options_parse(options, verb, argc, kept);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    ssize_t length = pread(fileno(file), output, sizeof output - 1, 0);
    output[length < 0 ? 0 : length] = '\0';
    fclose(file);
    return go_on;
}

/* "key=value …" of what sets keys, then "| command …". */
static const char *summary(const struct options *options)
{
    static char all[1024];
    struct text text = text_in(all, sizeof all);
    for (size_t i = 0; i < options->config_count; i++)
        text_add(&text, "%s=%s ", options->config[i].key, options->config[i].value);
    text_add(&text, "|");
    for (char **at = options->command; at && *at; at++)
        text_add(&text, " %s", *at);
    return all;
}

static const struct taken {
    const char *line, *summary;
} taken[] = {
    {"lastcall -- node app.js", "| node app.js"},
    {"lastcall node -v --grace 3s", "| node -v --grace 3s"},
    {"run --grace 3s -- -x", "grace_period=3s | -x"},
    {"run --grace=3s --user=app:app x", "grace_period=3s user=app:app | x"},
    {"run --report= x", "report.file= | x"},
    {"run --config f --http [::1]:80 --instance i --log-level debug --signal-to tree --report r x",
     "config=f http.listen=[::1]:80 instance=i log.level=debug stop.signal_to=tree report.file=r | x"},
    {"run -s -g x", "stop.signal_to=group | x"},
    {"run -sg x", "stop.signal_to=group | x"},
    {"run -c x", "stop.signal_to=main | x"},
    {"run --single-child x", "stop.signal_to=main | x"},
    {"run -e 143 -e130 x", "exit_codes=143 exit_codes=130 | x"},
    {"run --exit-code 143:1 --exit-code=2 x", "exit_codes=143:1 exit_codes=2 | x"},
    {"run -r 15:3 --rewrite 2:0 --rewrite=HUP:INT x", "stop.map=15:3 stop.map=2:0 stop.map=HUP:INT | x"},
    {"run -p SIGKILL x", "parent_death_signal=SIGKILL | x"},
    {"run -sgwvp SIGKILL -e 143 -- x",
     "stop.signal_to=group log.reaped=true log.level=debug parent_death_signal=SIGKILL exit_codes=143 | x"},
    {"run -cvr15:3 x", "stop.signal_to=main log.level=debug stop.map=15:3 | x"},
    {"run --stop-signal QUIT x", "stop.signal=QUIT | x"},
    {"run -v x", "log.level=debug | x"},
    {"run -vvv x", "log.level=debug log.level=debug log.level=debug | x"},
    {"run -q x", "log.level=warning | x"},
    {"run -qq x", "log.level=warning log.level=error | x"},
    {"run", "|"},
    {"run --", "|"},
    {"run -", "| -"},
    {"run -- drain", "| drain"},
};

START_TEST(test_taken)
{
    struct options options;
    ck_assert_msg(parse(&options, VERB_RUN, taken[_i].line), "%s", output);
    ck_assert_str_eq(summary(&options), taken[_i].summary);
    ck_assert_str_eq(output, "");
}
END_TEST

static const struct refused {
    enum verb verb;
    const char *line;
    int exit_code;
    const char *output; /* its beginning */
} refused[] = {
    {VERB_RUN, "run --grcae 3s x", 125, "lastcall: unknown option --grcae: did you mean --grace?\n"},
    {VERB_RUN, "run --frobnicate x", 125, "lastcall: unknown option --frobnicate (see lastcall --help)\n"},
    {VERB_RUN, "run --gr 3s x", 125, "lastcall: unknown option --gr (see lastcall --help)\n"},
    {VERB_RUN, "run -Z x", 125, "lastcall: unknown option -Z (see lastcall --help)\n"},
    {VERB_RUN, "run -vZ x", 125, "lastcall: unknown option -Z (see lastcall --help)\n"},
    {VERB_RUN, "run --grace", 125, "lastcall: --grace needs a value: --grace TIME\n"},
    {VERB_RUN, "run --verbose=3 x", 125, "lastcall: --verbose takes no value\n"},
    {VERB_RUN, "run -e", 125, "lastcall: -e needs a value: -e CODE[:AS]\n"},
    {VERB_RUN, "run -s -r", 125, "lastcall: -r needs a value: -r S:R\n"},
    {VERB_RUN, "run -p", 125, "lastcall: -p needs a value: -p SIGNAL\n"},
    {VERB_DRAIN, "drain -e 143", 2, "lastcall: unknown option -e"},
    {VERB_RUN, "run --now x", 125, "lastcall: unknown option --now"},
    {VERB_RUN, "run --postgres://u:secret@h x", 125, "lastcall: unknown option --****"},
    {VERB_DRAIN, "drain --nwo", 2, "lastcall: unknown option --nwo: did you mean --now?\n"},
    {VERB_DRAIN, "drain --grace 3s", 2, "lastcall: unknown option --grace"},
    {VERB_DRAIN, "drain a b", 2, "lastcall: 'b' is one word too many"},
    {VERB_RESUME, "resume --now", 2, "lastcall: unknown option --now"},
    {VERB_STATUS, "status -o xml", 2, "lastcall: -o: write -o json or -o text\n"},
    {VERB_STATUS, "status -o", 2, "lastcall: -o needs a value: -o json\n"},
    {VERB_CHECK, "check f", 2, "lastcall: 'f' is one word too many"},
    {VERB_CHECK, "check -s", 2, "lastcall: unknown option -s"},
};

START_TEST(test_refused)
{
    const struct refused *row = &refused[_i];
    struct options options;
    ck_assert_msg(!parse(&options, row->verb, row->line), "%s", row->line);
    ck_assert_int_eq(options.exit_code, row->exit_code);
    ck_assert_msg(strncmp(output, row->output, strlen(row->output)) == 0, "%s: %s", row->line, output);
    ck_assert_msg(strchr(output, '\n') == output + strlen(output) - 1, "more than one line: %s", output);
}
END_TEST

START_TEST(test_verbs)
{
    struct options options;
    ck_assert(parse(&options, VERB_DRAIN, "drain web-1 --now -o json"));
    ck_assert_str_eq(options.name, "web-1");
    ck_assert(options.now && options.json);
    ck_assert(parse(&options, VERB_STATUS, "status -ojson"));
    ck_assert(options.json && !options.now && !options.name);
    ck_assert(parse(&options, VERB_STATUS, "status --output=text -- -x"));
    ck_assert(!options.json);
    ck_assert_str_eq(options.name, "-x");
    ck_assert(parse(&options, VERB_CHECK, "check --config f -o json --grace 2s"));
    ck_assert(options.json);
    ck_assert_str_eq(summary(&options), "config=f grace_period=2s |");
    ck_assert_str_eq(options.config[1].written, "--grace");
    ck_assert(parse(&options, VERB_CHECK, "check --grace=2s"));
    ck_assert_str_eq(options.config[0].written, "--grace=2s");
}
END_TEST

START_TEST(test_names)
{
    ck_assert_int_eq(options_find_verb("drain"), VERB_DRAIN);
    ck_assert_int_eq(options_find_verb("drian"), 0);
    ck_assert_str_eq(options_nearest_verb("drian"), "drain");
    ck_assert_str_eq(options_nearest_verb("chekc"), "check");
    ck_assert_str_eq(options_nearest_verb("docter"), "doctor");
    ck_assert_ptr_null(options_nearest_verb("node"));
}
END_TEST

START_TEST(test_help)
{
    static const enum verb verbs[] = {VERB_RUN, VERB_DRAIN, VERB_RESUME, VERB_STATUS, VERB_CHECK, VERB_DOCTOR};
    struct options options;
    int lines = 0;
    ck_assert(!parse(&options, verbs[_i], "x --help"));
    ck_assert_int_eq(options.exit_code, 0);
    ck_assert_int_eq(strncmp(output, "usage: lastcall", 15), 0);
    for (const char *at = output; *at; at += strcspn(at, "\n") + 1, lines++)
        ck_assert_msg(strcspn(at, "\n") <= 100, "too wide: %s", at);
    ck_assert_msg(lines <= 24, "%d lines", lines);
    for (size_t i = 0; _i == 0 && i < CONFIG_KEYS; i++)
        ck_assert_msg(!keys[i].option || strstr(output, keys[i].option), "--%s is missing", keys[i].option);
}
END_TEST

START_TEST(test_version)
{
    struct options options;
    ck_assert(!parse(&options, VERB_RUN, _i ? "lastcall -V" : "lastcall --version"));
    ck_assert_int_eq(options.exit_code, 0);
    ck_assert_str_eq(output, "lastcall " LASTCALL_VERSION "\n");
    ck_assert(!parse(&options, VERB_RUN, "lastcall -l"));
    ck_assert_int_eq(options.exit_code, 0);
}
END_TEST

START_TEST(test_too_many)
{
    struct options options;
    char *argv[OPTIONS_MOST + 3] = {"run"};
    for (int i = 1; i <= OPTIONS_MOST; i++)
        argv[i] = "-g";
    argv[OPTIONS_MOST + 1] = NULL;
    ck_assert(options_parse(&options, VERB_RUN, OPTIONS_MOST + 1, argv));
    argv[OPTIONS_MOST + 1] = "-g";
    ck_assert(!options_parse(&options, VERB_RUN, OPTIONS_MOST + 2, argv));
    ck_assert_int_eq(options.exit_code, 125);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");
    tcase_add_loop_test(tcase, test_taken, 0, sizeof taken / sizeof *taken);
    tcase_add_loop_test(tcase, test_refused, 0, sizeof refused / sizeof *refused);
    tcase_add_test(tcase, test_verbs);
    tcase_add_test(tcase, test_names);
    tcase_add_loop_test(tcase, test_help, 0, 6);
    tcase_add_loop_test(tcase, test_version, 0, 2);
    tcase_add_test(tcase, test_too_many);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
