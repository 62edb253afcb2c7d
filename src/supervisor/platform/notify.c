/* sd_notify(3) without libsystemd. Must never block, and never fail loudly: whoever set NOTIFY_SOCKET may be gone. */
#include "supervisor/platform/notify.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/text.h"

static const double SEND_AGAIN_S = 0.1;

struct notify {
    struct ev_loop *loop;
    int fd;
    struct sockaddr_un address;
    socklen_t address_length;
    int64_t watchdog_us;   /* half of WATCHDOG_USEC; 0: none */
    ev_timer watchdog;
    ev_timer again;        /* runs while something is unsent */
    struct {               /* what is to be said, or found the queue full; a later status replaces an earlier one */
        bool ready, stopping, has_status;
        char status[256];
    } unsent;
};

/* ---- sending ---- */

/* Returns 0 when it was sent or can never be, -1 when it may be tried again. */
static int send_lines(struct notify *notify, const char *lines)
{
    ssize_t sent = sendto(notify->fd, lines, strlen(lines), MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&notify->address,
                          notify->address_length);
    if (sent >= 0)
        return 0;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
        return -1;
    log_debug("notify: %s", strerror(errno));
    return 0;
}

static void add_line(struct text *lines, bool wanted, const char *name, const char *value)
{
    if (wanted)
        text_add(lines, "%s%s=%s", lines->length ? "\n" : "", name, value);
}

/* One datagram with all that is unsent. */
static void send_unsent(struct notify *notify)
{
    char at[400];
    struct text lines = text_in(at, sizeof at);
    add_line(&lines, notify->unsent.ready, "READY", "1");
    add_line(&lines, notify->unsent.stopping, "STOPPING", "1");
    add_line(&lines, notify->unsent.has_status, "STATUS", notify->unsent.status);
    if (lines.length > 0 && send_lines(notify, at) == -1) {
        if (!ev_is_active(&notify->again))
            ev_timer_again(notify->loop, &notify->again);
        return;
    }
    notify->unsent.ready = notify->unsent.stopping = notify->unsent.has_status = false;
    ev_timer_stop(notify->loop, &notify->again);
}

static void send_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    send_unsent(timer->data);
}

static void note_status(struct notify *notify, const char *status)
{
    if (!status)
        return;
    notify->unsent.has_status = true;
    text_copy(notify->unsent.status, sizeof notify->unsent.status, status);
    for (char *at = notify->unsent.status; (at = strpbrk(at, "\r\n")) != NULL;)
        *at = ' ';
}

/* A ping that does not get through is followed by the next one. */
static void ping(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct notify *notify = timer->data;
    (void)loop;
    (void)events;
    if (send_lines(notify, "WATCHDOG=1") == -1)
        log_debug("notify: the watchdog's ping could not be sent");
}

/* ---- opening ---- */

/* "/path" or "@abstract". Returns -1 for anything else (vsock:…, a relative path, too long). */
static int parse_address(struct notify *notify, const char *text)
{
    size_t length = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || length < 2 || length >= sizeof notify->address.sun_path)
        return -1;
    notify->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->address.sun_path, text, length);
    if (text[0] == '@')
        notify->address.sun_path[0] = 0;
    notify->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (text[0] == '/'));
    return 0;
}

/* sd_watchdog_enabled(3): WATCHDOG_PID, when it is there, names who is watched. */
static int64_t watchdog_interval_us(const char *usec, const char *pid)
{
    char *end;
    if (!usec || !*usec)
        return 0;
    if (pid && *pid && strtoll(pid, &end, 10) != getpid())
        return 0;
    errno = 0;
    long long us = strtoll(usec, &end, 10);
    return errno || *end || us < 2 ? 0 : us / 2;
}

static struct notify *open_notify(struct ev_loop *loop, const char *address)
{
    struct notify *notify = calloc(1, sizeof *notify);
    if (!notify)
        return NULL;
    notify->loop = loop;
    notify->fd = -1;
    if (parse_address(notify, address) == 0)
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (notify->fd == -1) {
        log_debug("notify: NOTIFY_SOCKET %s is nothing that can be spoken to", address);
        free(notify);
        return NULL;
    }
    ev_init(&notify->watchdog, ping);
    ev_init(&notify->again, send_again);
    notify->again.repeat = SEND_AGAIN_S;
    notify->watchdog.data = notify->again.data = notify;
    return notify;
}

struct notify *notify_create(struct ev_loop *loop)
{
    const char *address = getenv("NOTIFY_SOCKET");
    struct notify *notify = address && *address ? open_notify(loop, address) : NULL;
    if (notify)
        notify->watchdog_us = watchdog_interval_us(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return notify;
}

void notify_destroy(struct notify *notify)
{
    if (!notify)
        return;
    send_unsent(notify);
    ev_timer_stop(notify->loop, &notify->watchdog);
    ev_timer_stop(notify->loop, &notify->again);
    fd_close(&notify->fd);
    free(notify);
}

/* ---- speaking ---- */

void notify_ready(struct notify *notify, const char *status)
{
    if (!notify)
        return;
    notify->unsent.ready = true;
    notify_status(notify, status);
    if (notify->watchdog_us == 0 || ev_is_active(&notify->watchdog))
        return;
    notify->watchdog.repeat = (double)notify->watchdog_us / 1e6;
    ev_timer_again(notify->loop, &notify->watchdog);
}

void notify_stopping(struct notify *notify, const char *status)
{
    if (!notify)
        return;
    notify->unsent.stopping = true;
    notify_status(notify, status);
}

void notify_status(struct notify *notify, const char *status)
{
    if (!notify)
        return;
    note_status(notify, status);
    send_unsent(notify);
}

int64_t notify_watchdog_interval_us(const struct notify *notify)
{
    return notify ? notify->watchdog_us : 0;
}
