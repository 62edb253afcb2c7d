/* Endpoints: see common/endpoint.h. */
#include "common/endpoint.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/text.h"

struct endpoint endpoint_from_bytes(int family, const void *address, uint16_t port)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct endpoint e = {.port = port};
    if (family == AF_INET6 && memcmp(address, mapped, sizeof mapped) == 0) {
        family = AF_INET;
        address = (const char *)address + sizeof mapped;
    }
    e.family = family == AF_INET ? ENDPOINT_INET : family == AF_INET6 ? ENDPOINT_INET6 : ENDPOINT_NONE;
    if (e.family == ENDPOINT_NONE)
        return (struct endpoint){0};
    memcpy(e.address, address, e.family == ENDPOINT_INET ? 4 : 16);
    return e;
}

int endpoint_parse(struct endpoint *endpoint, const char *address, uint16_t port)
{
    char host[INET6_ADDRSTRLEN + 1];
    unsigned char bytes[16];
    size_t length = strcspn(address, "%");
    if (length >= sizeof host)
        return -1;
    memcpy(host, address, length);
    host[length] = 0;
    int family = inet_pton(AF_INET, host, bytes) == 1 ? AF_INET : inet_pton(AF_INET6, host, bytes) == 1 ? AF_INET6 : -1;
    if (family < 0)
        return -1;
    *endpoint = endpoint_from_bytes(family, bytes, port);
    return 0;
}

bool endpoint_same_address(const struct endpoint *a, const struct endpoint *b)
{
    return a->family == b->family && memcmp(a->address, b->address, sizeof a->address) == 0;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && endpoint_same_address(a, b);
}

void endpoint_format(const struct endpoint *endpoint, struct text *text)
{
    char host[INET6_ADDRSTRLEN];
    if (endpoint->family == ENDPOINT_INET && inet_ntop(AF_INET, endpoint->address, host, sizeof host))
        text_add(text, "%s:%u", host, endpoint->port);
    else if (endpoint->family == ENDPOINT_INET6 && inet_ntop(AF_INET6, endpoint->address, host, sizeof host))
        text_add(text, "[%s]:%u", host, endpoint->port);
    else
        text_add(text, "%s", endpoint->family == ENDPOINT_UNIX ? "unix" : "unknown");
}
