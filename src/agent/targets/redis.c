/* Redis: one asynchronous hiredis connection, PING and CLIENT LIST for a look, CLIENT KILL for an end.
 *
 * Redis is one thread: when it answers the second of two questions it has read all that had come before the first; so
 * CLIENT LIST is sent only when PING was answered. hiredis frees its context by itself when the connection ends, and
 * then calls back once more for each command: callbacks of a context that is not ours any more do nothing. */
#include <ev.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <hiredis/adapters/libev.h>
#pragma GCC diagnostic pop

#include "agent/targets/params.h"
#include "agent/targets/probe.h"
#include "agent/targets/redis_client_list.h"
#include "common/text.h"

struct redis {
    struct target *target;
    redisAsyncContext *context; /* NULL: hiredis has freed it, or is about to */
    bool connected, want_text;
    uint64_t own_id;            /* 0: not known (no right to CLIENT ID) */
    int32_t client_max;
    struct session_table *into;
    size_t ending;              /* how many CLIENT KILL are asked */
    struct probe_ends ends;
};

enum { SAY = 240 };

typedef void redis_answered_fn(struct redis *, const redisReply *);

static const char *redis_unix_path(const char *params)
{
    return params_get(params, "path");
}

/* Lets go of the context before it is freed or reported as lost, so that nothing calls back into this probe. */
static void redis_drop(struct redis *r, bool free_it)
{
    redisAsyncContext *context = r->context;
    r->context = NULL;
    if (!context)
        return;
    context->data = NULL;
    if (free_it)
        redisAsyncFree(context);
}

static void redis_format_why(const char *message, size_t length, char why[SAY])
{
    struct text text = text_in(why, SAY);
    text_add_escaped(&text, message, length);
    if (length >= 6 && memcmp(message, "NOPERM", 6) == 0)
        text_add(&text, " (give the user +client|list, +client|kill, +ping)");
}

static void redis_lost(struct redis *r, const char *why)
{
    redis_drop(r, true);
    target_probe_lost(r->target, r->connected, why);
}

static void redis_refused(struct redis *r, const redisReply *reply)
{
    char why[SAY];
    redis_format_why(reply->str, (size_t)reply->len, why);
    redis_lost(r, why);
}

/* Every command's callback: `answered` is its privdata. A NULL reply: the connection ended, which is told elsewhere. */
static void redis_replied(redisAsyncContext *context, void *reply, void *answered)
{
    struct redis *r = context->data;
    redis_answered_fn *function = *(redis_answered_fn *const *)answered;
    if (r && r->context == context && reply)
        function(r, reply);
}

/* A function's address may not be a `void *` in C: what goes through hiredis is the address of a constant holding it.
 * What cannot be sent ends in the disconnect callback, or in target.c's limit. */
#define REDIS_SEND(r, function, ...) \
    do { \
        static redis_answered_fn *const answered_ = (function); \
        (void)redisAsyncCommand((r)->context, redis_replied, (void *)&answered_, __VA_ARGS__); \
    } while (0)

static void redis_read_limits(struct redis *r, const redisReply *reply)
{
    static const char key[] = "\r\nmaxclients:";
    const char *at = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, key) : NULL;
    r->client_max = at ? (int32_t)strtol(at + sizeof key - 1, NULL, 10) : -1;
}

/* The last answer of the greeting. Older than 6.2: INFO has no maxclients; refused: not known. */
static void redis_greeted(struct redis *r, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->str)
        r->client_max = (int32_t)strtol(reply->element[1]->str, NULL, 10);
    target_probe_connected(r->target);
}

static void redis_told_id(struct redis *r, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        r->own_id = (uint64_t)reply->integer;
}

static void redis_ignored(struct redis *r, const redisReply *reply)
{
    (void)r, (void)reply;
}

static void redis_authenticated(struct redis *r, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        redis_refused(r, reply);
}

/* The first answer tells whether it is a Redis that lets us in: NOAUTH, LOADING, "max number of clients reached". A
 * user without a right to PING is let in all the same. */
static void redis_first_answer(struct redis *r, const redisReply *reply)
{
    bool no_right = reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0;
    if (reply->type == REDIS_REPLY_ERROR && !no_right)
        redis_refused(r, reply);
}

static void redis_send_auth(struct redis *r)
{
    const char *params = target_params(r->target);
    const char *user = params_get(params, "user"), *password = params_get(params, "password");
    if (password && user)
        REDIS_SEND(r, redis_authenticated, "AUTH %s %s", user, password);
    else if (password)
        REDIS_SEND(r, redis_authenticated, "AUTH %s", password);
}

static void redis_greet(struct redis *r)
{
    r->client_max = -1;
    target_probe_peer(r->target, r->context->c.fd);
    redis_send_auth(r);
    REDIS_SEND(r, redis_first_answer, "PING");
    REDIS_SEND(r, redis_ignored, "CLIENT SETNAME %s", target_application_name(r->target));
    REDIS_SEND(r, redis_told_id, "CLIENT ID");
    REDIS_SEND(r, redis_read_limits, "INFO clients");
    REDIS_SEND(r, redis_greeted, "CONFIG GET maxclients");
}

static void redis_connected(const redisAsyncContext *context, int status)
{
    struct redis *r = context->data;
    char why[SAY];
    if (!r)
        return;
    if (status == REDIS_OK) {
        r->connected = true;
        redis_greet(r);
        return;
    }
    redis_format_why(context->errstr, strlen(context->errstr), why);
    redis_drop(r, false); /* hiredis frees it after this call */
    target_probe_lost(r->target, false, why);
}

