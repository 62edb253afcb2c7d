/* TCP sockets by sock_diag(7): the questions and what is read from the answers. See agent/sockets/diag.h.
 * The kernel's side: net/ipv4/inet_diag.c, net/ipv4/tcp_diag.c. Trusts no length: each attribute, and each field of
 * tcp_info, is looked at only after its size was. */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/netlink.h"
#include "common/clock.h"

/* include/net/tcp_states.h; <netinet/tcp.h> has them too but cannot stand beside <linux/tcp.h>. */
enum { ESTABLISHED = 1, SYN_SENT = 2, FIN_WAIT1 = 4, FIN_WAIT2 = 5, CLOSE_WAIT = 8, LAST_ACK = 9, LISTEN = 10,
       CLOSING = 11 };
#define STATES_WANTED                                                                                                  \
    (1u << ESTABLISHED | 1u << SYN_SENT | 1u << FIN_WAIT1 | 1u << FIN_WAIT2 | 1u << CLOSE_WAIT | 1u << LAST_ACK |      \
     1u << CLOSING)

_Static_assert(sizeof(struct inet_diag_sockid) == SOCKET_KEY_BYTES, "the key holds the kernel's");

bool diag_state_is_wanted(unsigned tcp_state)
{
    return tcp_state < 32 && (STATES_WANTED >> tcp_state & 1);
}

/* True when a tcp_info of `length` bytes reaches over the field. */
#define REACHES(length, field) ((length) >= offsetof(struct tcp_info, field) + sizeof(((struct tcp_info *)0)->field))

/* tcpi_notsent_bytes and the data segments: since 4.6. tcpi_bytes_sent: since 4.19; before, what was acknowledged (it
 * counts the SYN) and what is on its way are the same, but for retransmissions. */
static void read_tcp_info(struct socket_fact *fact, const void *bytes, size_t length)
{
    struct tcp_info info = {0};
    memcpy(&info, bytes, length < sizeof info ? length : sizeof info);
    if (!REACHES(length, tcpi_data_segs_out))
        return;
    fact->has_info = 1;
    fact->unsent_bytes = info.tcpi_notsent_bytes;
    fact->last_sent_ms = info.tcpi_last_data_sent;
    fact->last_received_ms = info.tcpi_last_data_recv;
    fact->last_ack_ms = info.tcpi_last_ack_recv;
    fact->unacked_segments = info.tcpi_unacked;
    fact->rtt_us = info.tcpi_rtt;
    fact->bytes_acked = info.tcpi_bytes_acked;
    fact->bytes_received = info.tcpi_bytes_received;
    fact->data_segments_out = info.tcpi_data_segs_out;
    fact->data_segments_in = info.tcpi_data_segs_in;
    uint32_t on_the_way = fact->unacked_bytes > fact->unsent_bytes ? fact->unacked_bytes - fact->unsent_bytes : 0;
    fact->bytes_sent = REACHES(length, tcpi_bytes_sent)
                           ? info.tcpi_bytes_sent - info.tcpi_bytes_retrans
                           : info.tcpi_bytes_acked - (info.tcpi_bytes_acked > 0) + on_the_way;
}

static void read_fixed_part(struct socket_fact *fact, const struct inet_diag_msg *diag)
{
    int family = diag->idiag_family;
    *fact = socket_fact_none();
    fact->inode = diag->idiag_inode;
    fact->local = endpoint_from_bytes(family, diag->id.idiag_src, ntohs(diag->id.idiag_sport));
    fact->remote = endpoint_from_bytes(family, diag->id.idiag_dst, ntohs(diag->id.idiag_dport));
    fact->key.family = diag->idiag_family;
    memcpy(fact->key.cookie, diag->id.idiag_cookie, sizeof fact->key.cookie);
    memcpy(fact->key.id, &diag->id, sizeof fact->key.id);
    fact->tcp_state = diag->idiag_state;
    fact->timer = diag->idiag_timer;
    fact->timer_ms = diag->idiag_expires;
    fact->unread_bytes = diag->idiag_rqueue;
    fact->unacked_bytes = diag->idiag_wqueue;
    fact->looked_at_us = clock_now_us();
}

/* The same of the states in the mask. */
static bool read_in_states(const struct nlmsghdr *message, uint32_t states, struct socket_fact *fact)
{
    struct inet_diag_msg diag;
    unsigned type;
    size_t size;
    const void *payload;
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_HDRLEN + sizeof diag)
        return false;
    memcpy(&diag, (const char *)message + NLMSG_HDRLEN, sizeof diag);
    if (diag.idiag_family != AF_INET && diag.idiag_family != AF_INET6)
        return false;
    if (diag.idiag_state >= 32 || !(states >> diag.idiag_state & 1) || diag.idiag_inode == 0)
        return false;
    read_fixed_part(fact, &diag);
    struct netlink_attribute walk = netlink_attributes(message, sizeof diag);
    while ((payload = netlink_attribute_next(&walk, &type, &size)))
        if (type == INET_DIAG_INFO)
            read_tcp_info(fact, payload, size);
    socket_fact_count_bytes_only(fact);
    return true;
}

bool inet_diag_read(const struct nlmsghdr *message, struct socket_fact *fact)
{
    return read_in_states(message, STATES_WANTED, fact);
}

