/* Redis URLs: redis://[[user]:[password]@]host[:port][/db], unix://[user:password@]/path?db=0. One server, no TLS. */
#include <string.h>

#include "config/url_draft.h"
#include "config/value.h"

static const char *const keywords[] = {"host", "port", "path", "user", "password", "db", NULL};

static int set_database(struct url_draft *draft, const char *at, const char *value)
{
    long number;
    if (*value && url_parse_number(value, 1000000, &number) == -1)
        return url_draft_fail(draft, at,
                              "the database is no number: write redis://host:6379/0 (a socket's path: unix:///path)");
    url_draft_set(draft, "db", value);
    return 0;
}

static int take_limit(struct url_draft *draft, const char *at, const char *value)
{
    long number;
    if (url_parse_number(value, 100000, &number) == -1)
        return url_draft_fail(draft, at, "max_connections must be a whole number up to 100000");
    draft->target->limit = number > 0 ? (int)number : -1;
    return 0;
}

static int take_tls(struct url_draft *draft, const char *at, const char *value)
{
    bool on = true;
    if (value_parse_bool(value, &on) == 0 && !on)
        return 0;
    return url_draft_fail(draft, at, "TLS to Redis is not supported by this build's hiredis");
}

static int set_user(struct url_draft *draft, const char *at, const char *value)
{
    (void)at;
    url_draft_set(draft, "user", value);
    return 0;
}

static int set_password(struct url_draft *draft, const char *at, const char *value)
{
    (void)at;
    url_draft_set(draft, "password", value);
    return 0;
}

static const struct parameter {
    const char *name;
    int (*take)(struct url_draft *draft, const char *at, const char *value);
} parameters[] = {
    {"db", set_database},       {"virtual_host", set_database}, /* Celery */
    {"username", set_user},     {"user", set_user},
    {"password", set_password}, {"max_connections", take_limit},
    {"ssl", take_tls},          {"tls", take_tls},
};

static int take_parameter(struct url_draft *draft, struct url_piece name_piece, struct url_piece value_piece)
{
    const char *name = url_draft_decode(draft, name_piece);
    const char *value = name ? url_draft_decode(draft, value_piece) : NULL;
    if (!value)
        return -1;
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (strcmp(parameters[i].name, name) == 0)
            return parameters[i].take(draft, value_piece.at, value);
    url_draft_strip(draft, name);
    return 0;
}

/* User, password and query: what both forms have. */
static int take_common(struct url_draft *draft, const struct url_parts *parts)
{
    struct url_piece query = parts->query, name, value;
    if (url_set_decoded(draft, "user", parts->user) == -1 ||
        url_set_decoded(draft, "password", parts->password) == -1)
        return -1;
    while (url_next_parameter(&query, &name, &value))
        if (take_parameter(draft, name, value) == -1)
            return -1;
    return url_draft_emit(draft);
}

static int take_database(struct url_draft *draft, struct url_piece path)
{
    if (path.length == 0)
        return 0;
    const char *value = url_draft_decode(draft, (struct url_piece){path.at + 1, path.length - 1});
    return value ? set_database(draft, path.at + 1, value) : -1;
}

static void begin(struct url_draft *draft)
{
    draft->keywords = keywords;
    draft->target->kind = TARGET_REDIS;
}

int url_read_redis(struct url_draft *draft, const char *rest)
{
    struct url_parts parts;
    begin(draft);
    url_draft_set(draft, "host", "localhost");
    url_draft_set(draft, "port", "6379");
    if (url_split(draft, rest, &parts) == -1 || url_set_host(draft, &parts) == -1 ||
        take_database(draft, parts.path) == -1)
        return -1;
    return take_common(draft, &parts);
}

int url_read_redis_unix(struct url_draft *draft, const char *rest)
{
    enum { SOCKET_PATH = 107 }; /* unix(7) */
    struct url_parts parts;
    begin(draft);
    if (url_split(draft, rest, &parts) == -1)
        return -1;
    if (parts.host.length > 0 || parts.port.at || parts.path.length < 2)
        return url_draft_fail(draft, rest, "a socket's path is absolute: unix:///run/redis/redis.sock");
    if (url_set_decoded(draft, "path", parts.path) == -1)
        return -1;
    if (strlen(url_draft_get(draft, "path")) > SOCKET_PATH)
        return url_draft_fail(draft, parts.path.at, "the socket's path is too long: at most %d bytes", SOCKET_PATH);
    return take_common(draft, &parts);
}
