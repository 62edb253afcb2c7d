/* PostgreSQL URLs: a table of parameters with a handler each. What is in no row is left out and named, because libpq
 * refuses a URL for one parameter that it does not know, and Prisma, Rails, JDBC and SQLAlchemy add dozens. */
#include <string.h>

#include "config/url_draft.h"
#include "config/value.h"

/* What libpq may get, in the order it is shown. application_name is not among it: the agent's sessions have their own.
 */
static const char *const keywords[] = {
    "host", "hostaddr", "port", "user", "password", "passfile", "dbname", "connect_timeout", "options", "sslmode",
    "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslcompression", "sslsni", "requirepeer",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "gssencmode", "krbsrvname", "gsslib",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    /* understood and used up by url_finish_postgres() */
    "sslaccept", NULL};
_Static_assert(sizeof keywords / sizeof *keywords <= URL_KEYWORDS, "room for a value each");

struct parameter {
    const char *name;
    int (*take)(struct url_draft *draft, const struct parameter *row, const char *value, const char *at);
    const char *story; /* refuse() */
};

static int keep(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    (void)at;
    url_draft_set(draft, row->name, value);
    return 0;
}

static int keep_number(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    long number;
    (void)at;
    if (url_parse_number(value, 1000000000, &number) == 0)
        url_draft_set(draft, row->name, value);
    else
        url_draft_strip(draft, row->name);
    return 0;
}

static int keep_host(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    url_draft_set(draft, row->name, value);
    return url_check_host(draft, at, value);
}

static int keep_port(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    url_draft_set(draft, row->name, value);
    return *value ? url_check_port(draft, at, value) : 0;
}

static int refuse(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    (void)value;
    return url_draft_fail(draft, at, "%s= %s", row->name, row->story);
}

static bool is_sslmode(const char *value)
{
    static const char *const modes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i], value) == 0)
            return true;
    return false;
}

static int take_sslmode(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    if (strcmp(value, "no-verify") == 0) /* node-postgres */
        value = "require";
    if (*value && !is_sslmode(value))
        return url_draft_fail(draft, at, "sslmode must be disable, allow, prefer, require, verify-ca or verify-full");
    url_draft_set(draft, row->name, value);
    return 0;
}

/* ssl=true (JDBC, Rails, libpq), ssl=require (asyncpg), ssl alone (JDBC). An sslmode goes before it. */
static int take_ssl(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    bool on = true;
    (void)at;
    if (url_draft_get(draft, "sslmode"))
        return 0;
    if (is_sslmode(value))
        url_draft_set(draft, "sslmode", value);
    else if (*value == '\0' || value_parse_bool(value, &on) == 0)
        url_draft_set(draft, "sslmode", on ? "require" : "disable");
    else
        url_draft_strip(draft, row->name);
    return 0;
}

static int take_limit(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    long number;
    if (url_parse_number(value, 100000, &number) == -1)
        return url_draft_fail(draft, at, "%s must be a whole number up to 100000", row->name);
    draft->target->limit = number > 0 ? (int)number : -1;
    return 0;
}

static int take_pgbouncer(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    bool on = false;
    if (value_parse_bool(value, &on) == -1)
        return url_draft_fail(draft, at, "%s must be true or false", row->name);
    draft->target->kind = on ? TARGET_PGBOUNCER : TARGET_POSTGRES;
    return 0;
}

static int strip(struct url_draft *draft, const struct parameter *row, const char *value, const char *at)
{
    (void)value;
    (void)at;
    url_draft_strip(draft, row->name);
    return 0;
}

