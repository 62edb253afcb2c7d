/* Connection URLs: every form that is taken, with the parameters that come of it; every refusal, with its column; and
 * that no part of a password is ever said. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "config/url.h"

/* "host=h port=5432 …": the parameters, a blank between. */
static const char *joined(const struct url_target *target)
{
    static char all[WIRE_PARAMS];
    struct text text = text_in(all, sizeof all);
    for (const char *at = target->params; *at; at += strlen(at) + 1)
        text_add(&text, "%s%s", at == target->params ? "" : " ", at);
    return all;
}

static const struct taken {
    const char *url;
    enum target_kind kind;
    int limit;
    const char *params, *stripped;
} taken[] = {
    /* libpq */
    {"postgres://u:p@h:6432/db", TARGET_POSTGRES, -1, "host=h port=6432 user=u password=p dbname=db", ""},
    {"POSTGRESQL://u@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u dbname=db", ""},
    {"postgresql://", TARGET_POSTGRES, -1, "port=5432", ""},
    {"postgresql:///db", TARGET_POSTGRES, -1, "port=5432 dbname=db", ""},
    {"postgres://h", TARGET_POSTGRES, -1, "host=h port=5432", ""},
    {"postgres://:p@h:/", TARGET_POSTGRES, -1, "host=h port=5432 password=p", ""},
    {"postgres://u:@h", TARGET_POSTGRES, -1, "host=h port=5432 user=u", ""},
    {"postgres://u%40x:a%3Ab%2Fc%25@h/d%20b", TARGET_POSTGRES, -1,
     "host=h port=5432 user=u@x password=a:b/c% dbname=d b", ""},
    {"postgres://u:p@ss:w@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u password=p@ss:w dbname=db", ""},
    {"postgres://u:p?ss@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u password=p?ss dbname=db", ""},
    {"postgres://u@[::1]:5433/db", TARGET_POSTGRES, -1, "host=::1 port=5433 user=u dbname=db", ""},
    {"postgres://%2Fvar%2Frun%2Fpostgresql/db", TARGET_POSTGRES, -1, "host=/var/run/postgresql port=5432 dbname=db",
     ""},
    {"postgres://u@/db?host=/tmp&port=7", TARGET_POSTGRES, -1, "host=/tmp port=7 user=u dbname=db", ""},
    {"postgres://h/?user=a&password=b&dbname=c", TARGET_POSTGRES, -1, "host=h port=5432 user=a password=b dbname=c",
     ""},
    {"postgres://h?sslmode=verify-full&sslrootcert=/ca&sslcert=/c&sslkey=/k&sslpassword=s", TARGET_POSTGRES, -1,
     "host=h port=5432 sslmode=verify-full sslrootcert=/ca sslcert=/c sslkey=/k sslpassword=s", ""},
    {"postgres://h?options=endpoint%3Dx&keepalives_idle=5&connect_timeout=3", TARGET_POSTGRES, -1,
     "host=h port=5432 connect_timeout=3 options=endpoint=x keepalives_idle=5", ""},
    {"postgres://h?ssl=true", TARGET_POSTGRES, -1, "host=h port=5432 sslmode=require", ""},
    {"postgres://h?ssl=true&sslmode=verify-ca", TARGET_POSTGRES, -1, "host=h port=5432 sslmode=verify-ca", ""},
    {"postgres://h?sslmode=no-verify", TARGET_POSTGRES, -1, "host=h port=5432 sslmode=require", ""},
    {"postgres://h?application_name=x&replication=database&target_session_attrs=any&unheard_of=1&odd%20name=2&",
     TARGET_POSTGRES, -1, "host=h port=5432",
     "application_name, replication, target_session_attrs, unheard_of, (no name)"},
    /* Prisma */
    {"postgresql://u:p@h:6432/db?pgbouncer=true&connection_limit=5&pool_timeout=10&schema=public&statement_cache_size=0"
     "&socket_timeout=3&connect_timeout=0",
     TARGET_PGBOUNCER, 5, "host=h port=6432 user=u password=p dbname=db connect_timeout=0",
     "pool_timeout, schema, statement_cache_size, socket_timeout"},
    {"postgres://h?pgbouncer=false&connection_limit=0", TARGET_POSTGRES, -1, "host=h port=5432", ""},
    {"postgres://h?sslmode=require&sslcert=/ca.pem&sslaccept=strict&sslidentity=/id.p12&sslpassword=s", TARGET_POSTGRES,
     -1, "host=h port=5432 sslmode=verify-full sslrootcert=/ca.pem", "sslidentity, sslpassword"},
    {"postgres://h?sslcert=/ca.pem", TARGET_POSTGRES, -1, "host=h port=5432 sslrootcert=/ca.pem", ""},
    {"postgres://h?sslcert=/ca.pem&sslaccept=accept_invalid_certs", TARGET_POSTGRES, -1, "host=h port=5432", "sslcert"},
    {"postgres://h?sslmode=disable&sslaccept=strict", TARGET_POSTGRES, -1, "host=h port=5432 sslmode=disable", ""},
    /* the others */
    {"pgsql://h/db", TARGET_POSTGRES, -1, "host=h port=5432 dbname=db", ""},
    {"postgis://u@h/gis", TARGET_POSTGRES, -1, "host=h port=5432 user=u dbname=gis", ""},
    {"postgresql+psycopg2://u:p@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u password=p dbname=db", ""},
    {"postgresql+psycopg://u@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u dbname=db", ""},
    {"postgresql+asyncpg://u@h/db?ssl=require&prepared_statement_cache_size=0", TARGET_POSTGRES, -1,
     "host=h port=5432 user=u dbname=db sslmode=require", "prepared_statement_cache_size"},
    {"ecto://u:p@h/db?pool_size=7", TARGET_POSTGRES, 7, "host=h port=5432 user=u password=p dbname=db", ""},
    {"postgres://h/db?pool=9", TARGET_POSTGRES, 9, "host=h port=5432 dbname=db", ""},
    {"jdbc:postgresql://h:5433/db?user=u&password=p&ssl&ApplicationName=x", TARGET_POSTGRES, -1,
     "host=h port=5433 user=u password=p dbname=db sslmode=require", "ApplicationName"},
    {"jdbc:postgresql:db", TARGET_POSTGRES, -1, "host=localhost port=5432 dbname=db", ""},
    {"jdbc:postgresql:/?user=u", TARGET_POSTGRES, -1, "host=localhost port=5432 user=u", ""},
    {"jdbc:postgresql:///db", TARGET_POSTGRES, -1, "host=localhost port=5432 dbname=db", ""},
    {"r2dbc:postgresql://u:p@h/db", TARGET_POSTGRES, -1, "host=h port=5432 user=u password=p dbname=db", ""},
    {"r2dbcs:pool:postgres://h/db", TARGET_POSTGRES, -1, "host=h port=5432 dbname=db sslmode=require", ""},
    /* keyword=value */
    {"host=h port=6000 dbname=db user=u password=p", TARGET_POSTGRES, -1,
     "host=h port=6000 user=u password=p dbname=db", ""},
    {"dbname = 'my db'  password='a\\'b\\\\c'", TARGET_POSTGRES, -1, "port=5432 password=a'b\\c dbname=my db", ""},
    {"host=/tmp password='' application_name=x sslcert=/c", TARGET_POSTGRES, -1, "host=/tmp port=5432 sslcert=/c",
     "application_name"},
    {"host=h pgbouncer=true connection_limit=4", TARGET_PGBOUNCER, 4, "host=h port=5432", ""},
    /* Redis */
    {"redis://", TARGET_REDIS, -1, "host=localhost port=6379", ""},
    {"redis://h", TARGET_REDIS, -1, "host=h port=6379", ""},
    {"redis://h:6380/3", TARGET_REDIS, -1, "host=h port=6380 db=3", ""},
    {"redis://:p%40@h/", TARGET_REDIS, -1, "host=h port=6379 password=p@", ""},
    {"redis://u:p@[fe80::1]:1/0", TARGET_REDIS, -1, "host=fe80::1 port=1 user=u password=p db=0", ""},
    {"valkey://h?max_connections=8&protocol=3", TARGET_REDIS, 8, "host=h port=6379", "protocol"},
    {"unix:///run/redis.sock?db=2&password=p&username=u", TARGET_REDIS, -1,
     "path=/run/redis.sock user=u password=p db=2", ""},
    {"unix://u:p@/run/redis.sock", TARGET_REDIS, -1, "path=/run/redis.sock user=u password=p", ""},
    {"redis+socket:///tmp/x?virtual_host=1", TARGET_REDIS, -1, "path=/tmp/x db=1", ""},
};

