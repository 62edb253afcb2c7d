/* A hook's HTTP call. By hand, since none of the libraries that the agent is linked with speaks HTTP as a client, and
 * one request, of whose answer only the first line is read, is not worth another library: no redirects, no TLS, no
 * keep-alive, no body. It is a process of its own that does only this: it may wait, and the supervisor ends it in its
 * time.
 *
 * It must never read more than its fixed buffers hold, nor repeat anything that the server said but the three digits of
 * the status. */
#include "agent/call.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/error.h"
#include "common/fd.h"
#include "common/http_url.h"
#include "common/log.h"
#include "common/text.h"
#include "wire/channel.h"
#include "wire/message.h"

enum { CONNECT_MS = 1000, DRAIN_MS = 100, DRAIN_BYTES = 65536, STATUS_LINE_LEAST = 12 };

static void set_timeout(int fd, int option, int ms)
{
    struct timeval limit = {ms / 1000, ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit);
}

/* One address after the other: each but the last has so long only (SO_SNDTIMEO bounds connect(2), too: socket(7)). */
static int connect_to(const struct addrinfo *address, bool last)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd == -1)
        return -1;
    if (!last)
        set_timeout(fd, SO_SNDTIMEO, CONNECT_MS);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
        set_timeout(fd, SO_SNDTIMEO, 0);
        return fd;
    }
    errno = errno == EINPROGRESS ? ETIMEDOUT : errno;
    fd_close(&fd);
    return -1;
}

static int open_connection(const struct http_url *url, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int fd = -1, failed = getaddrinfo(url->host, url->port, &hints, &addresses), why = 0;
    if (failed)
        return error_set(error, "cannot resolve %s: %s", url->host,
                         failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
    for (const struct addrinfo *at = addresses; at && fd == -1; at = at->ai_next) {
        fd = connect_to(at, !at->ai_next);
        why = errno;
    }
    freeaddrinfo(addresses);
    return fd != -1 ? fd : error_set(error, "cannot connect to %s port %s: %s", url->host, url->port, strerror(why));
}

static int send_request(int fd, const struct http_url *url, struct error *error)
{
    char request[1400];
    struct text text = text_in(request, sizeof request);
    bool v6 = strchr(url->host, ':') != NULL, usual = strcmp(url->port, "80") == 0;
    text_add(&text, "%s %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUser-Agent: lastcall\r\nAccept: */*\r\n", url->method,
             url->path, v6 ? "[" : "", url->host, v6 ? "]" : "", usual ? "" : ":", usual ? "" : url->port);
    text_add(&text, "%sConnection: close\r\n\r\n", strcmp(url->method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    for (size_t sent = 0; sent < text.length;) {
        ssize_t n = send(fd, request + sent, text.length - sent, MSG_NOSIGNAL);
        if (n == -1 && errno != EINTR)
            return error_set(error, "it did not take the request: %s", strerror(errno));
        sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* "HTTP/1.1 204" is all that is looked at (RFC 9112, 4). */
static int read_status(int fd, struct error *error)
{
    char line[STATUS_LINE_LEAST + 1] = "";
    int status = 0, minor = 0;
    for (size_t length = 0; length < STATUS_LINE_LEAST;) {
        ssize_t n = recv(fd, line + length, STATUS_LINE_LEAST - length, 0);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(error, "it closed the connection without an answer%s%s", n ? ": " : "",
                             n ? strerror(errno) : "");
        length += (size_t)n;
    }
    if (sscanf(line, "HTTP/1.%1d %3d", &minor, &status) != 2 || status < 100)
        return error_set(error, "what it answered is not HTTP/1");
    return status;
}

/* A server that is still writing would see a reset, and might log it as an error. */
static void let_finish(int fd)
{
    char rest[4096];
    set_timeout(fd, SO_RCVTIMEO, DRAIN_MS);
    shutdown(fd, SHUT_WR);
    for (ssize_t n, all = 0; all < DRAIN_BYTES && (n = recv(fd, rest, sizeof rest, 0)) > 0;)
        all += n;
}

static int call(const char *text, struct error *error)
{
    struct http_url url;
    if (http_url_parse(&url, text, error) == -1)
        return -1;
    int fd _cleanup_close_ = open_connection(&url, error);
    if (fd == -1 || send_request(fd, &url, error) == -1)
        return -1;
    int status = read_status(fd, error);
    if (status == -1)
        return -1;
    let_finish(fd);
    if (status >= 300 && status < 400)
        return error_set(error, "it answered %d, a redirect, which is not followed", status);
    return status / 100 == 2 ? 0 : error_set(error, "it answered %d", status);
}

int call_run(int fd, const char *url)
{
    struct error error = {""};
    struct message_found found = {.header = {sizeof found, MESSAGE_FOUND, 0}, .target = -1, .what = FOUND_CALLED,
                                  .answer = FOUND_YES, .took_us = -1};
    int result = call(url, &error);
    if (result == -1)
        found.answer = FOUND_NO;
    text_copy(found.text, sizeof found.text, error.text);
    if (channel_send(fd, &found) == -1)
        log_debug("the channel: %s", strerror(errno));
    return result == 0 ? 0 : 1;
}
