/* The agent's end of the channel: see agent/link.h. Never waits, and never hands on a message that is out of order: a
 * supervisor that says something else than promised is not one to report to. */
#include "agent/link.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/fd.h"
#include "wire/channel.h"

enum { PACKETS_A_TURN = 32 };

/* What has been heard: SETTINGS, then TARGET × n, then READY, then questions. */
enum stage { STAGE_NEW, STAGE_SET, STAGE_READY, STAGES };

struct packet {
    STAILQ_ENTRY(packet) next;
    unsigned char bytes[];
};

struct link {
    struct ev_loop *loop;
    struct link_handlers handlers;
    int fd;
    ev_io readable, writable;
    ev_timer stuck, failing;
    enum stage stage;
    unsigned targets;
    STAILQ_HEAD(, packet) queue;
    size_t queued_bytes;
    int failed;
    char why[128];
    union channel_packet packet;
};

struct turn {
    bool allowed;
    enum stage next;
};
static const struct turn order[STAGES][MESSAGE_KINDS] = {
    [STAGE_NEW] = {[MESSAGE_SETTINGS] = {true, STAGE_SET}},
    [STAGE_SET] = {[MESSAGE_TARGET] = {true, STAGE_SET}, [MESSAGE_READY] = {true, STAGE_READY}},
    [STAGE_READY] = {[MESSAGE_LOOK] = {true, STAGE_READY}, [MESSAGE_END] = {true, STAGE_READY},
                     [MESSAGE_PREDECESSOR] = {true, STAGE_READY}},
};
_Static_assert(sizeof order / sizeof *order == STAGES, "a row for each stage");

static void drop_first(struct link *link)
{
    struct packet *first = STAILQ_FIRST(&link->queue);
    STAILQ_REMOVE_HEAD(&link->queue, next);
    link->queued_bytes -= ((const struct message_header *)first->bytes)->size;
    free(first);
}

static void stop(struct link *link)
{
    ev_io_stop(link->loop, &link->readable);
    ev_io_stop(link->loop, &link->writable);
    ev_timer_stop(link->loop, &link->stuck);
}

/* From here on nothing is received or sent. `lost` is called from the loop, so that who sends is not called back. */
static void fail(struct link *link, int failed, const char *why)
{
    if (ev_is_active(&link->failing) || link->fd < 0)
        return;
    stop(link);
    link->fd = -1;
    link->failed = failed;
    snprintf(link->why, sizeof link->why, "%s", why);
    ev_timer_set(&link->failing, 0., 0.);
    ev_timer_start(link->loop, &link->failing);
}

static void failing(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct link *link = watcher->data;
    (void)loop, (void)events;
    link->handlers.lost(link->handlers.context, link->failed, link->why);
}

static void fail_out_of_order(struct link *link, const struct message_header *header)
{
    char why[128];
    snprintf(why, sizeof why, "%s came out of order", message_kind_name(header->kind));
    fail(link, 1, why);
}

static bool index_is_next(struct link *link, const struct message_header *header)
{
    if (header->kind != MESSAGE_TARGET)
        return true;
    return ((const struct message_target *)(const void *)header)->index == link->targets++;
}

static void take_message(struct link *link, const struct message_header *header)
{
    const struct turn *turn = &order[link->stage][header->kind];
    if (!turn->allowed || !index_is_next(link, header)) {
        fail_out_of_order(link, header);
        return;
    }
    link->stage = turn->next;
    if (link->handlers.of[header->kind])
        link->handlers.of[header->kind](link->handlers.context, header);
}

static void readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct link *link = watcher->data;
    (void)loop, (void)events;
    for (int i = 0; i < PACKETS_A_TURN && link->fd >= 0; i++) {
        long size = channel_receive(link->fd, &link->packet);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size == 0 || (size < 0 && errno == ECONNRESET))
            fail(link, 0, "the supervisor has ended");
        else if (size < 0)
            fail(link, 1, errno == EBADMSG ? "what came is no message" : strerror(errno));
        else
            take_message(link, (const struct message_header *)(const void *)link->packet.bytes);
    }
}

static int send_now(struct link *link, const void *message)
{
    if (channel_send(link->fd, message) == 0)
        return 0;
    if (errno == EPIPE || errno == ECONNRESET)
        fail(link, 0, "the supervisor has ended");
    else if (errno != EAGAIN && errno != ENOBUFS)
        fail(link, 1, strerror(errno));
    return -1;
}

static void writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct link *link = watcher->data;
    (void)events;
    while (!STAILQ_EMPTY(&link->queue)) {
        if (send_now(link, STAILQ_FIRST(&link->queue)->bytes) < 0)
            return;
        drop_first(link);
        ev_timer_again(loop, &link->stuck);
    }
    ev_io_stop(loop, &link->writable);
    ev_timer_stop(loop, &link->stuck);
}

static void stuck(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    fail(watcher->data, 1, "the supervisor does not read");
}

static void enqueue(struct link *link, const void *message)
{
    size_t size = ((const struct message_header *)message)->size;
    struct packet *packet = link->queued_bytes + size > LINK_QUEUE_BYTES ? NULL : malloc(sizeof *packet + size);
    if (!packet) {
        fail(link, 1, "the supervisor does not read, and there is no more room for what it should");
        return;
    }
    memcpy(packet->bytes, message, size);
    STAILQ_INSERT_TAIL(&link->queue, packet, next);
    link->queued_bytes += size;
    if (ev_is_active(&link->writable))
        return;
    ev_io_start(link->loop, &link->writable);
    ev_timer_again(link->loop, &link->stuck);
}

void link_send(struct link *link, const void *message)
{
    if (link->fd < 0)
        return;
    if (STAILQ_EMPTY(&link->queue) && send_now(link, message) == 0)
        return;
    if (link->fd >= 0)
        enqueue(link, message);
}

struct link *link_create(struct ev_loop *loop, int fd, double stuck_seconds, const struct link_handlers *handlers)
{
    if (fd_set_nonblocking(fd) < 0)
        return NULL;
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->loop = loop;
    link->fd = fd;
    link->handlers = *handlers;
    STAILQ_INIT(&link->queue);
    ev_io_init(&link->readable, readable, fd, EV_READ);
    ev_io_init(&link->writable, writable, fd, EV_WRITE);
    ev_timer_init(&link->stuck, stuck, 0., stuck_seconds);
    ev_timer_init(&link->failing, failing, 0., 0.);
    link->readable.data = link->writable.data = link->stuck.data = link->failing.data = link;
    ev_io_start(loop, &link->readable);
    return link;
}

void link_destroy(struct link *link)
{
    if (!link)
        return;
    stop(link);
    ev_timer_stop(link->loop, &link->failing);
    while (!STAILQ_EMPTY(&link->queue))
        drop_first(link);
    free(link);
}
