/* AF_UNIX sockets by sock_diag(7), net/unix/diag.c: see agent/sockets/diag.h.
 * A client's socket has no name; its peer, the socket that the server accepted, bears the path it was accepted on.
 * Before it is accepted the peer has no inode: then the listening socket names the client. */
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/netlink.h"
#include "common/clock.h"

enum { UNIX_ESTABLISHED = 1, UNIX_LISTEN = 10, NAME_BYTES = 108 };

struct unix_path unix_path_of(const char *name)
{
    struct unix_path path = {.name = name};
    struct stat file;
    if (stat(name, &file) == 0 && S_ISSOCK(file.st_mode)) {
        path.inode = (uint32_t)file.st_ino;
        path.device = (uint32_t)(major(file.st_dev) << 20 | minor(file.st_dev));
    }
    return path;
}

static int16_t path_by_name(const char *name, size_t size, const struct unix_path *paths, size_t count)
{
    size = strnlen(name, size);
    for (size_t i = 0; i < count; i++)
        if (strlen(paths[i].name) == size && memcmp(paths[i].name, name, size) == 0)
            return (int16_t)i;
    return -1;
}

static int16_t path_by_file(const struct unix_diag_vfs *file, const struct unix_path *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (paths[i].inode && paths[i].inode == file->udiag_vfs_ino && paths[i].device == file->udiag_vfs_dev)
            return (int16_t)i;
    return -1;
}

struct unix_reader {
    const struct unix_path *paths;
    size_t path_count;
    struct unix_socket *socket;
};

static void read_name(const struct unix_reader *reader, const void *payload, size_t size)
{
    if (size > 0 && size <= NAME_BYTES && *(const char *)payload && reader->socket->bound_to < 0)
        reader->socket->bound_to = path_by_name(payload, size, reader->paths, reader->path_count);
}

static void read_file(const struct unix_reader *reader, const void *payload, size_t size)
{
    struct unix_diag_vfs file;
    if (size < sizeof file || reader->socket->bound_to >= 0)
        return;
    memcpy(&file, payload, sizeof file);
    reader->socket->bound_to = path_by_file(&file, reader->paths, reader->path_count);
}

static void read_peer(const struct unix_reader *reader, const void *payload, size_t size)
{
    uint32_t inode;
    if (size < sizeof inode)
        return;
    memcpy(&inode, payload, sizeof inode);
    reader->socket->fact.peer_inode = inode;
}

static void read_queues(const struct unix_reader *reader, const void *payload, size_t size)
{
    struct unix_diag_rqlen queues;
    if (size < sizeof queues)
        return;
    memcpy(&queues, payload, sizeof queues);
    reader->socket->fact.unread_bytes = queues.udiag_rqueue;
    reader->socket->fact.unacked_bytes = queues.udiag_wqueue;
}

static void read_pending(const struct unix_reader *reader, const void *payload, size_t size)
{
    reader->socket->pending = payload;
    reader->socket->pending_count = size / sizeof(uint32_t);
}

typedef void read_attribute_fn(const struct unix_reader *reader, const void *payload, size_t size);
static read_attribute_fn *const attributes[] = {
    [UNIX_DIAG_NAME] = read_name,
    [UNIX_DIAG_VFS] = read_file,
    [UNIX_DIAG_PEER] = read_peer,
    [UNIX_DIAG_ICONS] = read_pending,
    [UNIX_DIAG_RQLEN] = read_queues,
};

static void read_fixed_part(struct socket_fact *fact, const struct unix_diag_msg *diag)
{
    *fact = socket_fact_none();
    fact->inode = diag->udiag_ino;
    fact->local.family = fact->remote.family = ENDPOINT_UNIX;
    fact->key.family = AF_UNIX;
    memcpy(fact->key.cookie, diag->udiag_cookie, sizeof fact->key.cookie);
    fact->looked_at_us = clock_now_us();
}

bool unix_diag_read(const struct nlmsghdr *message, const struct unix_path *paths, size_t path_count,
                    struct unix_socket *unix_socket)
{
    struct unix_diag_msg diag;
    unsigned type;
    size_t size;
    const void *payload;
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_HDRLEN + sizeof diag)
        return false;
    memcpy(&diag, (const char *)message + NLMSG_HDRLEN, sizeof diag);
    if (diag.udiag_family != AF_UNIX || diag.udiag_type != SOCK_STREAM || diag.udiag_ino == 0)
        return false;
    *unix_socket = (struct unix_socket){.bound_to = -1};
    read_fixed_part(&unix_socket->fact, &diag);
    struct unix_reader reader = {paths, path_count, unix_socket};
    struct netlink_attribute walk = netlink_attributes(message, sizeof diag);
    while ((payload = netlink_attribute_next(&walk, &type, &size)))
        if (type < sizeof attributes / sizeof *attributes && attributes[type])
            attributes[type](&reader, payload, size);
    return true;
}

