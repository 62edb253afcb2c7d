/* Connection parameters: see agent/targets/params.h. */
#include "agent/targets/params.h"

#include <string.h>

bool params_are_valid(const char *params, size_t size)
{
    const char *end = params + size;
    while (params < end && *params) {
        size_t length = strnlen(params, (size_t)(end - params));
        const char *equals = memchr(params, '=', length);
        if (!equals || equals == params)
            return false;
        params += length + 1;
    }
    return params < end;
}

const char *params_next(const char **at, char *keyword, size_t size)
{
    if (!**at)
        return NULL;
    const char *equals = strchr(*at, '=');
    if (!equals)
        return NULL;
    size_t length = (size_t)(equals - *at);
    if (length >= size)
        length = size - 1;
    memcpy(keyword, *at, length);
    keyword[length] = 0;
    *at += strlen(*at) + 1;
    return equals + 1;
}

const char *params_get(const char *params, const char *keyword)
{
    char name[64];
    for (const char *value; (value = params_next(&params, name, sizeof name));)
        if (strcmp(name, keyword) == 0)
            return *value ? value : NULL;
    return NULL;
}