static const struct parameter parameters[] = {
    {"host", keep_host, NULL},
    {"hostaddr", keep_host, NULL},
    {"port", keep_port, NULL},
    {"user", keep, NULL},
    {"password", keep, NULL},
    {"passfile", keep, NULL},
    {"dbname", keep, NULL},
    {"connect_timeout", keep_number, NULL},
    {"options", keep, NULL},
    {"sslmode", take_sslmode, NULL},
    {"ssl", take_ssl, NULL},
    {"sslrootcert", keep, NULL},
    {"sslcert", keep, NULL},
    {"sslkey", keep, NULL},
    {"sslpassword", keep, NULL},
    {"sslaccept", keep, NULL},
    {"sslcrl", keep, NULL},
    {"sslcrldir", keep, NULL},
    {"sslcompression", keep_number, NULL},
    {"sslsni", keep_number, NULL},
    {"requirepeer", keep, NULL},
    {"ssl_min_protocol_version", keep, NULL},
    {"ssl_max_protocol_version", keep, NULL},
    {"channel_binding", keep, NULL},
    {"gssencmode", keep, NULL},
    {"krbsrvname", keep, NULL},
    {"gsslib", keep, NULL},
    {"keepalives", keep_number, NULL},
    {"keepalives_idle", keep_number, NULL},
    {"keepalives_interval", keep_number, NULL},
    {"keepalives_count", keep_number, NULL},
    {"tcp_user_timeout", keep_number, NULL},
    /* the app's own pool */
    {"connection_limit", take_limit, NULL}, /* Prisma */
    {"pool", take_limit, NULL},             /* Rails */
    {"pool_size", take_limit, NULL},        /* Ecto */
    {"pool_max_conns", take_limit, NULL},   /* pgx */
    {"pgbouncer", take_pgbouncer, NULL},    /* Prisma */
    /* not for a session that only looks on; the rest of Prisma's is left out as every unknown one is */
    {"replication", strip, NULL},
    {"target_session_attrs", strip, NULL},
    {"application_name", strip, NULL},
    {"service", refuse, "is not supported: write host, port, user and dbname instead"},
};

static const struct parameter *find_parameter(const char *name)
{
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (strcmp(parameters[i].name, name) == 0)
            return &parameters[i];
    return NULL;
}

int url_take_postgres(struct url_draft *draft, const char *name, const char *value, const char *at, bool conninfo)
{
    const struct parameter *row = find_parameter(name);
    if (conninfo && (strcmp(name, "sslaccept") == 0 || strcmp(name, "ssl") == 0))
        row = NULL;
    if (!row) {
        url_draft_strip(draft, name);
        return 0;
    }
    return row->take(draft, row, value, at);
}

/* SQLAlchemy writes several hosts as host=a&host=b. */
static int take_query(struct url_draft *draft, struct url_piece query)
{
    struct url_piece name_piece, value_piece;
    bool host_seen = false;
    while (url_next_parameter(&query, &name_piece, &value_piece)) {
        const char *name = url_draft_decode(draft, name_piece);
        const char *value = name ? url_draft_decode(draft, value_piece) : NULL;
        if (!value)
            return -1;
        bool is_host = strcmp(name, "host") == 0;
        if (is_host && host_seen)
            return url_check_host(draft, name_piece.at, ",");
        host_seen = host_seen || is_host;
        if (url_take_postgres(draft, name, value, value_piece.at, false) == -1)
            return -1;
    }
    return 0;
}

/* Prisma's sslcert is the CA and its sslpassword is that of a PKCS#12 file; libpq's belong to a client's key. A libpq
 * client certificate comes with a key. sslaccept=strict asks for what libpq calls verify-full. */
static void translate_prisma_tls(struct url_draft *draft)
{
    const char *accept = url_draft_get(draft, "sslaccept"), *mode = url_draft_get(draft, "sslmode");
    if (!url_draft_get(draft, "sslkey") && !url_draft_get(draft, "sslrootcert") && url_draft_get(draft, "sslcert")) {
        if (accept && strcmp(accept, "accept_invalid_certs") == 0)
            url_draft_strip(draft, "sslcert");
        else
            url_draft_set(draft, "sslrootcert", url_draft_get(draft, "sslcert"));
        url_draft_set(draft, "sslcert", NULL);
    }
    if (!url_draft_get(draft, "sslkey") && url_draft_get(draft, "sslpassword")) {
        url_draft_strip(draft, "sslpassword");
        url_draft_set(draft, "sslpassword", NULL);
    }
    if (accept && strcmp(accept, "strict") == 0 && !(mode && strcmp(mode, "disable") == 0))
        url_draft_set(draft, "sslmode", "verify-full");
    url_draft_set(draft, "sslaccept", NULL);
}

