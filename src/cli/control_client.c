/* The verbs' side of the control socket. What comes from there is checked and escaped before it is printed: root may be
 * asking another user's supervisor. */
#include "cli/control_client.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/text.h"

int control_client_ask(int fd, enum control_verb verb, unsigned flags)
{
    struct control_request request = {
        .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .verb = (uint16_t)verb, .flags = (uint16_t)flags};
    return send(fd, &request, sizeof request, MSG_NOSIGNAL) == sizeof request ? 0 : -1;
}

/* Returns 1 when there is something to receive, 0 when the time is over, -1 and errno. */
static int wait_readable(int fd, int limit_ms)
{
    int64_t until = clock_now_us() + limit_ms * US_PER_MS;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_us = until - clock_now_us();
        int result = poll(&wait, 1, limit_ms < 0 ? -1 : left_us > 0 ? (int)(left_us / US_PER_MS) + 1 : 0);
        if (result != -1 || errno != EINTR)
            return result;
    }
}

static void make_printable(char *at, size_t size)
{
    char raw[256];
    size_t length = strnlen(at, size - 1);
    memcpy(raw, at, length);
    struct text text = text_in(at, size);
    text_add_escaped(&text, raw, length);
}

static enum control_heard error_heard(int number)
{
    errno = number;
    return CONTROL_HEARD_ERROR;
}

enum control_heard control_client_hear(int fd, struct control_reply *reply, int limit_ms)
{
    int ready = wait_readable(fd, limit_ms);
    if (ready <= 0)
        return error_heard(ready == 0 ? ETIMEDOUT : errno);
    ssize_t size = recv(fd, reply, sizeof *reply, MSG_TRUNC);
    if (size == 0 || (size == -1 && errno == ECONNRESET))
        return CONTROL_HEARD_END;
    if (size == -1)
        return CONTROL_HEARD_ERROR;
    if (size != sizeof *reply || reply->magic != CONTROL_MAGIC || reply->kind < CONTROL_PROGRESS ||
        reply->kind > CONTROL_REFUSED)
        return error_heard(EPROTO);
    make_printable(reply->state.phase, sizeof reply->state.phase);
    make_printable(reply->state.instance, sizeof reply->state.instance);
    make_printable(reply->text, sizeof reply->text);
    return CONTROL_HEARD_REPLY;
}

const char *control_client_why(int number)
{
    if (number == ETIMEDOUT)
        return "no answer within 5 s: the supervisor is stopped or stuck";
    return number == EPROTO ? "the answer is not lastcall's: use the same build for both" : strerror(number);
}

static json_t *known_integer(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *known_seconds(int64_t us)
{
    return us < 0 ? json_null() : json_real((double)us / 1e6);
}

static json_t *known_string(const char *text)
{
    return *text ? json_string(text) : json_null();
}

int control_client_print_json(const char *verb, const char *result, int exit_code, const struct control_reply *reply)
{
    const struct control_state *state = &reply->state;
    json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "schema", "lastcall.control/1",
        "verb", verb,
        "result", result,
        "exit_code", exit_code,
        "instance", known_string(state->instance),
        "phase", known_string(state->phase),
        "app_pid", known_integer(state->app_pid),
        "handles", known_integer(state->handles),
        "in_flight", known_integer(state->in_flight),
        "restarts", known_integer(state->restarts),
        "since_stop_seconds", known_seconds(state->since_stop_us),
        "left_seconds", known_seconds(state->left_us),
        "text", known_string(reply->text));
    if (!object)
        return -1;
    int failed = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == -1 || putchar('\n') == EOF;
    json_decref(object);
    return failed || fflush(stdout) == EOF ? -1 : 0;
}