START_TEST(test_taken)
{
    const struct taken *row = &taken[_i];
    struct url_target target;
    struct error error = {""};
    ck_assert_msg(url_read(&target, row->url, &error) == URL_OK, "%s: %s", row->url, error.text);
    ck_assert_str_eq(joined(&target), row->params);
    ck_assert_str_eq(target.stripped, row->stripped);
    ck_assert_int_eq(target.kind, row->kind);
    ck_assert_int_eq(target.limit, row->limit);
}
END_TEST

/* "secret" stands where a password, or a part of one, may be. */
static const struct refused {
    const char *url;
    enum url_verdict verdict;
    const char *begins; /* the error's beginning */
} refused[] = {
    {"", URL_BROKEN, "column 1: is empty"},
    {"\"postgres://u:secret@h\"", URL_BROKEN, "column 1: begins with a quotation mark"},
    {" postgres://h", URL_BROKEN, "column 1: begins with a blank"},
    {"postgres://h/db\n", URL_BROKEN, "column 16: a control character or line end"},
    {"localhost:5432/db", URL_BROKEN, "column 1: no scheme"},
    {"user:secret@host/db", URL_BROKEN, "column 1: no scheme"},
    {"secret", URL_BROKEN, "column 1: no scheme"},
    {"postgres:secret", URL_BROKEN, "column 10: '//' must follow"},
    {"postgress://u:secret@h", URL_BROKEN, "column 1: unknown scheme 'postgress': did you mean postgres?"},
    {"potsgresql://u:secret@h", URL_BROKEN, "column 1: unknown scheme 'potsgresql': did you mean postgresql?"},
    {"postgres://h1,h2/db", URL_BROKEN, "column 14: several hosts"},
    {"postgres://h1:1,h2:2/db", URL_BROKEN, "column 16: several hosts"},
    {"postgres:///db?host=a,b", URL_BROKEN, "column 21: several hosts"},
    {"postgresql+psycopg2:///db?host=a&host=b", URL_BROKEN, "column 34: several hosts"},
    {"jdbc:postgresql://h1,h2/db", URL_BROKEN, "column 21: several hosts"},
    {"postgres://u:%zzsecret@h", URL_BROKEN, "column 14: '%' without two hexadecimal digits"},
    {"postgres://u:secret%4@h", URL_BROKEN, "column 20: '%' without"},
    {"postgres://u:secret%00@h", URL_BROKEN, "column 20: %00 is a control character"},
    {"postgres://u:secret/x@h/db", URL_BROKEN, "column 22: '@' behind the host"},
    {"postgres://u:12/secret@h/db", URL_BROKEN, "column 23: '@' behind the host"},
    {"postgres://u:12?secret/x@h/db", URL_BROKEN, "column 25: '@' behind the host"},
    {"postgres://u:secret/db", URL_BROKEN, "column 14: the port is no number"},
    {"postgres://h:0/", URL_BROKEN, "column 14: the port"},
    {"postgres://h:65536/", URL_BROKEN, "column 14: the port"},
    {"postgres://h?port=secret", URL_BROKEN, "column 19: the port"},
    {"postgres://::1/db", URL_BROKEN, "column 13: the port"},
    {"postgres://[::1/db", URL_BROKEN, "column 12: '[' without ']'"},
    {"postgres://[nothing]/db", URL_BROKEN, "column 13: not an IPv6 address"},
    {"postgres://[::1]x/db", URL_BROKEN, "column 17: only a port"},
    {"postgres://a%20b/", URL_BROKEN, "column 12: not a host name"},
    {"postgres://h?sslmode=secret", URL_BROKEN, "column 22: sslmode must be"},
    {"postgres://h?pgbouncer=secret", URL_BROKEN, "column 24: pgbouncer must be"},
    {"postgres://h?connection_limit=many", URL_BROKEN, "column 31: connection_limit must be"},
    {"postgres://h?service=secret", URL_BROKEN, "column 22: service= is not supported"},
    {"host=h password=my secret", URL_BROKEN, "column 20: '=' is missing"},
    {"host=h password='secret", URL_BROKEN, "column 17: a quotation mark that is not closed"},
    {"host=a,b", URL_BROKEN, "column 6: several hosts"},
    {"redis://h,secret", URL_BROKEN, "column 10: several hosts"},
    {"redis://h/secret", URL_BROKEN, "column 11: the database is no number"},
    {"redis://h?db=secret", URL_BROKEN, "column 14: the database is no number"},
    {"redis://h?ssl=true", URL_BROKEN, "column 15: TLS"},
    {"rediss://u:secret@h", URL_BROKEN, "column 1: rediss: TLS to Redis is not supported"},
    {"valkeys://u:secret@h", URL_BROKEN, "column 1: valkeys: TLS"},
    {"redis+sentinel://u:secret@h1,h2/m", URL_BROKEN, "column 1: redis+sentinel: sentinels"},
    {"unix://run/redis.sock", URL_BROKEN, "column 6: a socket's path is absolute"},
    {"r2dbc:postgresql:secret", URL_BROKEN, "column 18: '//' must follow"},
    {"mysql://u:secret@h/db", URL_FOREIGN, "column 1: scheme 'mysql'"},
    {"mysql2://u:secret@h/db", URL_FOREIGN, "column 1: scheme 'mysql2'"},
    {"mongodb+srv://u:secret@h/db", URL_FOREIGN, "column 1: scheme 'mongodb+srv'"},
    {"sqlite:secret", URL_FOREIGN, "column 1: scheme 'sqlite'"},
    {"sqlite:///secret", URL_FOREIGN, "column 1: scheme 'sqlite'"},
    {"file:./dev.db", URL_FOREIGN, "column 1: scheme 'file'"},
    {"mssql://u:secret@h", URL_FOREIGN, "column 1: scheme 'mssql'"},
    {"jdbc:mysql://h/db?password=secret", URL_FOREIGN, "column 6: this driver's URL"},
    {"r2dbc:mysql://u:secret@h", URL_FOREIGN, "column 7: this driver's URL"},
};

