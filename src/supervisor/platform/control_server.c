/* The control socket's clients. Each one is in one state: it connected and has to speak within a second, or it waits
 * for the end of a drain. Nothing a client does may block the loop or hold anything for long. */
#include "supervisor/platform/control_server.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/log.h"
#include "common/text.h"
#include "supervisor/platform/control_place.h"

enum {
    WAITING_MOST = 16,          /* drains that wait for their end */
    CLIENTS = WAITING_MOST + 4  /* `status` and `resume` find room beside them */
};
static const double SPEAK_WITHIN_S = 1.0;
static const double ACCEPT_PAUSE_S = 0.5; /* when there is no descriptor for a client */

enum client_state { CLIENT_FREE, CLIENT_SILENT, CLIENT_WAITING };

struct control_client {
    struct control_server *server;
    enum client_state state;
    int fd;
    ev_io io;
    ev_timer limit; /* SILENT only */
};

struct control_server {
    struct ev_loop *loop;
    struct control_server_user user;
    struct control_place place;
    ev_io accepting;
    ev_timer pause;
    struct control_client clients[CLIENTS];
};

/* ---- one client ---- */

static void drop_client(struct control_client *client)
{
    ev_io_stop(client->server->loop, &client->io);
    ev_timer_stop(client->server->loop, &client->limit);
    fd_close(&client->fd);
    client->state = CLIENT_FREE;
}

static void fill_reply(struct control_reply *reply, enum control_reply_kind kind, int exit_code,
                       const struct control_state *state, const char *text)
{
    *reply = (struct control_reply){
        .magic = CONTROL_MAGIC, .kind = (uint16_t)kind, .exit_code = (uint16_t)exit_code, .state = *state};
    reply->state.phase[sizeof reply->state.phase - 1] = 0;
    reply->state.instance[sizeof reply->state.instance - 1] = 0;
    struct text escaped = text_in(reply->text, sizeof reply->text);
    text_add_escaped(&escaped, text, strlen(text));
}

/* Whoever does not read is dropped: -1. */
static int send_reply(int fd, const struct control_reply *reply)
{
    return send(fd, reply, sizeof *reply, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof *reply ? 0 : -1;
}

static void finish_client(struct control_client *client, const struct control_reply *reply)
{
    send_reply(client->fd, reply);
    drop_client(client);
}

static void refuse(struct control_client *client, const char *text)
{
    struct control_state unknown = {.app_pid = -1, .handles = -1, .in_flight = -1, .since_stop_us = -1, .left_us = -1};
    struct control_reply reply;
    fill_reply(&reply, CONTROL_REFUSED, 1, &unknown, text);
    finish_client(client, &reply);
}

/* What the user made of the request: the end, or a place among those that wait. */
static void answer_client(struct control_client *client, const struct control_answer *answer)
{
    enum control_reply_kind end = answer->refused ? CONTROL_REFUSED : CONTROL_DONE;
    struct control_reply reply;
    fill_reply(&reply, answer->waits ? CONTROL_PROGRESS : end, answer->exit_code, &answer->state, answer->text);
    if (!answer->waits)
        finish_client(client, &reply);
    else if (send_reply(client->fd, &reply) == -1)
        drop_client(client);
    else
        client->state = CLIENT_WAITING;
}

/* The callback may itself have told this client the end; then there is nothing to answer any more. A drain that finds
 * no place to wait was asked for all the same, and with `--now` it has sped up the others. */
static void ask_user(struct control_client *client, const struct control_request *request)
{
    struct control_server *server = client->server;
    struct control_answer answer = {0};
    ev_timer_stop(server->loop, &client->limit);
    client->state = request->verb == CONTROL_DRAIN ? CLIENT_WAITING : CLIENT_SILENT;
    server->user.request(server->user.context, request->verb, request->flags & CONTROL_NOW, &answer);
    if (client->state == CLIENT_FREE)
        return;
    answer.text[sizeof answer.text - 1] = 0;
    if (answer.waits && control_server_waiting(server) > WAITING_MOST)
        refuse(client, "a drain is on, and too many wait for its end already: ask `lastcall status`");
    else
        answer_client(client, &answer);
}

static void answer_request(struct control_client *client, const struct control_request *request, size_t size)
{
    if (size != sizeof *request || request->magic != CONTROL_MAGIC)
        refuse(client, "this is not how lastcall is asked");
    else if (request->version != CONTROL_VERSION)
        refuse(client, "this lastcall speaks another version of the protocol: use the same build for both");
    else if (request->verb < CONTROL_DRAIN || request->verb > CONTROL_STATUS)
        refuse(client, "this lastcall does not know that verb");
    else
        ask_user(client, request);
}

/* A request, the client's end, or more than one request: whoever waits has nothing more to say. */
static void client_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct control_client *client = io->data;
    struct control_request request = {0};
    (void)loop;
    (void)events;
    ssize_t size = recv(client->fd, &request, sizeof request, MSG_DONTWAIT | MSG_TRUNC);
    if (size == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0 && client->state == CLIENT_SILENT)
        answer_request(client, &request, (size_t)size);
    else
        drop_client(client);
}

