/* The URL reader against libpq's own PQconninfoParse(), on what both take: the same parameters. The agent connects with
 * what the supervisor, which has no libpq, made of a URL. */
#include <check.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/config/nearest.c"
#include "../../../src/config/url.c"
#include "../../../src/config/url_conninfo.c"
#include "../../../src/config/url_draft.c"
#include "../../../src/config/url_postgres.c"

/* Redis has nothing to compare with. */
int url_read_redis(struct url_draft *draft, const char *rest)
{
    return url_draft_fail(draft, rest, "not here");
}

int url_read_redis_unix(struct url_draft *draft, const char *rest)
{
    return url_draft_fail(draft, rest, "not here");
}

/* Of value.c only this one is needed. */
int value_parse_bool(const char *text, bool *value)
{
    *value = strcmp(text, "true") == 0;
    return *value || strcmp(text, "false") == 0 ? 0 : -1;
}

/* Pieces that are put together in every combination. */
static const char *const schemes_of_both[] = {"postgres://", "postgresql://"};
static const char *const users[] = {
    "", "u@", "u:p@", ":p@", "u:@", "@", "u%40x:a%2Fb%3a@", "u:p?q@", "\xc3\xa9:\xe2\x82\xac@"};
static const char *const hosts[] = {"",
                                    "h",
                                    "h:5433",
                                    "h:",
                                    "db.example.com:1",
                                    "10.0.0.1:65535",
                                    "[::1]",
                                    "[fe80::1]:5433",
                                    "%2Ftmp",
                                    "%2Fvar%2Frun:6432"};
static const char *const paths[] = {"", "/", "/db", "/d%20b", "/a/b", "/%E2%82%AC"};
static const char *const queries[] = {"",
                                      "?",
                                      "?sslmode=require",
                                      "?host=other&port=7",
                                      "?user=q&password=r&dbname=s",
                                      "?connect_timeout=3&keepalives=0&options=-c%20x%3D1",
                                      "?ssl=true",
                                      "?sslmode=verify-ca&sslrootcert=/ca&sslcert=/c&sslkey=/k&sslpassword=w",
                                      "?host=/tmp",
                                      "?user=",
                                      "?hostaddr=10.0.0.2&channel_binding=require&gssencmode=disable"};
enum { COUNT_SCHEMES = 2, COUNT_USERS = 9, COUNT_HOSTS = 10, COUNT_PATHS = 6, COUNT_QUERIES = 11 };

static const char *const conninfos[] = {
    "host=h",
    "host=h port=5433 dbname=db",
    "host = h  port= 1 user =u",
    "password='a b' user=u",
    "password='a\\'b\\\\c'",
    "password=a\\ b",
    "password=''",
    "dbname=''",
    "host=/tmp sslmode=disable",
    "password=x'y",
    "user=u\tpassword=p",
    "dbname=postgres://h",
    "options='-c a=b'",
    "password='\\\\' user=u",
    "user=\\u",
    "sslcert=/c",
};

/* libpq's value of a keyword; NULL when unset or empty. */
static const char *libpq_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    ck_abort_msg("libpq does not know %s", keyword);
    return NULL;
}

static void compare(const char *text)
{
    char *why = NULL;
    struct url_target target;
    struct error error = {""};
    PQconninfoOption *options = PQconninfoParse(text, &why);
    ck_assert_msg(options != NULL, "libpq: %s: %s", text, why);
    ck_assert_msg(url_read(&target, text, &error) == URL_OK, "%s: %s", text, error.text);
    for (size_t i = 0; strcmp(keywords[i], "sslaccept") != 0; i++) {
        const char *keyword = keywords[i];
        const char *ours = url_param(target.params, keyword), *theirs = libpq_value(options, keyword);
        if (strcmp(keyword, "port") == 0 && !theirs)
            theirs = "5432";
        ck_assert_msg((!ours && !theirs) || (ours && theirs && strcmp(ours, theirs) == 0),
                      "%s: %s: ours %s, libpq's %s", text, keyword, ours ? ours : "(none)", theirs ? theirs : "(none)");
    }
    PQconninfoFree(options);
}

START_TEST(test_urls)
{
    for (int n = 0; n < COUNT_HOSTS * COUNT_PATHS * COUNT_QUERIES; n++) {
        char url[512];
        snprintf(url, sizeof url, "%s%s%s%s%s", schemes_of_both[_i / COUNT_USERS], users[_i % COUNT_USERS],
                 hosts[n % COUNT_HOSTS], paths[n / COUNT_HOSTS % COUNT_PATHS], queries[n / COUNT_HOSTS / COUNT_PATHS]);
        compare(url);
    }
}
END_TEST

START_TEST(test_conninfos)
{
    compare(conninfos[_i]);
}
END_TEST

/* All that we let through must be a keyword of this libpq, or it refuses the whole connection. */
START_TEST(test_keywords)
{
    PQconninfoOption *options = PQconndefaults();
    ck_assert_ptr_nonnull(options);
    for (size_t i = 0; strcmp(keywords[i], "sslaccept") != 0; i++) {
        const PQconninfoOption *option = options;
        while (option->keyword && strcmp(option->keyword, keywords[i]) != 0)
            option++;
        ck_assert_msg(option->keyword != NULL, "libpq has no %s", keywords[i]);
    }
    PQconninfoFree(options);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url_libpq");
    TCase *tcase = tcase_create("url_libpq");
    tcase_add_loop_test(tcase, test_urls, 0, COUNT_SCHEMES * COUNT_USERS);
    tcase_add_loop_test(tcase, test_conninfos, 0, sizeof conninfos / sizeof *conninfos);
    tcase_add_test(tcase, test_keywords);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
