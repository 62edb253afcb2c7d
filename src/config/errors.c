/* The list of everything that is wrong. Texts in it never hold a password: values get in by config_quote() only. */
#include "config/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int config_errors_add(struct config_errors *errors, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof errors->list / sizeof *errors->list;
    size_t at = errors->count++;
    if (at >= room)
        return -1;
    va_start(arguments, format);
    vsnprintf(errors->list[at].text, sizeof errors->list[at].text, format, arguments);
    va_end(arguments);
    return -1;
}

static bool may_hold_password(const char *value)
{
    return strstr(value, "://") || strchr(value, '@') || strcasestr(value, "passw") || strcasestr(value, "pwd");
}

void config_quote(struct text *text, const char *value)
{
    enum { SHOWN = 48 };
    if (may_hold_password(value)) {
        text_add(text, "'****'");
        return;
    }
    size_t length = strlen(value);
    text_add(text, "'");
    text_add_escaped(text, value, length < SHOWN ? length : SHOWN);
    text_add(text, length <= SHOWN ? "'" : "…'");
}

int config_refuse(struct error *error, const char *value, const char *story)
{
    char shown[256];
    struct text text = text_in(shown, sizeof shown);
    config_quote(&text, value);
    return error_set(error, "%s %s", shown, story);
}

void config_show_key(char *at, size_t size, const char *key)
{
    enum { SHOWN = 100 };
    struct text text = text_in(at, size);
    size_t length = strlen(key);
    if (strstr(key, "://") || strchr(key, '@'))
        text_add(&text, "****");
    else
        text_add_escaped(&text, key, length < SHOWN ? length : SHOWN);
}