static void client_silent(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    drop_client(timer->data);
}

/* ---- accepting ---- */

static bool peer_may_ask(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warning("control socket: uid %u may not ask (only our own uid and root may)", (unsigned)peer.uid);
    return false;
}

static struct control_client *free_client(struct control_server *server)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (server->clients[i].state == CLIENT_FREE)
            return &server->clients[i];
    return NULL;
}

static void take_client(struct control_client *client, int fd)
{
    struct ev_loop *loop = client->server->loop;
    client->fd = fd;
    client->state = CLIENT_SILENT;
    ev_io_set(&client->io, fd, EV_READ);
    ev_io_start(loop, &client->io);
    ev_timer_set(&client->limit, SPEAK_WITHIN_S, 0.);
    ev_timer_start(loop, &client->limit);
}

/* Without a free descriptor the listening socket stays readable: look away for a while, or the loop would spin. */
static void pause_accepting(struct control_server *server, int error)
{
    log_warning("control socket: a client cannot be accepted: %s", strerror(error));
    ev_io_stop(server->loop, &server->accepting);
    ev_timer_set(&server->pause, ACCEPT_PAUSE_S, 0.);
    ev_timer_start(server->loop, &server->pause);
}

static void pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct control_server *server = timer->data;
    (void)events;
    ev_io_start(loop, &server->accepting);
}

/* One a turn; the loop comes back for the next. */
static void accept_client(struct ev_loop *loop, ev_io *io, int events)
{
    struct control_server *server = io->data;
    (void)loop;
    (void)events;
    int fd = accept4(server->place.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        pause_accepting(server, errno);
    if (fd == -1)
        return;
    struct control_client *client = free_client(server);
    if (client && peer_may_ask(fd))
        take_client(client, fd);
    else
        fd_close(&fd);
}

/* ---- the user's side ---- */

static void open_place(struct control_server *server, const struct config *config)
{
    struct error error;
    int result = config->socket[0] ? control_place_bind(&server->place, config->socket, &error)
                                   : control_place_choose(&server->place, config->instance, &error);
    if (result == -1) {
        log_warning("no control socket: %s; `lastcall drain` and `status` will not find this one", error.text);
        return;
    }
    log_debug("control socket: %s", server->place.path);
    ev_io_set(&server->accepting, server->place.fd, EV_READ);
    ev_io_start(server->loop, &server->accepting);
}

static void init_client(struct control_client *client, struct control_server *server)
{
    client->server = server;
    client->fd = -1;
    ev_init(&client->io, client_readable);
    ev_init(&client->limit, client_silent);
    client->io.data = client->limit.data = client;
}

struct control_server *control_server_create(struct ev_loop *loop, const struct config *config,
                                             const struct control_server_user *user)
{
    struct control_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->loop = loop;
    server->user = *user;
    server->place.fd = -1;
    for (unsigned i = 0; i < CLIENTS; i++)
        init_client(&server->clients[i], server);
    ev_init(&server->accepting, accept_client);
    ev_init(&server->pause, pause_over);
    server->accepting.data = server->pause.data = server;
    open_place(server, config);
    return server;
}

void control_server_destroy(struct control_server *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < CLIENTS; i++)
        drop_client(&server->clients[i]);
    ev_timer_stop(server->loop, &server->pause);
    ev_io_stop(server->loop, &server->accepting);
    control_place_close(&server->place);
    free(server);
}

const char *control_server_path(const struct control_server *server)
{
    return server && server->place.fd != -1 ? server->place.path : NULL;
}

void control_server_progress(struct control_server *server, const struct control_state *state, const char *text)
{
    struct control_reply reply;
    if (control_server_waiting(server) == 0)
        return;
    fill_reply(&reply, CONTROL_PROGRESS, 0, state, text);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (server->clients[i].state == CLIENT_WAITING && send_reply(server->clients[i].fd, &reply) == -1)
            drop_client(&server->clients[i]);
}

void control_server_done(struct control_server *server, int exit_code, const struct control_state *state,
                         const char *text)
{
    struct control_reply reply;
    if (control_server_waiting(server) == 0)
        return;
    fill_reply(&reply, CONTROL_DONE, exit_code, state, text);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (server->clients[i].state == CLIENT_WAITING)
            finish_client(&server->clients[i], &reply);
}

unsigned control_server_waiting(const struct control_server *server)
{
    unsigned waiting = 0;
    for (unsigned i = 0; server && i < CLIENTS; i++)
        waiting += server->clients[i].state == CLIENT_WAITING;
    return waiting;
}
