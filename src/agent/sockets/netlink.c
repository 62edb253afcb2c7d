/* Questions to NETLINK_SOCK_DIAG: see agent/sockets/netlink.h. Trusts no length in an answer; never waits. */
#include "agent/sockets/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"

/* A dump of a host with a million sockets has some 10,000 parts if all match; more than this is no dump. */
enum { PARTS_AT_MOST = 200000 };

static size_t aligned(size_t length)
{
    return (length + NLMSG_ALIGNTO - 1) & ~(size_t)(NLMSG_ALIGNTO - 1);
}

/* NLMSG_ERROR carries a negative errno (0: an acknowledgement); NLMSG_DONE of a dump may carry one too. */
static int error_of(const struct nlmsghdr *header, bool required)
{
    int32_t code;
    if (header->nlmsg_len < NLMSG_HDRLEN + sizeof code)
        return required ? EBADMSG : 0;
    memcpy(&code, (const char *)header + NLMSG_HDRLEN, sizeof code);
    if (code > 0 || code < -4095)
        return required ? EBADMSG : 0;
    return -code;
}

static void take_message(struct netlink_part *part, const struct nlmsghdr *message, netlink_message_fn *each,
                         void *context)
{
    if (message->nlmsg_flags & NLM_F_DUMP_INTR)
        part->interrupted = true;
    if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
        part->done = true;
        part->error = error_of(message, message->nlmsg_type == NLMSG_ERROR);
        return;
    }
    if (message->nlmsg_type == NLMSG_NOOP || message->nlmsg_type == NLMSG_OVERRUN)
        return;
    each(context, message);
    if (!(message->nlmsg_flags & NLM_F_MULTI))
        part->done = true;
}

struct netlink_part netlink_walk(const void *bytes, size_t size, uint32_t sequence, netlink_message_fn *each,
                                 void *context)
{
    struct netlink_part part = {0};
    const char *at = bytes;
    while (!part.done && size >= NLMSG_HDRLEN) {
        const struct nlmsghdr *message = (const void *)at;
        if (message->nlmsg_len < NLMSG_HDRLEN || message->nlmsg_len > size) {
            part = (struct netlink_part){.done = true, .error = EBADMSG};
            break;
        }
        if (message->nlmsg_seq == sequence)
            take_message(&part, message, each, context);
        size_t step = aligned(message->nlmsg_len);
        if (step >= size)
            break;
        at += step;
        size -= step;
    }
    return part;
}

bool netlink_is_refused(int error)
{
    return error == EAFNOSUPPORT || error == EPROTONOSUPPORT || error == EPERM || error == EACCES || error == ENOSYS ||
           error == EINVAL || error == EOPNOTSUPP;
}

static int netlink_open(struct netlink *netlink)
{
    if (!netlink->buffer && !(netlink->buffer = malloc(NETLINK_BUFFER)))
        return -1;
    if (netlink->fd >= 0)
        return 0;
    netlink->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    return netlink->fd < 0 ? -1 : 0;
}

static int netlink_send(struct netlink *netlink, const struct nlmsghdr *request)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n = sendto(netlink->fd, request, request->nlmsg_len, MSG_DONTWAIT, (const void *)&kernel, sizeof kernel);
    return n < 0 ? -1 : 0;
}

/* One part of the answer. Returns its size, 0 for one that is not the kernel's, -1 and errno. */
static ssize_t netlink_receive(struct netlink *netlink)
{
    struct sockaddr_nl from = {0};
    struct iovec room = {netlink->buffer, NETLINK_BUFFER};
    struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &room, .msg_iovlen = 1};
    ssize_t n;
    do {
        n = recvmsg(netlink->fd, &header, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    if (n == 0) {
        errno = EBADMSG;
        return -1;
    }
    if (header.msg_flags & MSG_TRUNC) {
        errno = EMSGSIZE;
        return -1;
    }
    return from.nl_pid == 0 ? n : 0;
}

/* Returns 0, or -1 and errno; *answered: the kernel ended the answer, so the socket is in order. */
static int receive_all(struct netlink *netlink, netlink_message_fn *each, void *context, bool *answered)
{
    bool interrupted = false;
    for (int i = 0; i < PARTS_AT_MOST; i++) {
        ssize_t n = netlink_receive(netlink);
        if (n < 0)
            return -1;
        struct netlink_part part = netlink_walk(netlink->buffer, (size_t)n, netlink->sequence, each, context);
        interrupted |= part.interrupted;
        if (!part.done)
            continue;
        *answered = part.error != EBADMSG;
        errno = part.error ? part.error : EINTR;
        return part.error || interrupted ? -1 : 0;
    }
    errno = EBADMSG;
    return -1;
}

int netlink_ask(struct netlink *netlink, struct nlmsghdr *request, netlink_message_fn *each, void *context)
{
    bool answered = false;
    if (netlink_open(netlink) < 0)
        return -1;
    request->nlmsg_seq = ++netlink->sequence;
    int result = netlink_send(netlink, request);
    if (result == 0)
        result = receive_all(netlink, each, context, &answered);
    if (!answered)
        fd_close(&netlink->fd);
    return result;
}

void netlink_finish(struct netlink *netlink)
{
    fd_close(&netlink->fd);
    free(netlink->buffer);
    netlink->buffer = NULL;
}

struct netlink_attribute netlink_attributes(const struct nlmsghdr *message, size_t fixed_part)
{
    size_t start = NLMSG_HDRLEN + aligned(fixed_part);
    if (message->nlmsg_len < start)
        return (struct netlink_attribute){0};
    return (struct netlink_attribute){(const char *)message + start, message->nlmsg_len - start};
}

const void *netlink_attribute_next(struct netlink_attribute *walk, unsigned *type, size_t *size)
{
    struct nlattr head;
    const char *at = walk->next;
    if (walk->left < sizeof head)
        return NULL;
    memcpy(&head, at, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > walk->left)
        return NULL;
    size_t step = aligned(head.nla_len);
    walk->left = step < walk->left ? walk->left - step : 0;
    walk->next = at + (walk->left ? step : 0);
    *type = head.nla_type & NLA_TYPE_MASK;
    *size = head.nla_len - sizeof head;
    return at + sizeof head;
}
