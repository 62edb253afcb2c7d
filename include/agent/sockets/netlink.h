/* One NETLINK_SOCK_DIAG socket (sock_diag(7), netlink(7)): a question, and a walk over its answer. Never waits: the
 * kernel makes a dump's next part within the recv(2) that asks for it, so an empty queue is an error. */
#ifndef AGENT_SOCKETS_NETLINK_H
#define AGENT_SOCKETS_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;

struct netlink {
    int fd; /* -1: to be opened by the next question */
    uint32_t sequence;
    unsigned char *buffer; /* heap, NETLINK_BUFFER bytes */
};
enum { NETLINK_BUFFER = 65536 };

/* Called for each message of an answer; its nlmsg_len is in bounds, nothing else is promised. */
typedef void netlink_message_fn(void *context, const struct nlmsghdr *message);

/* What a part of an answer said. */
struct netlink_part {
    bool done;        /* NLMSG_DONE, NLMSG_ERROR, or a lone answer without NLM_F_MULTI: nothing follows */
    bool interrupted; /* NLM_F_DUMP_INTR: the table changed, the dump is not consistent */
    int error;        /* errno of NLMSG_ERROR, EBADMSG for a broken part; else 0 */
};

/* Walks over `size` bytes as they came, aligned to 4. Messages with another sequence number are passed over.
 * Reads nothing beyond `size`, whatever the bytes say. */
struct netlink_part netlink_walk(const void *bytes, size_t size, uint32_t sequence, netlink_message_fn *each,
                                 void *context);

/* Sends `request` (its nlmsg_seq is set here) and walks over the whole answer. Returns 0, or -1 and errno: EINTR when
 * the dump was interrupted, EMSGSIZE when it did not fit, the kernel's own (ENOENT: no such socket). After an error
 * other than the kernel's answer the socket is closed and the next question opens another. */
int netlink_ask(struct netlink *netlink, struct nlmsghdr *request, netlink_message_fn *each, void *context);
void netlink_finish(struct netlink *netlink);

/* True for errors that say netlink cannot be had here: refused by a filter, a family that is not there. */
bool netlink_is_refused(int error);

/* The attributes behind a message's fixed part, one after another: the payload, its type and its size, or NULL at the
 * end and at the first one that is out of bounds. */
struct netlink_attribute {
    const void *next;
    size_t left;
};
struct netlink_attribute netlink_attributes(const struct nlmsghdr *message, size_t fixed_part);
const void *netlink_attribute_next(struct netlink_attribute *walk, unsigned *type, size_t *size);

#endif
