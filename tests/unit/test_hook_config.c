/* Hooks and wait_for as they are written: URLs taken apart or refused, lists and strings, names of targets. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_url.h"
#include "config/file.h"
#include "config/hook.h"
#include "config/wait_for.h"

static const struct url_case {
    const char *text, *parts; /* "METHOD HOST PORT PATH"; NULL: refused */
    const char *told;
} urls[] = {
    {"http://a", "GET a 80 /", NULL},
    {"http://a/", "GET a 80 /", NULL},
    {"HTTP://a:8080/x/y?z=1&w=%20", "GET a 8080 /x/y?z=1&w=%20", NULL},
    {"GET http://a?x", "GET a 80 /?x", NULL},
    {"POST  http://127.0.0.1:1/p#fragment", "POST 127.0.0.1 1 /p", NULL},
    {"http://[::1]/", "GET ::1 80 /", NULL},
    {"http://[::1]:99/", "GET ::1 99 /", NULL},
    {"http://a:65535", "GET a 65535 /", NULL},
    {"https://a/", NULL, "https"},
    {"POST https://a/", NULL, "https"},
    {"ftp://a/", NULL, "no URL"},
    {"PUT http://a/", NULL, "GET or POST"},
    {"http://", NULL, "no host"},
    {"http:///x", NULL, "no host"},
    {"http://:80/", NULL, "no host"},
    {"http://[::1/", NULL, "no host"},
    {"http://[::1]x/", NULL, "no host"},
    {"http://a:/", NULL, "no port"},
    {"http://a:0/", NULL, "no port"},
    {"http://a:65536/", NULL, "no port"},
    {"http://a:999999/", NULL, "no port"},
    {"http://a:8x/", NULL, "no port"},
    {"http://u:secret@a/", NULL, "holds a user"},
    {"http://a/b c", NULL, "blanks"},
    {"http://a/\r\nX: y", NULL, "blanks"},
    {"http://a/\xc3\xa9", NULL, "blanks"},
};

START_TEST(a_url_is_taken_apart_or_refused)
{
    const struct url_case *the = &urls[_i];
    struct http_url url;
    struct error error = {""};
    char parts[1200];
    int result = http_url_parse(&url, the->text, &error);
    if (!the->parts) {
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(error.text, the->told), "%s: %s", the->text, error.text);
        ck_assert_ptr_null(strstr(error.text, "secret"));
        return;
    }
    ck_assert_msg(result == 0, "%s: %s", the->text, error.text);
    snprintf(parts, sizeof parts, "%s %s %s %s", url.method, url.host, url.port, url.path);
    ck_assert_str_eq(parts, the->parts);
}
END_TEST

START_TEST(what_is_too_long_is_refused)
{
    static char text[2048] = "http://a/";
    struct http_url url;
    struct error error;
    memset(text + 9, 'x', sizeof url.path - 2);
    ck_assert_int_eq(http_url_parse(&url, text, &error), 0);
    text[9 + sizeof url.path - 2] = 'x';
    ck_assert_int_eq(http_url_parse(&url, text, &error), -1);
    memset(text + 7, 'h', 300);
    ck_assert_int_eq(http_url_parse(&url, text, &error), -1);
}
END_TEST

START_TEST(a_string_is_a_url_or_for_the_shell)
{
    struct config_command command;
    struct error error;
    ck_assert_int_eq(hook_set(&command, "http://a/", &error), 0);
    ck_assert_int_eq(command.kind, COMMAND_URL);
    ck_assert_int_eq(hook_set(&command, "curl http://a/", &error), 0);
    ck_assert_int_eq(command.kind, COMMAND_SHELL);
    ck_assert_int_eq(hook_set(&command, "  ", &error), 0);
    ck_assert_int_eq(command.kind, COMMAND_NONE);
    ck_assert_int_eq(hook_set(&command, "a\x1b[31m", &error), -1);
}
END_TEST

static struct config config;
static struct config_errors errors;

static const char *load(const char *yaml)
{
    memset(&config, 0, sizeof config);
    errors.count = 0;
    file_load_bytes(&config, "f", yaml, strlen(yaml), &errors);
    return errors.count > 0 ? errors.list[0].text : "";
}

