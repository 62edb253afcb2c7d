/* The hands on what comes in: see supervisor/handles/inbound.h. Never ends a connection on which anything has moved
 * since it was judged, and never forgets a mark that may still be on. */
#include "supervisor/handles/inbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/holders.h"
#include "supervisor/intake/http.h"

#define PATIENCE_US INT64_C(20000)
enum { MUTED = 255, PEEK_MOST = 16384 };

/* -- one socket ---------------------------------------------------------------------------------------------------- */

static int get_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, option, &value, &length) < 0 ? -1 : value;
}

static int family_of(int fd)
{
    return get_option(fd, SOL_SOCKET, SO_DOMAIN);
}

/* A socket of IPv6 may talk IPv4, too (RFC 4291, 2.5.5.2): it has both. */
static int set_mute(int fd, int ttl, int hops)
{
    int result = ttl < 0 ? 0 : setsockopt(fd, IPPROTO_IP, IP_MINTTL, &ttl, sizeof ttl);
    if (hops >= 0)
        result |= setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &hops, sizeof hops);
    return result;
}

int inbound_set_mute(int fd, struct inbound_mute *before)
{
    bool six = family_of(fd) == AF_INET6;
    *before = (struct inbound_mute){.ttl = get_option(fd, IPPROTO_IP, IP_MINTTL),
                                    .hops = six ? get_option(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT) : -1};
    if (before->ttl < 0 && before->hops < 0)
        return -1;
    return set_mute(fd, before->ttl < 0 ? -1 : MUTED, before->hops < 0 ? -1 : MUTED);
}

int inbound_unmute(int fd, const struct inbound_mute *before)
{
    return set_mute(fd, before->ttl, before->hops);
}

/* Is it as it was when it was judged? With `fd` muted: and it stays so. */
static bool is_unmoved(int fd, const struct inbound_row *row)
{
    struct socket_counters now;
    return socket_read_counters(fd, &now) == 0 && now.received == row->bytes_received &&
           now.sent == row->bytes_sent && now.unread == row->unread_bytes && now.unsent == 0;
}

/* -- what is remembered -------------------------------------------------------------------------------------------- */

static struct inbound_mark *find(struct inbound_marks *marks, uint64_t inode)
{
    for (size_t i = 0; i < marks->count; i++)
        if (marks->list[i].inode == inode)
            return &marks->list[i];
    return NULL;
}

static struct inbound_mark *find_or_add(struct inbound_marks *marks, const struct inbound_row *row)
{
    struct inbound_mark *mark = find(marks, row->inode);
    if (mark)
        return mark;
    if (marks->count == marks->room) {
        size_t room = marks->room ? 2 * marks->room : 32;
        struct inbound_mark *list = realloc(marks->list, room * sizeof *list);
        if (!list)
            return NULL;
        marks->list = list;
        marks->room = room;
    }
    mark = &marks->list[marks->count++];
    *mark = (struct inbound_mark){.inode = row->inode, .pid = row->pid, .fd = row->fd};
    return mark;
}

static void drop_unmarked(struct inbound_marks *marks)
{
    size_t kept = 0;
    for (size_t i = 0; i < marks->count; i++)
        if (marks->list[i].dropped || marks->list[i].kept)
            marks->list[kept++] = marks->list[i];
    marks->count = kept;
}

void inbound_follow(struct inbound_marks *marks, const struct inbound_row *rows, size_t count)
{
    for (size_t i = 0; i < count && marks->count > 0; i++) {
        struct inbound_mark *mark = find(marks, rows[i].inode);
        if (!mark)
            continue;
        mark->pid = rows[i].pid;
        mark->fd = rows[i].fd;
    }
}

/* -- the doings: `fd` is a duplicate of the row's socket ----------------------------------------------------------- */

struct doing {
    struct inbound_marks *marks;
    struct inbound_row *row;
    int fd, error;
};