static void redis_disconnected(const redisAsyncContext *context, int status)
{
    struct redis *r = context->data;
    char why[SAY];
    (void)status;
    if (!r)
        return;
    redis_format_why(context->errstr, strlen(context->errstr), why);
    redis_drop(r, false);
    target_probe_lost(r->target, true, *why ? why : "the server closed the connection");
}

/* A look. */

static void redis_note_translation(struct redis *r, const struct session *own)
{
    struct endpoint local = {0};
    bool inet = probe_local_endpoint(r->context->c.fd, &local);
    target_probe_translated(r->target, inet && !endpoint_equal(&local, &own->client));
}

static bool redis_is_own(const struct redis *r, const struct session *session)
{
    struct endpoint local = {0};
    if (r->own_id)
        return session->id == r->own_id;
    return probe_local_endpoint(r->context->c.fd, &local) && endpoint_equal(&local, &session->client);
}

/* Takes our own session out; the order means nothing. */
static void redis_remove_own(struct redis *r)
{
    struct session_table *table = r->into;
    for (size_t i = 0; i < table->count; i++)
        if (redis_is_own(r, &table->rows[i])) {
            redis_note_translation(r, &table->rows[i]);
            table->rows[i] = table->rows[--table->count];
            return;
        }
}

static void redis_told(struct redis *r, const redisReply *reply)
{
    char why[SAY] = "not a list of clients";
    if (reply->type != REDIS_REPLY_STRING) {
        if (reply->type == REDIS_REPLY_ERROR)
            redis_format_why(reply->str, (size_t)reply->len, why);
        target_probe_failed(r->target, why);
        return;
    }
    long clients = redis_read_client_list(r->into, reply->str, (size_t)reply->len, r->want_text);
    if (clients < 0) {
        target_probe_failed(r->target, "no memory for the answer");
        return;
    }
    redis_remove_own(r);
    target_probe_answered(r->target, (int32_t)clients, r->client_max);
}

static void redis_ponged(struct redis *r, const redisReply *reply)
{
    (void)reply; /* also an error is an answer */
    REDIS_SEND(r, redis_told, "CLIENT LIST");
}

static void redis_ask(void *probe, bool want_text, struct session_table *into)
{
    struct redis *r = probe;
    r->want_text = want_text;
    r->into = into;
    REDIS_SEND(r, redis_ponged, "PING");
}

static void redis_said(struct redis *r, const redisReply *reply)
{
    char said[SAY] = "";
    struct text text = text_in(said, sizeof said);
    bool ok = reply->type != REDIS_REPLY_ERROR;
    if (reply->str && ok)
        text_add_escaped(&text, reply->str, (size_t)reply->len);
    else if (reply->str)
        redis_format_why(reply->str, (size_t)reply->len, said);
    target_probe_said(r->target, ok, said);
}

static void redis_say(void *probe, const char *command)
{
    struct redis *r = probe;
    REDIS_SEND(r, redis_said, command);
}

/* An end. Client ids are never used twice while a server lives, so there is nothing else to compare. */

static void redis_killed(struct redis *r, const redisReply *reply)
{
    char why[SAY] = "";
    bool taken = reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
    bool refused = reply->type == REDIS_REPLY_ERROR;
    if (refused)
        redis_format_why(reply->str, (size_t)reply->len, why);
    probe_ends_add(&r->ends, refused ? ENDED_REFUSED : taken ? ENDED_BY_COMMAND : ENDED_BY_ITSELF, why);
    if (r->ends.count == r->ending)
        target_probe_ended(r->target, &r->ends);
}

/* All in one go: the answers come in the order of the questions. */
static void redis_end(void *probe, const struct end_session *sessions, size_t count)
{
    struct redis *r = probe;
    r->ends = (struct probe_ends){0};
    r->ending = count;
    for (size_t i = 0; i < count; i++)
        REDIS_SEND(r, redis_killed, "CLIENT KILL ID %llu", (unsigned long long)sessions[i].session);
}

/* Opening, closing. */

static void redis_close(void *probe)
{
    struct redis *r = probe;
    redis_drop(r, true);
    free(r);
}

static redisAsyncContext *redis_begin(const struct target *target, const char *address)
{
    const char *params = target_params(target), *path = redis_unix_path(params), *port = params_get(params, "port");
    if (path)
        return redisAsyncConnectUnix(path);
    return redisAsyncConnect(address ? address : "127.0.0.1", port ? (int)strtol(port, NULL, 10) : 6379);
}

static void *redis_open(struct target *target, const char *address, char *why, size_t why_size)
{
    struct redis *r = calloc(1, sizeof *r);
    redisAsyncContext *context = r ? redis_begin(target, address) : NULL;
    if (!context || context->err) {
        text_copy(why, why_size, context ? context->errstr : "no memory");
        if (context)
            redisAsyncFree(context);
        free(r);
        return NULL;
    }
    *r = (struct redis){.target = target, .context = context};
    context->data = r;
    redisLibevAttach(target_loop(target), context);
    redisAsyncSetConnectCallback(context, redis_connected);
    redisAsyncSetDisconnectCallback(context, redis_disconnected);
    return r;
}

const struct probe_ops redis_ops = {.default_port = "6379", .unix_path = redis_unix_path, .open = redis_open,
                                    .close = redis_close, .ask = redis_ask, .say = redis_say, .end = redis_end};
