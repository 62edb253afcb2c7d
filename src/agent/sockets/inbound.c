/* One look at what comes in: see agent/sockets/inbound.h. Never waits, and never asks for the connections of an app
 * that does not listen. */
#include "agent/sockets/inbound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/netlink.h"
#include "agent/sockets/owners.h"
#include "common/log.h"

struct inbound {
    struct netlink netlink;
    struct owners *listening_owners, *owners; /* each remembers the sockets of its own kind */
    struct socket_table listening, connected; /* all that the kernel showed */
    struct socket_table ours;                 /* the last answer */
    uint16_t ports[DIAG_PORTS];               /* of all that ever listened: what was accepted lives on */
    size_t port_count;
    bool refusal_said;
};

struct inbound *inbound_create(void)
{
    struct inbound *inbound = calloc(1, sizeof *inbound);
    if (!inbound)
        return NULL;
    inbound->netlink.fd = -1;
    inbound->listening_owners = owners_create();
    inbound->owners = owners_create();
    if (inbound->listening_owners && inbound->owners)
        return inbound;
    inbound_destroy(inbound);
    errno = ENOMEM;
    return NULL;
}

void inbound_destroy(struct inbound *inbound)
{
    if (!inbound)
        return;
    netlink_finish(&inbound->netlink);
    owners_destroy(inbound->listening_owners);
    owners_destroy(inbound->owners);
    socket_table_finish(&inbound->listening);
    socket_table_finish(&inbound->connected);
    socket_table_finish(&inbound->ours);
    free(inbound);
}

/* Once more when it was interrupted or broke; then an interrupted one is as good as it gets. */
static int dump_listening(struct inbound *inbound)
{
    int result = -1;
    for (int attempt = 0; attempt < 2 && result < 0; attempt++) {
        inbound->listening.count = 0;
        result = inet_diag_dump_listening(&inbound->netlink, &inbound->listening);
        if (result < 0 && netlink_is_refused(errno))
            return -1;
    }
    return result < 0 && errno != EINTR ? -1 : 0;
}

static int dump_connected(struct inbound *inbound)
{
    int result = -1;
    for (int attempt = 0; attempt < 2 && result < 0; attempt++) {
        inbound->connected.count = 0;
        result = inet_diag_dump_inbound(&inbound->netlink, inbound->ports, inbound->port_count, &inbound->connected);
    }
    return result < 0 && errno != EINTR ? -1 : 0;
}

/* Appends those that the tree holds. Returns as owners_fill(), or -1 without memory. */
static int keep_ours(struct inbound *inbound, struct owners *owners, struct socket_table *table, pid_t root,
                     pid_t except)
{
    socket_table_sort(table);
    int readable = owners_fill(owners, table, true, root, except);
    for (size_t i = 0; readable >= 0 && i < table->count; i++)
        if (table->at[i].holders && socket_table_add(&inbound->ours, &table->at[i]) < 0)
            return -1;
    return readable;
}

/* Returns how many more there are than can be asked for. */
static size_t add_ports(struct inbound *inbound)
{
    size_t left_out = 0;
    for (size_t i = 0; i < inbound->ours.count; i++) {
        uint16_t port = inbound->ours.at[i].local.port;
        size_t known = 0;
        while (known < inbound->port_count && inbound->ports[known] != port)
            known++;
        if (known == DIAG_PORTS)
            left_out++;
        else if (known == inbound->port_count)
            inbound->ports[inbound->port_count++] = port;
    }
    return left_out;
}

static struct inbound_answer cannot_see(struct inbound *inbound)
{
    if (!inbound->refusal_said)
        log_warning("inbound connections cannot be seen: %s", strerror(errno));
    inbound->refusal_said = true;
    inbound->ours.count = 0;
    return (struct inbound_answer){0};
}

struct inbound_answer inbound_look(struct inbound *inbound, pid_t root, pid_t except)
{
    struct inbound_answer answer = {.sockets_seen = 1};
    inbound->ours.count = 0;
    if (dump_listening(inbound) < 0)
        return cannot_see(inbound);
    int listening = keep_ours(inbound, inbound->listening_owners, &inbound->listening, root, except);
    answer.left_out = add_ports(inbound);
    if (listening < 0 || dump_connected(inbound) < 0)
        return cannot_see(inbound);
    int connected = inbound->port_count ? keep_ours(inbound, inbound->owners, &inbound->connected, root, except) : 1;
    if (connected < 0)
        return cannot_see(inbound);
    answer.owners_seen = listening == 1 && connected == 1;
    answer.at = inbound->ours.at;
    answer.count = inbound->ours.count;
    return answer;
}