int url_finish_postgres(struct url_draft *draft, bool conninfo)
{
    if (!conninfo)
        translate_prisma_tls(draft);
    if (!url_draft_get(draft, "port"))
        url_draft_set(draft, "port", "5432");
    if (draft->secure && !url_draft_get(draft, "sslmode"))
        url_draft_set(draft, "sslmode", "require");
    return url_draft_emit(draft);
}

void url_begin_postgres(struct url_draft *draft)
{
    draft->keywords = keywords;
    draft->target->kind = TARGET_POSTGRES;
}

static int take_parts(struct url_draft *draft, const struct url_parts *parts)
{
    struct url_piece path = parts->path;
    if (path.length > 0)
        path = (struct url_piece){path.at + 1, path.length - 1};
    if (url_set_host(draft, parts) == -1 || url_set_decoded(draft, "user", parts->user) == -1 ||
        url_set_decoded(draft, "password", parts->password) == -1 || url_set_decoded(draft, "dbname", path) == -1)
        return -1;
    return take_query(draft, parts->query);
}

int url_read_postgres(struct url_draft *draft, const char *rest)
{
    struct url_parts parts;
    url_begin_postgres(draft);
    if (url_split(draft, rest, &parts) == -1 || take_parts(draft, &parts) == -1)
        return -1;
    return url_finish_postgres(draft, false);
}

/* What follows a sub-scheme that is PostgreSQL's ("postgresql:…"), or NULL. */
static const char *behind_postgres(const char *rest)
{
    static const char *const names[] = {"postgresql:", "postgres:", "pgsql:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncasecmp(rest, names[i], strlen(names[i])) == 0)
            return rest + strlen(names[i]);
    return NULL;
}

static int refuse_other_driver(struct url_draft *draft, const char *rest)
{
    draft->verdict = URL_FOREIGN;
    return url_draft_fail(draft, rest,
                          "this driver's URL is not PostgreSQL's: write jdbc:postgresql://host:port/database");
}

/* "jdbc:postgresql:database", "…:/" and "…://host/database": without a host pgjdbc goes to localhost, not to a socket.
 */
int url_read_jdbc(struct url_draft *draft, const char *rest)
{
    struct url_parts parts = {0};
    const char *at = behind_postgres(rest);
    if (!at)
        return refuse_other_driver(draft, rest);
    url_begin_postgres(draft);
    url_draft_set(draft, "host", "localhost");
    if (strncmp(at, "//", 2) == 0) {
        if (url_split(draft, at, &parts) == -1 || take_parts(draft, &parts) == -1)
            return -1;
        return url_finish_postgres(draft, false);
    }
    at += *at == '/';
    struct url_piece name = {at, strcspn(at, "?")}, query = {at + name.length, strlen(at + name.length)};
    if (query.length > 0)
        query = (struct url_piece){query.at + 1, query.length - 1};
    if (url_set_decoded(draft, "dbname", name) == -1 || take_query(draft, query) == -1)
        return -1;
    return url_finish_postgres(draft, false);
}

int url_read_r2dbc(struct url_draft *draft, const char *rest)
{
    const char *at = behind_postgres(strncasecmp(rest, "pool:", 5) == 0 ? rest + 5 : rest);
    if (!at)
        return refuse_other_driver(draft, rest);
    if (strncmp(at, "//", 2) != 0)
        return url_draft_fail(draft, at, "'//' must follow: r2dbc:postgresql://host:port/database");
    return url_read_postgres(draft, at);
}

int url_read_r2dbcs(struct url_draft *draft, const char *rest)
{
    draft->secure = true;
    return url_read_r2dbc(draft, rest);
}