struct unix_question {
    struct nlmsghdr header;
    struct unix_diag_req request;
};

static struct unix_question unix_question(uint16_t flags, uint32_t states)
{
    return (struct unix_question){
        .header = {.nlmsg_len = sizeof(struct unix_question),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | flags},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = states,
                    .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
                                  UDIAG_SHOW_RQLEN},
    };
}

struct unix_collected {
    struct unix_path paths[DIAG_PATHS];
    size_t path_count;
    struct socket_table clients, servers; /* unbound ones; bound ones, `path` says to which */
    struct socket_table pending;          /* clients that a listening one named; only inode and path */
    int error;
};

static void collect_pending(struct unix_collected *collected, const struct unix_socket *listening)
{
    struct socket_fact client = socket_fact_none();
    uint32_t inode;
    client.path = listening->bound_to;
    for (size_t i = 0; i < listening->pending_count; i++) {
        memcpy(&inode, listening->pending + i * sizeof inode, sizeof inode);
        client.inode = inode;
        if (socket_table_add(&collected->pending, &client) < 0)
            collected->error = errno;
    }
}

static void collect(void *context, const struct nlmsghdr *message)
{
    struct unix_collected *collected = context;
    struct unix_socket found;
    if (!unix_diag_read(message, collected->paths, collected->path_count, &found))
        return;
    found.fact.path = found.bound_to;
    if (found.bound_to >= 0)
        collect_pending(collected, &found);
    if (socket_table_add(found.bound_to < 0 ? &collected->clients : &collected->servers, &found.fact) < 0)
        collected->error = errno;
}

/* The path that a client is connected to; -1: to none of them. */
static int16_t path_of_client(const struct unix_collected *collected, const struct socket_table *known,
                              const struct socket_fact *client)
{
    const struct socket_fact *peer = NULL;
    if (client->peer_inode)
        peer = socket_table_find(&collected->servers, client->peer_inode);
    if (!peer)
        peer = socket_table_find(&collected->pending, client->inode);
    if (peer)
        return peer->path;
    const struct socket_fact *before = socket_table_find(known, client->inode);
    if (before && before->path >= 0 && memcmp(before->key.cookie, client->key.cookie, sizeof client->key.cookie) == 0)
        return before->path;
    return -1;
}

static int add_clients(const struct unix_collected *collected, const struct socket_table *known,
                       struct socket_table *table)
{
    for (size_t i = 0; i < collected->clients.count; i++) {
        struct socket_fact client = collected->clients.at[i];
        client.path = path_of_client(collected, known, &client);
        if (client.path >= 0 && socket_table_add(table, &client) < 0)
            return -1;
    }
    return 0;
}

int unix_diag_dump(struct netlink *netlink, const char *const *paths, size_t path_count,
                   const struct socket_table *known, struct socket_table *table)
{
    struct unix_question question = unix_question(NLM_F_DUMP, 1u << UNIX_ESTABLISHED | 1u << UNIX_LISTEN);
    struct unix_collected collected = {.path_count = path_count < DIAG_PATHS ? path_count : DIAG_PATHS};
    if (path_count == 0)
        return 0;
    for (size_t i = 0; i < collected.path_count; i++)
        collected.paths[i] = unix_path_of(paths[i]);
    int result = netlink_ask(netlink, &question.header, collect, &collected);
    socket_table_sort(&collected.servers);
    socket_table_sort(&collected.pending);
    if (result == 0 && collected.error) {
        errno = collected.error;
        result = -1;
    }
    if (result == 0)
        result = add_clients(&collected, known, table);
    socket_table_finish(&collected.clients);
    socket_table_finish(&collected.servers);
    socket_table_finish(&collected.pending);
    return result;
}

struct one_answer {
    struct unix_socket socket;
    bool found;
};

static void take_one(void *context, const struct nlmsghdr *message)
{
    struct one_answer *answer = context;
    answer->found |= unix_diag_read(message, NULL, 0, &answer->socket);
}

int unix_diag_ask(struct netlink *netlink, const struct socket_fact *known, struct socket_fact *fact)
{
    struct unix_question question = unix_question(0, 1u << UNIX_ESTABLISHED);
    struct one_answer answer = {.found = false};
    question.request.udiag_ino = (uint32_t)known->inode;
    memcpy(question.request.udiag_cookie, known->key.cookie, sizeof question.request.udiag_cookie);
    if (netlink_ask(netlink, &question.header, take_one, &answer) < 0)
        return -1;
    errno = ENOENT;
    if (!answer.found)
        return -1;
    *fact = answer.socket.fact;
    fact->path = known->path;
    return 0;
}