START_TEST(a_list_keeps_its_arguments)
{
    char shown[2000];
    struct text text = text_in(shown, sizeof shown);
    const struct config_command *command = &config.hooks[HOOK_POST_STOP].command;
    ck_assert_str_eq(load("hooks: {post_stop: [cp, \"a b\", \"\", \"$X\"]}"), "");
    ck_assert(command->kind == COMMAND_LIST && command->count == 4);
    ck_assert_str_eq(hook_argument(command, 0), "cp");
    ck_assert_str_eq(hook_argument(command, 1), "a b");
    ck_assert_str_eq(hook_argument(command, 2), "");
    ck_assert_str_eq(hook_argument(command, 3), "$X");
    hook_format(command, &text);
    ck_assert_str_eq(shown, "[cp, \"a b\", \"\", \"$X\"]");
    ck_assert_str_eq(load("hooks: {post_stop: []}"), "");
    ck_assert_int_eq(command->kind, COMMAND_NONE);
}
END_TEST

static const char *const refused[][2] = {
    {"hooks: {announce: https://a/}", "f:1:19: hooks.announce: is an https URL"},
    {"hooks: {announce: POST ftp://a/}", "f:1:19: hooks.announce: is no URL"},
    {"hooks:\n  pre_start: [http://a/]", "f:2:15: hooks.pre_start: is a URL and stands in a list"},
    {"hooks:\n  pre_start: [\"\", x]", "f:2:15: hooks.pre_start: names no command"},
    {"hooks: {pre_start: {command: x}}", "f:1:20: hooks.pre_start: must be a command"},
    {"hooks: {prestart: x}", "f:1:9: hooks.prestart: unknown key: did you mean hooks.pre_start?"},
    {"hooks: {announce_timeout: 0s}", "f:1:27: hooks.announce_timeout: 0s is too short"},
    {"wait_for: [a, \"b c\"]", "f:1:15: wait_for: 'b c' is not a target's name"},
};

START_TEST(what_cannot_be_is_told_with_its_place)
{
    const char *told = load(refused[_i][0]);
    ck_assert_msg(strncmp(told, refused[_i][1], strlen(refused[_i][1])) == 0, "%s", told);
}
END_TEST

static void have_targets(void)
{
    static const char *const names[] = {"primary", "direct", "cache"};
    for (int i = 0; i < 3; i++)
        strcpy(config.targets[i].name, names[i]);
    config.targets[1].look_only = true;
    config.target_count = 3;
}

START_TEST(targets_are_waited_for_by_name_or_all)
{
    load("wait_for: [direct, cache]");
    have_targets();
    wait_for_check(&config, &errors);
    ck_assert_uint_eq(errors.count, 0);
    ck_assert(!wait_for_has(&config, 0) && wait_for_has(&config, 1) && wait_for_has(&config, 2));
    load("wait_for: all");
    have_targets();
    ck_assert(wait_for_has(&config, 0) && !wait_for_has(&config, 1) && wait_for_has(&config, 2));
    load("");
    have_targets();
    ck_assert(!wait_for_has(&config, 0) && !wait_for_has(&config, 1));
}
END_TEST

START_TEST(who_is_no_target_is_told)
{
    load("wait_for: [primry]");
    have_targets();
    wait_for_check(&config, &errors);
    ck_assert_str_eq(errors.list[0].text,
                     ":1:11: wait_for: there is no target primry: did you mean primary?");
    load("wait_for: all");
    wait_for_check(&config, &errors);
    ck_assert_uint_eq(errors.count, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hook_config");
    TCase *tcase = tcase_create("hook_config");
    tcase_add_loop_test(tcase, a_url_is_taken_apart_or_refused, 0, (int)(sizeof urls / sizeof *urls));
    tcase_add_test(tcase, what_is_too_long_is_refused);
    tcase_add_test(tcase, a_string_is_a_url_or_for_the_shell);
    tcase_add_test(tcase, a_list_keeps_its_arguments);
    tcase_add_loop_test(tcase, what_cannot_be_is_told_with_its_place, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tcase, targets_are_waited_for_by_name_or_all);
    tcase_add_test(tcase, who_is_no_target_is_told);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