struct inet_question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
    struct nlattr attribute; /* of the filter; only in dumps */
    unsigned char filter[DIAG_PORTS * 20];
};

static void put_op(unsigned char *at, unsigned code, unsigned yes, unsigned no)
{
    struct inet_diag_bc_op op = {(unsigned char)code, (unsigned char)yes, (unsigned short)no};
    memcpy(at, &op, sizeof op);
}

/* Whose port: the peer's (a target's), or the socket's own. */
struct side {
    unsigned least, most;
};
static const struct side peer_side = {INET_DIAG_BC_D_GE, INET_DIAG_BC_D_LE},
                         own_side = {INET_DIAG_BC_S_GE, INET_DIAG_BC_S_LE};

/* For each port: "≥ port, else on to the next; ≤ port, else on to the next; matched: jump to the end". Behind the
 * last one, "next" lies beyond the end, which is the kernel's no. Returns the filter's size. */
static size_t put_filter(unsigned char *filter, const uint16_t *ports, size_t count, const struct side *side)
{
    size_t end = count * 20 - 4, at = 0;
    for (size_t i = 0; i < count; i++) {
        put_op(filter + at, side->least, 8, 20);
        put_op(filter + at + 4, 0, 0, ports[i]);
        put_op(filter + at + 8, side->most, 8, 12);
        put_op(filter + at + 12, 0, 0, ports[i]);
        if (i + 1 < count)
            put_op(filter + at + 16, INET_DIAG_BC_JMP, 4, (unsigned)(end - at - 16));
        at += 20;
    }
    return end;
}

static struct inet_question inet_question(int family, uint16_t flags, uint32_t states)
{
    return (struct inet_question){
        .header = {.nlmsg_len = offsetof(struct inet_question, attribute),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | flags},
        .request = {.sdiag_family = (uint8_t)family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_ext = 1 << (INET_DIAG_INFO - 1),
                    .idiag_states = states},
    };
}

struct collected {
    struct socket_table *table;
    uint32_t states;
    int error;
};

static void collect(void *context, const struct nlmsghdr *message)
{
    struct collected *collected = context;
    struct socket_fact fact;
    if (read_in_states(message, collected->states, &fact) && socket_table_add(collected->table, &fact) < 0)
        collected->error = errno;
}

/* What a dump asks for: no ports are all of them. */
struct wanted {
    const uint16_t *ports;
    size_t port_count;
    const struct side *side;
    uint32_t states;
};

static int dump_family(struct netlink *netlink, int family, const struct wanted *wanted, struct socket_table *table)
{
    struct inet_question question = inet_question(family, NLM_F_DUMP, wanted->states);
    struct collected collected = {table, wanted->states, 0};
    if (wanted->port_count) {
        size_t filter = put_filter(question.filter, wanted->ports, wanted->port_count, wanted->side);
        question.attribute = (struct nlattr){(uint16_t)(sizeof question.attribute + filter), INET_DIAG_REQ_BYTECODE};
        question.header.nlmsg_len += (uint32_t)(sizeof question.attribute + filter);
    }
    if (netlink_ask(netlink, &question.header, collect, &collected) < 0)
        return -1;
    errno = collected.error;
    return collected.error ? -1 : 0;
}

static int dump_both(struct netlink *netlink, const struct wanted *wanted, struct socket_table *table)
{
    if (dump_family(netlink, AF_INET, wanted, table) < 0)
        return -1;
    return dump_family(netlink, AF_INET6, wanted, table);
}

int inet_diag_dump(struct netlink *netlink, const uint16_t *ports, size_t port_count, struct socket_table *table)
{
    struct wanted wanted = {ports, port_count < DIAG_PORTS ? port_count : DIAG_PORTS, &peer_side, STATES_WANTED};
    return port_count ? dump_both(netlink, &wanted, table) : 0;
}

int inet_diag_dump_listening(struct netlink *netlink, struct socket_table *table)
{
    struct wanted wanted = {.states = 1u << LISTEN};
    return dump_both(netlink, &wanted, table);
}

int inet_diag_dump_inbound(struct netlink *netlink, const uint16_t *ports, size_t port_count,
                           struct socket_table *table)
{
    struct wanted wanted = {ports, port_count < DIAG_PORTS ? port_count : DIAG_PORTS, &own_side,
                            1u << ESTABLISHED | 1u << CLOSE_WAIT};
    return port_count ? dump_both(netlink, &wanted, table) : 0;
}

struct one_answer {
    struct socket_fact *fact;
    bool found;
};

static void take_one(void *context, const struct nlmsghdr *message)
{
    struct one_answer *answer = context;
    answer->found |= inet_diag_read(message, answer->fact);
}

int inet_diag_ask(struct netlink *netlink, const struct socket_key *key, struct socket_fact *fact)
{
    struct inet_question question = inet_question(key->family, 0, STATES_WANTED);
    struct one_answer answer = {fact, false};
    memcpy(&question.request.id, key->id, sizeof question.request.id);
    if (netlink_ask(netlink, &question.header, take_one, &answer) < 0)
        return -1;
    errno = ENOENT;
    return answer.found ? 0 : -1;
}
