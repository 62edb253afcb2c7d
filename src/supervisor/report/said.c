/* Texts from outside, made fit to be said: escaped, bounded, passwords left out.
 *
 * Never passes on a byte that it has not looked at. What looks like a password is known by its surroundings only, so
 * more is left out rather than less. */
#include "supervisor/report/said.h"

#include <string.h>
#include <strings.h>

enum { ARGUMENT_MOST = 512 };

size_t said_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* A cut may have gone through a character: the bytes of its beginning are dropped. */
static size_t without_half_character(const char *bytes, size_t length)
{
    size_t back = 0;
    while (back < 3 && back < length && ((unsigned char)bytes[length - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == length)
        return length;
    unsigned char lead = (unsigned char)bytes[length - 1 - back];
    size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    return back < wanted ? length - 1 - back : length;
}

/* Where the password of the URL whose user part begins at `user` stands: behind the first ":", up to the last "@"
 * before white space (a password may hold "/" and "@"), or up to the end when the text was cut there. */
static const char *url_password(const char *user, const char *end, bool cut, const char **password_end)
{
    const char *at = NULL, *here = user;
    for (; here < end && memchr(" \t\r\n", *here, 4) == NULL; here++)
        if (*here == '@')
            at = here;
    if (at == NULL && cut && here == end)
        at = end;
    const char *colon = at == NULL ? NULL : memchr(user, ':', (size_t)(at - user));
    *password_end = at;
    return colon == NULL ? NULL : colon + 1;
}

static void add_without_url_passwords(struct text *text, const char *bytes, size_t length, bool cut)
{
    const char *end = bytes + length, *from = bytes, *scheme = bytes;
    while ((scheme = memmem(scheme, (size_t)(end - scheme), "://", 3)) != NULL) {
        const char *password_end = NULL, *password = url_password(scheme + 3, end, cut, &password_end);
        scheme += 3;
        if (password == NULL)
            continue;
        text_add_escaped(text, from, (size_t)(password - from));
        text_add(text, "****");
        from = scheme = password_end;
    }
    text_add_escaped(text, from, (size_t)(end - from));
}

/* Where one of the words that name a secret ends in `bytes`, or NULL. */
static const char *secret_word_end(const char *bytes)
{
    static const char *const words[] = { "password", "passwd", "secret", "token", "apikey", "api-key", "api_key" };
    const char *first = NULL;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *found = strcasestr(bytes, words[i]);
        if (found != NULL && (first == NULL || found + strlen(words[i]) < first))
            first = found + strlen(words[i]);
    }
    return first;
}

static size_t collapse_white_space(char *to, const char *from, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        char byte = memchr(" \t\r\n\f\v", from[i], 6) != NULL ? ' ' : from[i];
        if (byte != ' ' || (count > 0 && to[count - 1] != ' '))
            to[count++] = byte;
    }
    while (count > 0 && to[count - 1] == ' ')
        count--;
    to[count] = '\0';
    return count;
}

void said_query(struct text *text, const char query[static WIRE_QUERY])
{
    char flat[WIRE_QUERY + 1];
    size_t length = strnlen(query, WIRE_QUERY);
    bool cut = length >= WIRE_QUERY - 1;
    if (cut)
        length = without_half_character(query, length);
    length = collapse_white_space(flat, query, length);
    const char *password = strcasestr(flat, "password");
    if (password != NULL)
        length = (size_t)(password - flat) + strlen("password");
    bool more = password != NULL && flat[length] != '\0';
    add_without_url_passwords(text, flat, length, cut && !more);
    text_add(text, "%s", more ? " ****" : cut ? "…" : "");
}

/* "--password" alone: its value is the next argument. */
static bool hides_the_next(const char *argument)
{
    return argument != NULL && argument[0] == '-' && strchr(argument, '=') == NULL && secret_word_end(argument) != NULL;
}

void said_argument(struct text *text, const char *argument, const char *previous)
{
    if (hides_the_next(previous)) {
        text_add(text, "****");
        return;
    }
    const char *word = secret_word_end(argument);
    const char *value = word == NULL ? NULL : strchr(word, '=');
    size_t length = value == NULL ? strlen(argument) : (size_t)(value + 1 - argument);
    bool cut = length > ARGUMENT_MOST;
    if (cut)
        length = without_half_character(argument, ARGUMENT_MOST);
    add_without_url_passwords(text, argument, length, cut);
    text_add(text, "%s", cut ? "…" : value != NULL ? "****" : "");
}
