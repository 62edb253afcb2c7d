/* libpq's "keyword=value keyword='a value'" strings, by its rules of quoting (PQconninfoParse, "Keyword/Value
 * Connection Strings"). Every parameter then goes the way a URL's goes. */
#include <ctype.h>
#include <string.h>

#include "config/url_draft.h"

static const char *skip_blanks(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* One value at *at, quotes and backslashes taken away. NULL after a failure was told. */
static const char *read_value(struct url_draft *draft, const char **at)
{
    bool quoted = **at == '\'';
    const char *begin = *at, *from = begin + quoted;
    char *value = (char *)url_draft_copy(draft, (struct url_piece){begin, strlen(begin)});
    size_t length = 0;
    if (!value)
        return NULL;
    while (*from && (quoted ? *from != '\'' : !isspace((unsigned char)*from))) {
        if (*from == '\\' && from[1])
            from++;
        else if (*from == '\\')
            break;
        value[length++] = *from++;
    }
    if (quoted && *from != '\'') {
        url_draft_fail(draft, begin, "a quotation mark that is not closed");
        return NULL;
    }
    value[length] = '\0';
    draft->used = (size_t)(value - draft->arena) + length + 1; /* give back what the copy had too much */
    *at = from + (*from == '\'' || *from == '\\');
    return value;
}

static int read_pair(struct url_draft *draft, const char **at)
{
    struct url_piece piece = {*at, strcspn(*at, "= \t\n\r\v\f")};
    const char *name = url_draft_copy(draft, piece);
    const char *equals = skip_blanks(*at + piece.length);
    if (!name)
        return -1;
    if (*equals != '=' || piece.length == 0)
        return url_draft_fail(draft, *at, "'=' is missing: write keyword=value, and a value with blanks in '…'");
    *at = skip_blanks(equals + 1);
    const char *value_at = *at, *value = read_value(draft, at);
    return value ? url_take_postgres(draft, name, value, value_at, true) : -1;
}

int url_read_conninfo(struct url_draft *draft, const char *text)
{
    url_begin_postgres(draft);
    for (const char *at = skip_blanks(text); *at; at = skip_blanks(at))
        if (read_pair(draft, &at) == -1)
            return -1;
    return url_finish_postgres(draft, true);
}
