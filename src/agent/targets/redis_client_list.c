/* CLIENT LIST: see agent/targets/redis_client_list.h. Must never read past the length it was given. */
#include "agent/targets/redis_client_list.h"

#include <limits.h>
#include <string.h>

#include "common/clock.h"

/* What the state is made of; filled field by field, judged at the end of the line. */
struct redis_client {
    struct session *session;
    bool has_id, want_text, has_multi;
    bool pending; /* bytes of a request that it has not executed, or of a reply that it has not sent */
    char flags[16];
};

static bool read_number(const char *value, size_t length, int64_t *number)
{
    size_t i = length > 0 && value[0] == '-';
    int64_t n = 0;
    if (i == length)
        return false;
    for (; i < length; i++) {
        if (value[i] < '0' || value[i] > '9' || n > (INT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (value[i] - '0');
    }
    *number = value[0] == '-' ? -n : n;
    return true;
}

static void read_id(struct redis_client *client, const char *value, size_t length)
{
    int64_t id;
    if (!read_number(value, length, &id) || id < 0)
        return;
    client->session->id = (uint64_t)id;
    client->has_id = true;
}

/* "10.0.0.5:41234", "[::1]:41234", "/run/redis.sock:0" (a unix socket). */
static void read_addr(struct redis_client *client, const char *value, size_t length)
{
    char address[64];
    int64_t port;
    const char *colon = length ? memrchr(value, ':', length) : NULL;
    if (length && value[0] == '/')
        client->session->client.family = ENDPOINT_UNIX;
    if (!colon || value[0] == '/')
        return;
    size_t host = (size_t)(colon - value);
    if (!read_number(colon + 1, length - host - 1, &port) || port < 0 || port > 65535)
        return;
    if (host >= 2 && value[0] == '[' && value[host - 1] == ']') {
        value++;
        host -= 2;
    }
    if (host >= sizeof address)
        return;
    memcpy(address, value, host);
    address[host] = 0;
    (void)endpoint_parse(&client->session->client, address, (uint16_t)port);
}

static void read_name(struct redis_client *client, const char *value, size_t length)
{
    struct session *session = client->session;
    session_copy_text(session->application_name, sizeof session->application_name, value, length);
}

static void read_idle(struct redis_client *client, const char *value, size_t length)
{
    int64_t seconds;
    if (read_number(value, length, &seconds) && seconds >= 0 && seconds < INT64_MAX / US_PER_SECOND)
        client->session->state_age_us = seconds * US_PER_SECOND;
}

static void read_flags(struct redis_client *client, const char *value, size_t length)
{
    session_copy_text(client->flags, sizeof client->flags, value, length);
}

/* -1: none; else how many commands are queued since MULTI. */
static void read_multi(struct redis_client *client, const char *value, size_t length)
{
    int64_t multi;
    client->has_multi = read_number(value, length, &multi) && multi >= 0;
}

static void read_pending(struct redis_client *client, const char *value, size_t length)
{
    int64_t bytes;
    client->pending |= read_number(value, length, &bytes) && bytes > 0;
}

static void read_cmd(struct redis_client *client, const char *value, size_t length)
{
    bool never = length == 4 && memcmp(value, "NULL", 4) == 0; /* it has executed none */
    if (client->want_text && !never)
        session_copy_text(client->session->query, sizeof client->session->query, value, length);
}

static void read_field(struct redis_client *client, const char *field, size_t length)
{
    static const struct {
        const char *key;
        void (*read)(struct redis_client *, const char *, size_t);
    } keys[] = {{"id", read_id},       {"addr", read_addr},    {"name", read_name},   {"idle", read_idle},
                {"flags", read_flags}, {"multi", read_multi},  {"qbuf", read_pending}, {"obl", read_pending},
                {"oll", read_pending}, {"cmd", read_cmd}};
    const char *equals = length ? memchr(field, '=', length) : NULL;
    if (!equals)
        return;
    size_t key = (size_t)(equals - field);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strlen(keys[i].key) == key && memcmp(keys[i].key, field, key) == 0)
            keys[i].read(client, equals + 1, length - key - 1);
}

/* Links to other servers and monitors first: they are no users of the app's. A transaction counts before what else the
 * client may be (with RESP3 a subscriber may have one). No flags at all: nothing is known. */
static uint8_t redis_state(const struct redis_client *client)
{
    static const struct { char flag; uint8_t state; } before[] = {
        {'S', SESSION_REPLICATION}, {'M', SESSION_REPLICATION}, {'O', SESSION_MONITORING}};
    if (!*client->flags)
        return SESSION_UNKNOWN;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (strchr(client->flags, before[i].flag))
            return before[i].state;
    if (client->has_multi)
        return SESSION_IN_TRANSACTION;
    if (strchr(client->flags, 'b'))
        return SESSION_BLOCKED;
    if (strchr(client->flags, 'P'))
        return SESSION_SUBSCRIBED;
    return client->pending ? SESSION_ACTIVE : SESSION_IDLE;
}

bool redis_read_client(struct session *session, const char *line, size_t length, bool want_text)
{
    struct redis_client client = {.session = session, .want_text = want_text};
    const char *end = line + length;
    while (line < end) {
        const char *space = memchr(line, ' ', (size_t)(end - line));
        size_t field = (size_t)((space ? space : end) - line);
        read_field(&client, line, field);
        line += field + (space != NULL);
    }
    session->state = redis_state(&client);
    return client.has_id;
}

long redis_read_client_list(struct session_table *table, const char *text, size_t length, bool want_text)
{
    const char *end = text + length;
    long clients = 0;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((newline ? newline : end) - text);
        struct session *session = session_table_add(table);
        if (!session)
            return -1;
        if (redis_read_client(session, text, line, want_text))
            clients++;
        else
            table->count--;
        text += line + (newline != NULL);
    }
    return clients;
}
