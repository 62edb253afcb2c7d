/* A server that says what the test wants it to say, in Redis' protocol, on the test's own loop. */
#ifndef TESTS_FAKE_REDIS_H
#define TESTS_FAKE_REDIS_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FAKE_CONNECTIONS = 16 };

struct fake_redis {
    struct ev_loop *loop;
    int listener, port;
    ev_io accept;
    struct fake_connection {
        struct fake_redis *server;
        ev_io io;
        int fd;
        size_t length;
        char bytes[4096];
    } connections[FAKE_CONNECTIONS];
    int accepted, lists, kills;
    int lists_before_kill;   /* how many had been asked for when the last CLIENT KILL came */
    bool silent;             /* reads, and answers nothing from now on */
    bool silent_lists;       /* answers all but CLIENT LIST */
    bool hang_up_at_list;    /* closes instead of answering CLIENT LIST */
    bool kill_refused;
    bool kill_misses;        /* there is no such client */
    bool hang_up_at_kill;    /* closes, once, instead of answering CLIENT KILL */
    const char *auth_error;  /* the answer to AUTH; NULL: OK */
    const char *list;        /* CLIENT LIST's answer without our own line */
    bool own_line;           /* with a line for the agent's own connection, id 99 */
};

static inline void fake_close(struct fake_connection *c)
{
    if (c->fd < 0)
        return;
    ev_io_stop(c->server->loop, &c->io);
    close(c->fd);
    c->fd = -1;
}

/* To a client that may have left. */
static inline void fake_say(struct fake_connection *c, const char *bytes)
{
    ssize_t sent = send(c->fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    ck_assert(sent == (ssize_t)strlen(bytes) || errno == EPIPE || errno == ECONNRESET);
}

static inline void fake_say_list(struct fake_connection *c)
{
    char own[128] = "", bulk[4096];
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    struct fake_redis *s = c->server;
    getpeername(c->fd, (struct sockaddr *)&peer, &size);
    if (s->own_line)
        snprintf(own, sizeof own, "id=99 addr=127.0.0.1:%u name=agent flags=N\n", ntohs(peer.sin_port));
    const char *list = s->list ? s->list : "";
    snprintf(bulk, sizeof bulk, "$%zu\r\n%s%s\r\n", strlen(list) + strlen(own), list, own);
    fake_say(c, bulk);
}

static inline void fake_command(struct fake_connection *c, const char *name, const char *sub)
{
    struct fake_redis *s = c->server;
    bool client = strcmp(name, "CLIENT") == 0, list = client && strcmp(sub, "LIST") == 0;
    s->lists += list;
    if (client && strcmp(sub, "KILL") == 0) {
        s->kills++;
        s->lists_before_kill = s->lists;
    }
    if (list && s->hang_up_at_list)
        fake_close(c);
    else if (client && strcmp(sub, "KILL") == 0 && s->hang_up_at_kill) {
        s->hang_up_at_kill = false;
        fake_close(c);
    }
    else if (s->silent || (list && s->silent_lists))
        return;
    else if (list)
        fake_say_list(c);
    else if (client && strcmp(sub, "ID") == 0)
        fake_say(c, ":99\r\n");
    else if (client && strcmp(sub, "KILL") == 0)
        fake_say(c, s->kill_refused ? "-NOPERM no kill\r\n" : s->kill_misses ? ":0\r\n" : ":1\r\n");
    else if (strcmp(name, "AUTH") == 0 && s->auth_error)
        fake_say(c, s->auth_error);
    else if (strcmp(name, "CONFIG") == 0)
        fake_say(c, "*2\r\n$10\r\nmaxclients\r\n$3\r\n500\r\n");
    else
        fake_say(c, "+OK\r\n");
}

/* Takes one whole "*n $len bytes …" command from the front; false: there is none yet. */
static inline bool fake_take_command(struct fake_connection *c)
{
    char words[8][256] = {""};
    char *at = c->bytes, *end = c->bytes + c->length;
    if (c->length == 0 || !memchr(at, '\n', c->length))
        return false;
    int count = atoi(at + 1);
    at = strchr(at, '\n') + 1;
    for (int i = 0; i < count; i++) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = newline ? strtoul(at + 1, NULL, 10) : 0;
        if (!newline || newline + 1 + length + 2 > end)
            return false;
        if (i < 8)
            snprintf(words[i], sizeof words[i], "%.*s", (int)length, newline + 1);
        at = newline + 1 + length + 2;
    }
    c->length = (size_t)(end - at);
    memmove(c->bytes, at, c->length);
    fake_command(c, words[0], words[1]);
    return c->fd >= 0;
}

static inline void fake_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct fake_connection *c = watcher->data;
    (void)loop, (void)events;
    ssize_t n = recv(c->fd, c->bytes + c->length, sizeof c->bytes - 1 - c->length, 0);
    if (n <= 0) {
        fake_close(c);
        return;
    }
    c->length += (size_t)n;
    c->bytes[c->length] = 0;
    while (fake_take_command(c))
        ;
}

static inline void fake_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct fake_redis *s = watcher->data;
    (void)loop, (void)events;
    ck_assert_int_lt(s->accepted, FAKE_CONNECTIONS);
    struct fake_connection *c = &s->connections[s->accepted++];
    c->server = s;
    c->fd = accept(s->listener, NULL, NULL);
    ck_assert_int_ge(c->fd, 0);
    ev_io_init(&c->io, fake_readable, c->fd, EV_READ);
    c->io.data = c;
    ev_io_start(s->loop, &c->io);
}

static inline void fake_redis_start(struct fake_redis *s, struct ev_loop *loop)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *s = (struct fake_redis){.loop = loop, .own_line = true};
    for (int i = 0; i < FAKE_CONNECTIONS; i++)
        s->connections[i].fd = -1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(s->listener, 16), 0);
    ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    ev_io_init(&s->accept, fake_accept, s->listener, EV_READ);
    s->accept.data = s;
    ev_io_start(loop, &s->accept);
}

static inline void fake_redis_hang_up(struct fake_redis *s)
{
    for (int i = 0; i < FAKE_CONNECTIONS; i++)
        if (s->connections[i].fd >= 0)
            fake_close(&s->connections[i]);
}

static inline void fake_redis_stop(struct fake_redis *s)
{
    fake_redis_hang_up(s);
    ev_io_stop(s->loop, &s->accept);
    close(s->listener);
}

#endif
