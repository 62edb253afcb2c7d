/* What a request of HTTP/1.x looks like, and the answer to it: see supervisor/intake/http.h. Reads nothing beyond
 * `length`, and keeps nothing. */
#include "supervisor/intake/http.h"

#include <string.h>

enum { METHOD_MOST = 32, LINE_MOST = 8192 };

const char http_unavailable[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                "Connection: close\r\n"
                                "Retry-After: 1\r\n"
                                "Content-Length: 0\r\n\r\n";

/* The length of the method and its space, or 0. */
static size_t method_length(const char *bytes, size_t length)
{
    size_t at = 0;
    while (at < length && at < METHOD_MOST && bytes[at] >= 'A' && bytes[at] <= 'Z')
        at++;
    return at > 0 && at < length && bytes[at] == ' ' ? at + 1 : 0;
}

static bool is_version(const char *at)
{
    return memcmp(at, " HTTP/1.", 8) == 0 && (at[8] == '0' || at[8] == '1') && at[9] == '\r';
}

bool http_is_request(const char *bytes, size_t length)
{
    enum { VERSION = 10 }; /* " HTTP/1.x\r" */
    size_t target = method_length(bytes, length);
    const char *end = target ? memchr(bytes, '\n', length < LINE_MOST ? length : LINE_MOST) : NULL;
    if (!end || (size_t)(end - bytes) < target + 1 + VERSION || !is_version(end - VERSION))
        return false;
    for (const char *at = bytes + target; at < end - VERSION; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return false;
    return true;
}
