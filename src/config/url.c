/* Which reader a URL is for: a table of schemes. What is in none of its rows is refused and never passed on. */
#include "config/url.h"

#include <ctype.h>
#include <string.h>

#include "config/nearest.h"
#include "config/url_draft.h"

#define NO_TLS "TLS to Redis is not supported by this build's hiredis"
#define NO_CLUSTER "sentinels and clusters are not supported: name one server"

static const struct scheme {
    const char *name;
    int (*read)(struct url_draft *draft, const char *rest);
    const char *refusal; /* instead of a reader */
    bool opaque;         /* what follows need not be "//" */
    bool drivers;        /* "+driver" may follow the name */
} schemes[] = {
    {"postgres", url_read_postgres, NULL, false, true},
    {"postgresql", url_read_postgres, NULL, false, true},
    {"pgsql", url_read_postgres, NULL, false, false},
    {"postgis", url_read_postgres, NULL, false, false},
    {"timescale", url_read_postgres, NULL, false, false},
    {"timescalegis", url_read_postgres, NULL, false, false},
    {"ecto", url_read_postgres, NULL, false, false},
    {"jdbc", url_read_jdbc, NULL, true, false},
    {"r2dbc", url_read_r2dbc, NULL, true, false},
    {"r2dbcs", url_read_r2dbcs, NULL, true, false},
    {"redis", url_read_redis, NULL, false, false},
    {"valkey", url_read_redis, NULL, false, false},
    {"unix", url_read_redis_unix, NULL, false, false},
    {"redis+unix", url_read_redis_unix, NULL, false, false},
    {"redis+socket", url_read_redis_unix, NULL, false, false},
    {"rediss", NULL, NO_TLS, false, false},
    {"valkeys", NULL, NO_TLS, false, false},
    {"redis+sentinel", NULL, NO_CLUSTER, false, false},
    {"rediss+sentinel", NULL, NO_CLUSTER, false, false},
    {"redis-sentinel", NULL, NO_CLUSTER, false, false},
    {"rediss-sentinel", NULL, NO_CLUSTER, false, false},
    {"sentinel", NULL, NO_CLUSTER, false, false},
    {"redis+cluster", NULL, NO_CLUSTER, false, false},
    {"redis-cluster", NULL, NO_CLUSTER, false, false},
};
enum { SCHEMES = sizeof schemes / sizeof *schemes, SCHEME_LONGEST = 32 };

/* Does the scheme that was written (length bytes) name this row? "postgresql+asyncpg" does the row "postgresql". */
static bool names_row(const struct scheme *row, const char *written, size_t length)
{
    size_t name = strlen(row->name);
    if (length < name || strncasecmp(row->name, written, name) != 0)
        return false;
    return length == name || (row->drivers && written[name] == '+' && length > name + 1);
}

static const struct scheme *find_scheme(const char *written, size_t length)
{
    for (size_t i = 0; i < SCHEMES; i++)
        if (names_row(&schemes[i], written, length))
            return &schemes[i];
    return NULL;
}

/* The length of a scheme that text begins with, its colon not counted; 0: there is none (RFC 3986, 3.1; and '_'). */
static size_t scheme_length(const char *text)
{
    size_t length = 0;
    if (!isalpha((unsigned char)*text))
        return 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr("+.-_", text[length])))
        length++;
    return text[length] == ':' && length <= SCHEME_LONGEST ? length : 0;
}

/* "host=…", "host = …": how a conninfo string begins. */
static bool is_conninfo(const char *text)
{
    size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    return word > 0 && text[word + strspn(text + word, " ")] == '=';
}

/* A scheme that is none of ours: a mistyped one is an error, another database's is not our business. */
static int refuse_scheme(struct url_draft *draft, size_t length)
{
    static const char *const others[] = {"sqlite", "sqlite3", "file", NULL};
    char name[SCHEME_LONGEST + 1] = "";
    const char *rest = draft->text + length + 1;
    memcpy(name, draft->text, length);
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < SCHEMES; i++)
        nearest_offer(&nearest, schemes[i].name, schemes[i].name);
    bool other = *rest == '/';
    for (size_t i = 0; others[i]; i++)
        other = other || strcasecmp(others[i], name) == 0;
    if (!other)
        return url_draft_fail(draft, draft->text, "no scheme: begin with postgresql:// or redis://");
    if (nearest_found(&nearest))
        return url_draft_fail(draft, draft->text, "unknown scheme '%s': did you mean %s?", name,
                              nearest_found(&nearest));
    draft->verdict = URL_FOREIGN;
    return url_draft_fail(draft, draft->text, "scheme '%s' is neither PostgreSQL's nor Redis's", name);
}

/* What no URL may hold, with the reasons that people meet. A conninfo string may have line ends between its words. */
static int check_bytes(struct url_draft *draft)
{
    const char *text = draft->text, *blanks = is_conninfo(text) ? "\t\n\r" : "";
    if (*text == '\0')
        return url_draft_fail(draft, text, "is empty");
    if (*text == '"' || *text == '\'')
        return url_draft_fail(draft, text,
                              "begins with a quotation mark: take the quotes away (docker --env-file keeps them)");
    for (const char *at = text; *at; at++)
        if (((unsigned char)*at < ' ' && !strchr(blanks, *at)) || *at == 0x7f)
            return url_draft_fail(draft, at, "a control character or line end");
    if (*text == ' ')
        return url_draft_fail(draft, text, "begins with a blank");
    if (strlen(text) > URL_LONGEST)
        return url_draft_fail(draft, text + URL_LONGEST, "longer than %d bytes", URL_LONGEST);
    return 0;
}

static int read_any(struct url_draft *draft)
{
    if (check_bytes(draft) == -1)
        return -1;
    if (is_conninfo(draft->text))
        return url_read_conninfo(draft, draft->text);
    size_t length = scheme_length(draft->text);
    const char *rest = draft->text + length + 1;
    if (length == 0)
        return url_draft_fail(draft, draft->text, "no scheme: begin with postgresql:// or redis://");
    const struct scheme *scheme = find_scheme(draft->text, length);
    if (!scheme)
        return refuse_scheme(draft, length);
    if (scheme->refusal)
        return url_draft_fail(draft, draft->text, "%s: %s", scheme->name, scheme->refusal);
    if (!scheme->opaque && strncmp(rest, "//", 2) != 0)
        return url_draft_fail(draft, rest, "'//' must follow '%s:'", scheme->name);
    return scheme->read(draft, rest);
}

enum url_verdict url_read(struct url_target *target, const char *text, struct error *error)
{
    struct error unwanted;
    struct url_draft draft = {
        .text = text, .target = target, .error = error ? error : &unwanted, .verdict = URL_BROKEN};
    memset(target, 0, sizeof *target);
    target->limit = -1;
    draft.stripped = text_in(target->stripped, sizeof target->stripped);
    if (read_any(&draft) == -1)
        return draft.verdict;
    return URL_OK;
}

const char *url_param(const char *params, const char *keyword)
{
    size_t length = strlen(keyword);
    for (const char *at = params; *at; at += strlen(at) + 1)
        if (strncmp(at, keyword, length) == 0 && at[length] == '=')
            return at + length + 1;
    return NULL;
}

_Bool url_param_is_secret(const char *keyword)
{
    return strcmp(keyword, "password") == 0 || strcmp(keyword, "sslpassword") == 0;
}
