/* The common ground of all URL readers: splitting, percent-decoding, columns, and the parameters' final form. A failure
 * never quotes anything of the authority, path or a value: a '/', '?' or '@' in a password moves it anywhere. */
#include "config/url_draft.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/endpoint.h"

int url_draft_fail(struct url_draft *draft, const char *at, const char *format, ...)
{
    va_list arguments;
    struct text text = text_in(draft->error->text, sizeof draft->error->text);
    text_add(&text, "column %zu: ", (size_t)(at - draft->text) + 1);
    va_start(arguments, format);
    vsnprintf(text.at + text.length, text.size - text.length, format, arguments);
    va_end(arguments);
    return -1;
}

static char *take_room(struct url_draft *draft, size_t size)
{
    if (size > sizeof draft->arena - draft->used) {
        url_draft_fail(draft, draft->text, "too many parameters");
        return NULL;
    }
    char *at = draft->arena + draft->used;
    draft->used += size;
    return at;
}

static int hex_digit(char letter)
{
    if (isdigit((unsigned char)letter))
        return letter - '0';
    return isxdigit((unsigned char)letter) ? tolower((unsigned char)letter) - 'a' + 10 : -1;
}

/* The byte that "%XX" at `at` stands for, or -1 after a failure was told. */
static int decode_byte(struct url_draft *draft, const char *at, const char *end)
{
    if (end - at < 3 || hex_digit(at[1]) == -1 || hex_digit(at[2]) == -1)
        return url_draft_fail(draft, at, "'%%' without two hexadecimal digits: a '%%' itself is written %%25");
    int byte = hex_digit(at[1]) * 16 + hex_digit(at[2]);
    if (byte < ' ' || byte == 0x7f)
        return url_draft_fail(draft, at, "%%%c%c is a control character", at[1], at[2]);
    return byte;
}

const char *url_draft_decode(struct url_draft *draft, struct url_piece piece)
{
    const char *end = piece.at + piece.length;
    char *copy = take_room(draft, piece.length + 1);
    size_t length = 0;
    if (!copy)
        return NULL;
    for (const char *at = piece.at; at < end; at++) {
        int byte = (unsigned char)*at;
        if (byte == '%') {
            byte = decode_byte(draft, at, end);
            if (byte == -1)
                return NULL;
            at += 2;
        }
        copy[length++] = (char)byte;
    }
    copy[length] = '\0';
    return copy;
}

const char *url_draft_copy(struct url_draft *draft, struct url_piece piece)
{
    char *copy = take_room(draft, piece.length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, piece.at, piece.length);
    copy[piece.length] = '\0';
    return copy;
}

static size_t keyword_row(const struct url_draft *draft, const char *keyword)
{
    size_t row = 0;
    while (draft->keywords[row] && strcmp(draft->keywords[row], keyword) != 0)
        row++;
    return row;
}

void url_draft_set(struct url_draft *draft, const char *keyword, const char *value)
{
    size_t row = keyword_row(draft, keyword);
    if (draft->keywords[row])
        draft->values[row] = value && *value ? value : NULL;
}

const char *url_draft_get(const struct url_draft *draft, const char *keyword)
{
    size_t row = keyword_row(draft, keyword);
    return draft->keywords[row] ? draft->values[row] : NULL;
}

/* What does not look like a parameter's name is not shown: it may be anything. */
void url_draft_strip(struct url_draft *draft, const char *name)
{
    size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    bool shown = plain > 0 && name[plain] == '\0' && plain <= 40;
    text_add(&draft->stripped, "%s%s", draft->stripped.length > 0 ? ", " : "", shown ? name : "(no name)");
}

int url_draft_emit(struct url_draft *draft)
{
    char *at = draft->target->params;
    size_t room = sizeof draft->target->params - 1; /* the last NUL */
    for (size_t row = 0; draft->keywords[row]; row++) {
        if (!draft->values[row])
            continue;
        int length = snprintf(at, room, "%s=%s", draft->keywords[row], draft->values[row]);
        if (length < 0 || (size_t)length + 1 > room)
            return url_draft_fail(draft, draft->text, "too long");
        at += length + 1;
        room -= (size_t)length + 1;
    }
    *at = '\0';
    return 0;
}

/* ---- splitting ---- */

static struct url_piece piece_between(const char *from, const char *to)
{
    return (struct url_piece){from, (size_t)(to - from)};
}

/* As libpq, a '?' in a password needs no escape; unlike it, the last '@' counts, so that one in a password does not
 * either (URL parsers of JavaScript take it so). Returns where the host begins. */
static const char *split_user(const char *at, struct url_parts *parts)
{
    const char *limit = at + strcspn(at, "/");
    const char *sign = memrchr(at, '@', (size_t)(limit - at));
    if (!sign)
        return at;
    const char *colon = memchr(at, ':', (size_t)(sign - at));
    parts->user = piece_between(at, colon ? colon : sign);
    if (colon)
        parts->password = piece_between(colon + 1, sign);
    return sign + 1;
}