START_TEST(test_refused)
{
    const struct refused *row = &refused[_i];
    struct url_target target;
    struct error error = {""};
    ck_assert_msg(url_read(&target, row->url, &error) == row->verdict, "%s: %s", row->url, error.text);
    ck_assert_msg(strncmp(error.text, row->begins, strlen(row->begins)) == 0, "%s: %s", row->url, error.text);
    ck_assert_msg(!strstr(error.text, "secret") && !strstr(target.stripped, "secret"), "%s: %s", row->url, error.text);
}
END_TEST

START_TEST(test_bounds)
{
    static char url[URL_LONGEST + 64];
    struct url_target target;
    struct error error;
    strcpy(url, "postgres://u:");
    memset(url + strlen(url), 'x', URL_LONGEST);
    strcat(url, "@h");
    ck_assert_int_eq(url_read(&target, url, &error), URL_BROKEN);
    ck_assert_ptr_nonnull(strstr(error.text, "longer than 4000 bytes"));
    strcpy(url + URL_LONGEST - 2, "@h");
    ck_assert_int_eq(url_read(&target, url, &error), URL_OK);
    ck_assert_uint_eq(strlen(url_param(target.params, "password")), URL_LONGEST - 2 - strlen("postgres://u:"));
}
END_TEST

START_TEST(test_param)
{
    ck_assert_str_eq(url_param("host=h\0hostaddr=a\0", "hostaddr"), "a");
    ck_assert_ptr_null(url_param("hostaddr=a\0", "host"));
    ck_assert(url_param_is_secret("password") && url_param_is_secret("sslpassword") &&
              !url_param_is_secret("passfile"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *tcase = tcase_create("url");
    tcase_add_loop_test(tcase, test_taken, 0, sizeof taken / sizeof *taken);
    tcase_add_loop_test(tcase, test_refused, 0, sizeof refused / sizeof *refused);
    tcase_add_test(tcase, test_bounds);
    tcase_add_test(tcase, test_param);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
