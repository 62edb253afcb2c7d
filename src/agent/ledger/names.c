/* Application names: see agent/ledger/names.h. Pure: no I/O. */
#include "agent/ledger/names.h"

#include <stdlib.h>
#include <string.h>

enum { POSTGRES_NAME_BYTES = 63, ADDRESS_BYTES = 64 };
#define POOLER_SEPARATOR " - " /* PgBouncer, src/client.c: "%s - %s:%d" */

/* What follows the prefix in the name; NULL when the name is not the app's. */
static const char *rest_of(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0 || strncmp(name, prefix, length) != 0)
        return NULL;
    const char *rest = name + length;
    return *rest == 0 || strncmp(rest, POOLER_SEPARATOR, strlen(POOLER_SEPARATOR)) == 0 ? rest : NULL;
}

bool names_match(const char *name, const char *prefix)
{
    if (rest_of(name, prefix))
        return true;
    /* a name so long that PostgreSQL cut it within what the pooler appended */
    size_t length = strlen(prefix);
    return length > 0 && names_may_be_cut(name) && strncmp(name, prefix, length) == 0;
}

static bool read_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

bool names_may_be_cut(const char *name)
{
    return strlen(name) >= POSTGRES_NAME_BYTES;
}

/* "10.0.0.5:40312", "::1:40312" */
static bool read_address(const char *text, struct endpoint *client)
{
    char address[ADDRESS_BYTES];
    uint16_t port;
    const char *colon = strrchr(text, ':'); /* an IPv6 address has more of them, and no brackets */
    if (!colon || (size_t)(colon - text) >= sizeof address || !read_port(colon + 1, &port))
        return false;
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = 0;
    return endpoint_parse(client, address, port) == 0;
}

bool names_read_client(const char *name, const char *prefix, struct endpoint *client)
{
    const char *rest = rest_of(name, prefix);
    return rest && *rest && !names_may_be_cut(name) && read_address(rest + strlen(POOLER_SEPARATOR), client);
}

bool names_read_any_client(const char *name, struct endpoint *client)
{
    const char *last = NULL;
    for (const char *at = name; (at = strstr(at, POOLER_SEPARATOR)); at++)
        last = at;
    return last && !names_may_be_cut(name) && read_address(last + strlen(POOLER_SEPARATOR), client);
}