static enum intake_outcome outcome_of(struct doing *doing, int result)
{
    if (result < 0)
        doing->error = errno;
    return result < 0 ? INTAKE_FAILED : INTAKE_DONE;
}

static enum intake_outcome do_drop(struct doing *doing)
{
    struct inbound_mark *mark = find_or_add(doing->marks, doing->row);
    int result = mark ? inbound_set_mute(doing->fd, &mark->mute) : -1;
    if (mark)
        mark->dropped = result == 0;
    return outcome_of(doing, result);
}

static enum intake_outcome do_refuse(struct doing *doing)
{
    return outcome_of(doing, shutdown(doing->fd, SHUT_RDWR));
}

static enum intake_outcome do_welcome(struct doing *doing)
{
    static const struct inbound_mute nothing = {0, 0};
    bool six = family_of(doing->fd) == AF_INET6;
    if (get_option(doing->fd, IPPROTO_IP, IP_MINTTL) != MUTED &&
        (!six || get_option(doing->fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT) != MUTED))
        return INTAKE_NOT;
    return outcome_of(doing, set_mute(doing->fd, nothing.ttl, six ? nothing.hops : -1));
}

/* From the muting on nothing arrives: what is unmoved then has nothing under way, and no request comes any more that
 * anybody would execute. It stays muted: it is over. */
static enum intake_outcome do_close(struct doing *doing)
{
    struct inbound_mute before;
    if (inbound_set_mute(doing->fd, &before) < 0)
        return outcome_of(doing, -1);
    if (is_unmoved(doing->fd, doing->row))
        return outcome_of(doing, shutdown(doing->fd, SHUT_RDWR));
    inbound_unmute(doing->fd, &before);
    return INTAKE_FAILED;
}

/* A kernel that does not count what is sent (before 4.19) tells nothing new. */
static void look_again(int fd, struct inbound_row *row)
{
    struct socket_counters now;
    if (socket_read_counters(fd, &now) < 0 || now.sent < row->bytes_sent)
        return;
    row->unread_bytes = now.unread;
    row->bytes_sent = now.sent;
    row->bytes_received = now.received;
    row->unacked_segments = now.unacked_segments;
    row->last_sent_ms = now.last_sent_ms;
    row->last_received_ms = now.last_received_ms;
    row->last_ack_ms = now.last_ack_ms;
}

/* A thread that waits in recv(2) on a blocking socket would take the bytes, and stay. */
static enum intake_outcome do_keep(struct doing *doing)
{
    if (socket_blocks(doing->fd))
        return INTAKE_NOT;
    struct inbound_mark *mark = find_or_add(doing->marks, doing->row);
    int result = mark ? socket_set_brake(doing->fd, &mark->brake) : -1;
    if (mark)
        mark->kept = result == 0;
    if (result == 0)
        look_again(doing->fd, doing->row);
    return outcome_of(doing, result);
}

static enum intake_outcome do_put_back(struct doing *doing)
{
    struct inbound_mark *mark = find(doing->marks, doing->row->inode);
    if (!mark || !mark->kept)
        return INTAKE_DONE;
    int result = socket_release_brake(doing->fd, &mark->brake);
    mark->kept = result < 0;
    return outcome_of(doing, result);
}

/* The request is taken out of the queue before it is answered: whoever takes it has it, the app or we. */
static int answer(int fd, char *bytes, ssize_t length)
{
    if (recv(fd, bytes, (size_t)length, MSG_DONTWAIT) != length) {
        errno = EAGAIN;
        return -1;
    }
    send(fd, http_unavailable, strlen(http_unavailable), MSG_DONTWAIT | MSG_NOSIGNAL);
    return shutdown(fd, SHUT_RDWR);
}

