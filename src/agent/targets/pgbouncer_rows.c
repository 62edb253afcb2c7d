/* PgBouncer's rows: see agent/targets/pgbouncer_rows.h. `waiting` is in flight though it has no link. */
#include "agent/targets/pgbouncer_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"

static enum pool_mode pool_mode_parse(const char *mode)
{
    if (!mode)
        return POOL_MODE_UNKNOWN;
    if (strcmp(mode, "session") == 0)
        return POOL_MODE_SESSION;
    bool by_transaction = strcmp(mode, "transaction") == 0 || strcmp(mode, "statement") == 0;
    return by_transaction ? POOL_MODE_TRANSACTION : POOL_MODE_UNKNOWN;
}

static int pool_list_grow(struct pool_list *list)
{
    size_t room = list->room ? list->room * 2 : 16;
    struct pool *pools = reallocarray(list->pools, room, sizeof *pools);
    if (!pools)
        return -1;
    list->pools = pools;
    list->room = room;
    return 0;
}

int pool_list_add(struct pool_list *list, const char *database, const char *user, const char *mode)
{
    if (list->count == list->room && pool_list_grow(list) < 0)
        return -1;
    struct pool *pool = &list->pools[list->count++];
    text_copy(pool->database, sizeof pool->database, database ? database : "");
    text_copy(pool->user, sizeof pool->user, user ? user : "");
    pool->mode = pool_mode_parse(mode);
    return 0;
}

enum pool_mode pool_list_mode(const struct pool_list *list, const char *database, const char *user)
{
    const struct pool *first = NULL;
    bool differ = false;
    for (size_t i = 0; i < list->count; i++) {
        const struct pool *pool = &list->pools[i];
        if (strcmp(pool->database, database) != 0)
            continue;
        if (strcmp(pool->user, user) == 0)
            return pool->mode;
        first = first ? first : pool;
        differ |= first->mode != pool->mode;
    }
    return first && !differ ? first->mode : POOL_MODE_UNKNOWN;
}

void pool_list_finish(struct pool_list *list)
{
    free(list->pools);
    *list = (struct pool_list){0};
}

uint64_t pgbouncer_pointer(const char *text)
{
    return text ? strtoull(text, NULL, 16) : 0;
}

static struct endpoint pgbouncer_address(const char *addr, const char *port)
{
    struct endpoint client = {0};
    unsigned long number = port ? strtoul(port, NULL, 10) : 0;
    if (addr && strncmp(addr, "unix", 4) == 0)
        client.family = ENDPOINT_UNIX;
    else if (addr && number <= 65535)
        (void)endpoint_parse(&client, addr, (uint16_t)number);
    return client;
}

/* "active", "waiting", "active_cancel_req", "waiting_cancel_req"; newer ones have "idle". */
static uint8_t pgbouncer_state(const char *state, bool linked, enum pool_mode mode)
{
    if (!state)
        return SESSION_UNKNOWN;
    if (strstr(state, "cancel"))
        return SESSION_ACTIVE;
    if (strncmp(state, "waiting", 7) == 0)
        return SESSION_WAITING;
    if (!linked)
        return SESSION_IDLE;
    return mode == POOL_MODE_TRANSACTION ? SESSION_ACTIVE : SESSION_UNKNOWN;
}

void pgbouncer_read_client(struct session *session, const struct pgbouncer_client *client, enum pool_mode mode,
                           uint64_t *link)
{
    const char *name = client->application_name;
    *link = pgbouncer_pointer(client->link);
    session->id = pgbouncer_pointer(client->ptr);
    session->client = pgbouncer_address(client->addr, client->port);
    session->state = pgbouncer_state(client->state, *link != 0, mode);
    session->tls = !client->tls ? 255 : *client->tls != 0;
    if (session->state == SESSION_WAITING && client->wait)
        session->state_age_us = strtoll(client->wait, NULL, 10) * US_PER_SECOND +
                                (client->wait_us ? strtoll(client->wait_us, NULL, 10) : 0);
    if (name)
        session_copy_text(session->application_name, sizeof session->application_name, name, strlen(name));
}
