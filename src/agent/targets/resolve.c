/* Names to addresses: see agent/targets/resolve.h. This file must never call the C library's resolver, and never calls
 * back from within resolve_start(): c-ares answers at once from /etc/hosts, so answers go through the loop. */
#include "agent/targets/resolve.h"

#include <ares.h>
#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { RESOLVE_ADDRESSES = 16, RESOLVE_SOCKETS = 16, RESOLVE_TIMEOUT_MS = 1000, RESOLVE_TRIES = 3 };

struct resolve {
    struct ev_loop *loop;
    ares_channel channel;
    bool has_channel, finished;
    uint16_t port;
    resolve_done_fn *done;
    void *context;
    ev_io sockets[RESOLVE_SOCKETS]; /* those not in use have fd -1 */
    ev_timer timer;                 /* c-ares' own retries */
    ev_timer deliver;               /* never started, only fed: the answer on its way through the loop */
    struct endpoint addresses[RESOLVE_ADDRESSES];
    size_t count;
    const char *why;
};

static void resolve_destroy(struct resolve *r)
{
    if (r->has_channel) {
        r->finished = true; /* ares_destroy() calls back once more */
        ares_destroy(r->channel);
    }
    for (size_t i = 0; i < RESOLVE_SOCKETS; i++)
        ev_io_stop(r->loop, &r->sockets[i]);
    ev_timer_stop(r->loop, &r->timer);
    ev_clear_pending(r->loop, &r->deliver);
    free(r);
}

static void resolve_deliver(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    struct resolve *r = watcher->data;
    struct endpoint addresses[RESOLVE_ADDRESSES];
    size_t count = r->count;
    const char *why = r->why;
    resolve_done_fn *done = r->done;
    void *context = r->context;
    memcpy(addresses, r->addresses, sizeof addresses);
    resolve_destroy(r);
    done(context, addresses, count, why);
}

static bool resolve_knows(const struct resolve *r, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < r->count; i++)
        if (endpoint_equal(&r->addresses[i], endpoint))
            return true;
    return false;
}

static void resolve_add(struct resolve *r, const struct sockaddr *address)
{
    const void *bytes = address->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return;
    struct endpoint endpoint = endpoint_from_bytes(address->sa_family, bytes, r->port);
    if (r->count < RESOLVE_ADDRESSES && !resolve_knows(r, &endpoint))
        r->addresses[r->count++] = endpoint;
}

static void resolve_answered(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct resolve *r = context;
    (void)timeouts;
    if (!r->finished) {
        for (struct ares_addrinfo_node *node = info ? info->nodes : NULL; node; node = node->ai_next)
            resolve_add(r, node->ai_addr);
        r->why = r->count ? NULL : status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status);
        r->finished = true;
        ev_feed_event(r->loop, &r->deliver, EV_CUSTOM);
    }
    if (info)
        ares_freeaddrinfo(info);
}

static void resolve_arm_timer(struct resolve *r)
{
    struct timeval room;
    struct timeval *left = r->finished ? NULL : ares_timeout(r->channel, NULL, &room);
    ev_timer_stop(r->loop, &r->timer);
    if (!left)
        return;
    ev_timer_set(&r->timer, (double)left->tv_sec + (double)left->tv_usec / 1e6 + 0.001, 0.);
    ev_timer_start(r->loop, &r->timer);
}

static void resolve_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct resolve *r = watcher->data;
    (void)loop;
    ares_process_fd(r->channel, events & EV_READ ? watcher->fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? watcher->fd : ARES_SOCKET_BAD);
    resolve_arm_timer(r);
}

static void resolve_timed_out(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct resolve *r = watcher->data;
    (void)loop, (void)events;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolve_arm_timer(r);
}

static ev_io *resolve_socket(struct resolve *r, int fd)
{
    for (size_t i = 0; i < RESOLVE_SOCKETS; i++)
        if (r->sockets[i].fd == fd)
            return &r->sockets[i];
    return NULL;
}

/* c-ares opened, closed or wants to wait for a socket. One for which there is no watcher runs into its time-out. */
static void resolve_watch(void *context, ares_socket_t fd, int readable, int writable)
{
    struct resolve *r = context;
    ev_io *watcher = resolve_socket(r, fd);
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    if (!watcher)
        watcher = events ? resolve_socket(r, -1) : NULL;
    if (!watcher)
        return;
    ev_io_stop(r->loop, watcher);
    ev_io_set(watcher, events ? fd : -1, events);
    if (events)
        ev_io_start(r->loop, watcher);
}

static int resolve_open_channel(struct resolve *r)
{
    struct ares_options options = {.timeout = RESOLVE_TIMEOUT_MS, .tries = RESOLVE_TRIES,
                                   .sock_state_cb = resolve_watch, .sock_state_cb_data = r};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (ares_init_options(&r->channel, &options, mask) != ARES_SUCCESS)
        return -1;
    r->has_channel = true;
    return 0;
}

struct resolve *resolve_start(struct ev_loop *loop, const char *host, uint16_t port, resolve_done_fn *done,
                              void *context)
{
    struct resolve *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->loop = loop;
    r->port = port;
    r->done = done;
    r->context = context;
    for (size_t i = 0; i < RESOLVE_SOCKETS; i++) {
        ev_io_init(&r->sockets[i], resolve_ready, -1, 0);
        r->sockets[i].data = r;
    }
    ev_timer_init(&r->timer, resolve_timed_out, 0., 0.);
    ev_timer_init(&r->deliver, resolve_deliver, 0., 0.);
    r->timer.data = r->deliver.data = r;
    if (resolve_open_channel(r) < 0) {
        resolve_destroy(r);
        errno = ENOMEM;
        return NULL;
    }
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(r->channel, host, NULL, &hints, resolve_answered, r);
    resolve_arm_timer(r);
    return r;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve)
        resolve_destroy(resolve);
}