static enum intake_outcome do_answer(struct doing *doing)
{
    static char bytes[PEEK_MOST];
    struct inbound_mute before;
    enum intake_outcome outcome = INTAKE_FAILED;
    if (inbound_set_mute(doing->fd, &before) < 0)
        return outcome_of(doing, -1);
    if (is_unmoved(doing->fd, doing->row)) {
        ssize_t length = recv(doing->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
        bool plain = length == (ssize_t)doing->row->unread_bytes && http_is_request(bytes, (size_t)length);
        outcome = plain ? outcome_of(doing, answer(doing->fd, bytes, length)) : INTAKE_NOT;
    }
    if (outcome != INTAKE_DONE)
        inbound_unmute(doing->fd, &before);
    return outcome;
}

static enum intake_outcome (*const doings[])(struct doing *) = {
    [INTAKE_DROP] = do_drop,         [INTAKE_REFUSE] = do_refuse,     [INTAKE_WELCOME] = do_welcome,
    [INTAKE_CLOSE] = do_close,       [INTAKE_KEEP] = do_keep,         [INTAKE_PUT_BACK] = do_put_back,
    [INTAKE_ANSWER] = do_answer,
};
_Static_assert(sizeof doings / sizeof *doings == INTAKE_DOINGS, "a row a doing");

enum intake_outcome inbound_apply(struct inbound_marks *marks, struct inbound_row *row, enum intake_doing what,
                                  int *error)
{
    int fd _cleanup_close_ = duplicate_take(row->pid, row->fd, row->inode);
    struct doing doing = {marks, row, fd, 0};
    *error = errno;
    if (fd < 0)
        return INTAKE_FAILED;
    enum intake_outcome outcome = doings[what](&doing);
    *error = doing.error;
    drop_unmarked(marks);
    return outcome;
}

/* -- letting go ---------------------------------------------------------------------------------------------------- */

static bool is_gone(int error)
{
    return error == ESTALE || error == ESRCH;
}

/* It may be with another process of the app. */
static int take_wherever(const struct inbound_mark *mark, int64_t until_us)
{
    int fd = duplicate_take_until(mark->pid, mark->fd, mark->inode, until_us);
    if (fd >= 0 || !is_gone(errno))
        return fd;
    struct holder holder = {.inode = mark->inode};
    holders_find(&holder, 1);
    errno = ESTALE;
    return holder.pid ? duplicate_take_until(holder.pid, holder.fd, holder.inode, until_us) : -1;
}

/* False: it could not be cleared, and is still there. */
static bool clear(struct inbound_mark *mark, bool but_listening, int64_t until_us)
{
    if (mark->dropped && but_listening)
        return true;
    int fd _cleanup_close_ = take_wherever(mark, until_us);
    if (fd < 0 && !is_gone(errno))
        return false;
    if (fd >= 0 && mark->dropped && inbound_unmute(fd, &mark->mute) < 0)
        return false;
    if (fd >= 0 && mark->kept && socket_release_brake(fd, &mark->brake) < 0)
        return false;
    mark->dropped = mark->kept = false;
    return true;
}

size_t inbound_let_go(struct inbound_marks *marks, bool but_listening)
{
    size_t failed = 0;
    int64_t until_us = clock_now_us() + PATIENCE_US; /* for all */
    for (size_t i = 0; i < marks->count; i++)
        failed += !clear(&marks->list[i], but_listening, until_us);
    drop_unmarked(marks);
    return failed;
}

void inbound_hold_listening(struct inbound_marks *marks)
{
    if (marks->held || marks->count == 0)
        return;
    marks->held = calloc(marks->count, sizeof *marks->held);
    for (size_t i = 0; marks->held && i < marks->count; i++) {
        const struct inbound_mark *mark = &marks->list[i];
        int fd = mark->dropped ? duplicate_take(mark->pid, mark->fd, mark->inode) : -1;
        if (fd >= 0)
            marks->held[marks->held_count++] = fd;
    }
}

void inbound_finish(struct inbound_marks *marks)
{
    for (size_t i = 0; i < marks->held_count; i++)
        fd_close(&marks->held[i]);
    free(marks->held);
    free(marks->list);
    *marks = (struct inbound_marks){0};
}