static const char *split_bracketed(struct url_draft *draft, const char *at, struct url_parts *parts)
{
    const char *close = at + strcspn(at, "]/?");
    if (*close != ']') {
        url_draft_fail(draft, at, "'[' without ']' around an IPv6 address");
        return NULL;
    }
    parts->host = piece_between(at + 1, close);
    parts->bracketed = true;
    if (close[1] && !strchr(":/?,", close[1])) {
        url_draft_fail(draft, close + 1, "only a port, '/' or '?' may follow ']'");
        return NULL;
    }
    return close + 1;
}

static const char *split_host(struct url_draft *draft, const char *at, struct url_parts *parts)
{
    if (*at == '[')
        return split_bracketed(draft, at, parts);
    const char *end = at + strcspn(at, ":,/?");
    parts->host = piece_between(at, end);
    return end;
}

static int several_hosts(struct url_draft *draft, const char *at)
{
    return url_draft_fail(draft, at, "several hosts: a target is one server; make a target of each in the file");
}

/* A raw '@' where only a '/' or '?' in a password can have brought it. */
static int check_signs(struct url_draft *draft, const struct url_parts *parts)
{
    const char *sign = memchr(parts->path.at, '@', parts->path.length);
    if (!sign && parts->path.length == 0 && parts->query.at)
        sign = memchr(parts->query.at, '@', parts->query.length);
    if (sign)
        return url_draft_fail(draft, sign,
                              "'@' behind the host: in a password write '/' as %%2F and '?' as %%3F, in a name "
                              "'@' as %%40");
    return 0;
}

int url_split(struct url_draft *draft, const char *at, struct url_parts *parts)
{
    memset(parts, 0, sizeof *parts);
    at = split_host(draft, split_user(at + 2, parts), parts);
    if (!at)
        return -1;
    if (*at == ':') {
        const char *end = at + 1 + strcspn(at + 1, ",/?");
        parts->port = piece_between(at + 1, end);
        at = end;
    }
    if (*at == ',')
        return several_hosts(draft, at);
    const char *path = at;
    at += strcspn(at, "?");
    parts->path = piece_between(path, at);
    if (*at == '?')
        parts->query = piece_between(at + 1, at + strlen(at));
    return check_signs(draft, parts);
}

bool url_next_parameter(struct url_piece *query, struct url_piece *name, struct url_piece *value)
{
    while (query->length > 0 && *query->at == '&')
        *query = (struct url_piece){query->at + 1, query->length - 1};
    if (query->length == 0)
        return false;
    const char *end = memchr(query->at, '&', query->length);
    if (!end)
        end = query->at + query->length;
    const char *equals = memchr(query->at, '=', (size_t)(end - query->at));
    *name = piece_between(query->at, equals ? equals : end);
    *value = piece_between(equals ? equals + 1 : end, end);
    *query = piece_between(end, query->at + query->length);
    return true;
}

/* ---- hosts, ports, numbers ---- */

int url_check_host(struct url_draft *draft, const char *at, const char *host)
{
    struct endpoint endpoint;
    if (strchr(host, ','))
        return several_hosts(draft, at);
    if (*host == '/' || *host == '@')
        return strlen(host) > 90 ? url_draft_fail(draft, at, "the socket's directory is too long: at most 90 bytes")
                                 : 0;
    if (strchr(host, ':') && endpoint_parse(&endpoint, host, 0) == -1)
        return url_draft_fail(draft, at, "the host holds a ':' but is no IPv6 address");
    if (strlen(host) > 253 || strpbrk(host, " /@?#\"'\\%[]<>") != NULL)
        return url_draft_fail(draft, at, "not a host name: in a password write '/' as %%2F, '?' as %%3F, '@' as %%40");
    return 0;
}

int url_parse_number(const char *text, long most, long *number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '\0')
        return -1;
    *number = strtol(text, NULL, 10);
    return *number <= most ? 0 : -1;
}

int url_check_port(struct url_draft *draft, const char *at, const char *port)
{
    long number;
    if (strchr(port, ','))
        return several_hosts(draft, at);
    if (url_parse_number(port, 65535, &number) == -1 || number < 1)
        return url_draft_fail(draft, at,
                              "the port is no number from 1 to 65535 (in a password write '/' as %%2F, '?' as "
                              "%%3F; an IPv6 address stands in [ ])");
    return 0;
}

int url_set_decoded(struct url_draft *draft, const char *keyword, struct url_piece piece)
{
    if (!piece.at || piece.length == 0)
        return 0;
    const char *value = url_draft_decode(draft, piece);
    if (!value)
        return -1;
    url_draft_set(draft, keyword, value);
    return 0;
}

int url_set_host(struct url_draft *draft, const struct url_parts *parts)
{
    struct endpoint endpoint;
    if (url_set_decoded(draft, "host", parts->host) == -1 || url_set_decoded(draft, "port", parts->port) == -1)
        return -1;
    const char *host = url_draft_get(draft, "host"), *port = url_draft_get(draft, "port");
    if (parts->bracketed && (!host || !strchr(host, ':') || endpoint_parse(&endpoint, host, 0) == -1))
        return url_draft_fail(draft, parts->host.at, "not an IPv6 address between [ and ]");
    if (port && url_check_port(draft, parts->port.at, port) == -1)
        return -1;
    return host ? url_check_host(draft, parts->host.at, host) : 0;
}
