/* A hook's URL: see common/http_url.h. Copies only what was checked; quotes nothing of the URL in an error, since a
 * query may hold a token. */
#include "common/http_url.h"

#include <string.h>
#include <strings.h>

#include "common/text.h"

static const char scheme[] = "http://";
enum { SCHEME_LENGTH = sizeof scheme - 1 };

/* What stands behind the method, and the method's length (0: none). */
static const char *behind_method(const char *text, size_t *length)
{
    *length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (*length == 0 || text[*length] != ' ') {
        *length = 0;
        return text;
    }
    return text + *length + strspn(text + *length, " ");
}

bool http_url_is_meant(const char *text)
{
    size_t method;
    const char *url = behind_method(text, &method);
    bool any_scheme = method > 0 && strcspn(url, ":") < strcspn(url, " ") && strncmp(strchr(url, ':'), "://", 3) == 0;
    return any_scheme || strncasecmp(url, scheme, SCHEME_LENGTH) == 0 || strncasecmp(url, "https://", 8) == 0;
}

static int take_method(struct http_url *url, const char *text, size_t length, struct error *error)
{
    static const char *const known[] = {"GET", "POST"};
    strcpy(url->method, "GET");
    for (size_t i = 0; length > 0; i++) {
        if (i == sizeof known / sizeof *known)
            return error_set(error, "has a method that hooks do not know: write GET or POST before the URL");
        if (strlen(known[i]) == length && strncmp(known[i], text, length) == 0) {
            strcpy(url->method, known[i]);
            break;
        }
    }
    return 0;
}

static int check_bytes(const char *url, struct error *error)
{
    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at))
            return error_set(error, "is no URL: write blanks and other characters of its kind as %%20 and so on");
    return 0;
}

static int take_port(struct http_url *url, const char *at, size_t length, struct error *error)
{
    unsigned port = 0;
    for (size_t i = 0; i < length && i < 6; i++)
        port = at[i] >= '0' && at[i] <= '9' ? port * 10 + (unsigned)(at[i] - '0') : 65536;
    if (length < 1 || length > 5 || port < 1 || port > 65535)
        return error_set(error, "has no port between 1 and 65535 behind the host's ':'");
    memcpy(url->port, at, length);
    url->port[length] = '\0';
    return 0;
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static int take_authority(struct http_url *url, const char *at, size_t length, struct error *error)
{
    const char *end = at + length;
    const char *bracket = *at == '[' ? memchr(at, ']', length) : NULL;
    const char *name = at + (bracket != NULL);
    const char *name_end = bracket ? bracket : memchr(at, ':', length);
    name_end = name_end ? name_end : end;
    const char *rest = name_end + (bracket != NULL);
    if (memchr(at, '@', length))
        return error_set(error, "holds a user: hooks send none; let a command do it that reads it from a file");
    if (name_end == name || (*at == '[' && !bracket) || (rest < end && *rest != ':'))
        return error_set(error, "names no host: write http://HOST:PORT/PATH, an IPv6 address in [ ]");
    if ((size_t)(name_end - name) >= sizeof url->host)
        return error_set(error, "has too long a host");
    memcpy(url->host, name, (size_t)(name_end - name));
    url->host[name_end - name] = '\0';
    strcpy(url->port, "80");
    return rest == end ? 0 : take_port(url, rest + 1, (size_t)(end - rest - 1), error);
}

int http_url_parse(struct http_url *url, const char *text, struct error *error)
{
    size_t method;
    const char *at = behind_method(text, &method);
    if (strncasecmp(at, "https://", 8) == 0)
        return error_set(error, "is an https URL, and hooks speak http only: let a command do it, such as curl");
    if (strncasecmp(at, scheme, SCHEME_LENGTH) != 0)
        return error_set(error, "is no URL: write http://HOST:PORT/PATH");
    if (take_method(url, text, method, error) == -1 || check_bytes(at, error) == -1)
        return -1;
    at += SCHEME_LENGTH;
    size_t authority = strcspn(at, "/?#");
    const char *path = at + authority;
    if (take_authority(url, at, authority, error) == -1)
        return -1;
    struct text into = text_in(url->path, sizeof url->path);
    text_add(&into, "%s%.*s", *path == '/' ? "" : "/", (int)strcspn(path, "#"), path);
    return into.cut ? error_set(error, "is too long") : 0;
}
