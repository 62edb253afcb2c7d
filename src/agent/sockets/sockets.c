/* One look at the app's sockets: see agent/sockets/sockets.h. Never waits, and never lets one look cost a walk over the
 * whole host's sockets more often than it can afford. */
#include "agent/sockets/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/sockets/netlink.h"
#include "agent/sockets/owners.h"
#include "agent/sockets/proc_net.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    SHARE_OF_DUMPS = 10,       /* slow dumps take a tenth of the time at most */
    DUMP_AGE_US = 1000000,     /* and come at least once a second */
    REFUSED_US = 10000000      /* where netlink was refused it is tried again after this */
};

enum { SEEN_NOT, SEEN_BY_SOCK_DIAG, SEEN_BY_PROC };

struct sockets {
    struct netlink netlink;
    struct owners *owners;
    struct socket_table now;   /* all sockets that lead to a target */
    struct socket_table ours;  /* those of the app tree: the last answer */
    struct socket_table next;  /* room for the next answer */
    int64_t whole_at_us;       /* when the last look began that showed all; 0: there was none, or it failed */
    int64_t dumped_at_us, dump_took_us, refused_until_us;
    uint64_t dumped_for;       /* what the last dump was asked for */
    bool whole;                /* `now` shows all of them, not only those known before */
    bool refusal_said;
};

struct sockets *sockets_create(void)
{
    struct sockets *sockets = calloc(1, sizeof *sockets);
    if (!sockets)
        return NULL;
    sockets->netlink.fd = -1;
    sockets->owners = owners_create();
    if (sockets->owners)
        return sockets;
    free(sockets);
    return NULL;
}

void sockets_destroy(struct sockets *sockets)
{
    if (!sockets)
        return;
    netlink_finish(&sockets->netlink);
    owners_destroy(sockets->owners);
    socket_table_finish(&sockets->now);
    socket_table_finish(&sockets->ours);
    socket_table_finish(&sockets->next);
    free(sockets);
}

void sockets_pretend_slow(struct sockets *sockets, int64_t dump_us)
{
    sockets->dump_took_us = dump_us;
}

void sockets_pretend_refused(struct sockets *sockets)
{
    sockets->refused_until_us = INT64_MAX;
}

/* FNV-1a over what is asked for: when it changes, what is known is not enough. */
static uint64_t hash_of(const struct sockets_question *question)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < question->port_count; i++)
        hash = (hash ^ question->ports[i]) * 1099511628211u;
    for (size_t i = 0; i < question->path_count; i++)
        for (const char *at = question->paths[i]; *at; at++)
            hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    return hash;
}

static int dump_once(struct sockets *sockets, const struct sockets_question *question)
{
    static const struct socket_table nothing;
    bool same = sockets->dumped_for == hash_of(question); /* else the paths it speaks of are others */
    sockets->now.count = 0;
    if (inet_diag_dump(&sockets->netlink, question->ports, question->port_count, &sockets->now) < 0)
        return -1;
    return unix_diag_dump(&sockets->netlink, question->paths, question->path_count, same ? &sockets->ours : &nothing,
                          &sockets->now);
}

/* An interrupted dump, or one that broke, is asked for once more; an interrupted one is then as good as it gets. */
static int dump(struct sockets *sockets, const struct sockets_question *question)
{
    int64_t start = clock_cpu_us(); /* what it costs, not how long others kept us from it */
    int result = dump_once(sockets, question);
    if (result < 0 && !netlink_is_refused(errno))
        result = dump_once(sockets, question);
    if (result < 0 && errno == EINTR)
        result = 0;
    sockets->dumped_at_us = clock_now_us();
    sockets->dump_took_us = clock_cpu_us() - start;
    sockets->dumped_for = hash_of(question);
    return result;
}

static bool dump_is_due(const struct sockets *sockets, const struct sockets_question *question)
{
    int64_t age = clock_now_us() - sockets->dumped_at_us;
    if (question->want_whole || sockets->dump_took_us <= SOCKETS_SLOW_US || sockets->dumped_for != hash_of(question))
        return true;
    return age >= DUMP_AGE_US || age >= sockets->dump_took_us * SHARE_OF_DUMPS;
}

/* Looks again at each socket of the last answer. A socket that is gone is left out; any other failure is one. */
static int ask_known(struct sockets *sockets)
{
    sockets->now.count = 0;
    for (size_t i = 0; i < sockets->ours.count; i++) {
        const struct socket_fact *known = &sockets->ours.at[i];
        struct socket_fact fact;
        int result = known->key.family == AF_UNIX ? unix_diag_ask(&sockets->netlink, known, &fact)
                                                  : inet_diag_ask(&sockets->netlink, &known->key, &fact);
        if (result < 0 && errno != ENOENT && errno != ESTALE)
            return -1;
        if (result == 0 && socket_table_add(&sockets->now, &fact) < 0)
            return -1;
    }
    return 0;
}

static int look_by_proc(struct sockets *sockets, const struct sockets_question *question)
{
    sockets->now.count = 0;
    sockets->dumped_for = 0; /* these facts have no key: the next look by sock_diag dumps */
    return proc_net_dump("/proc/self/net", question->ports, question->port_count, &sockets->now);
}

static void note_refusal(struct sockets *sockets, int error)
{
    if (netlink_is_refused(error) || error == ENOENT)
        sockets->refused_until_us = clock_now_us() + REFUSED_US;
    if (!sockets->refusal_said)
        log_warning("sock_diag cannot be asked: %s; reading /proc/self/net/tcp instead, which knows less",
                    strerror(error));
    sockets->refusal_said = true;
}

static int look_by_sock_diag(struct sockets *sockets, const struct sockets_question *question)
{
    if (clock_now_us() < sockets->refused_until_us)
        return -1;
    if (!dump_is_due(sockets, question) && ask_known(sockets) == 0) {
        sockets->whole = false;
        return 0;
    }
    if (dump(sockets, question) == 0) {
        sockets->refusal_said = false;
        return 0;
    }
    note_refusal(sockets, errno);
    return -1;
}

static uint8_t look_at_kernel(struct sockets *sockets, const struct sockets_question *question)
{
    sockets->whole = true;
    if (look_by_sock_diag(sockets, question) == 0)
        return SEEN_BY_SOCK_DIAG;
    if (look_by_proc(sockets, question) == 0)
        return SEEN_BY_PROC;
    log_warning("the sockets cannot be seen: /proc/self/net/tcp: %s", strerror(errno));
    sockets->now.count = 0;
    return SEEN_NOT;
}

static int keep_ours(struct sockets *sockets)
{
    sockets->next.count = 0;
    for (size_t i = 0; i < sockets->now.count; i++) {
        struct socket_fact *fact = &sockets->now.at[i];
        const struct socket_fact *before = socket_table_find(&sockets->ours, fact->inode);
        fact->absent_at_us = before ? before->absent_at_us : sockets->whole_at_us;
        if (fact->holders && socket_table_add(&sockets->next, fact) < 0)
            return -1;
    }
    struct socket_table ours = sockets->ours;
    sockets->ours = sockets->next;
    sockets->next = ours;
    return 0;
}

struct sockets_answer sockets_look(struct sockets *sockets, const struct sockets_question *question)
{
    int64_t began_us = clock_now_us();
    struct sockets_answer answer = {.sockets_seen = look_at_kernel(sockets, question)};
    socket_table_sort(&sockets->now);
    owners_count_root(sockets->owners, question->with_root);
    owners_want_fresh(sockets->owners, question->want_whole);
    int readable = owners_fill(sockets->owners, &sockets->now, sockets->whole, question->root, question->except);
    if (readable >= 0 && question->want_epoll)
        owners_look_at_epoll(sockets->owners, &sockets->now);
    answer.owners_seen = readable == 1;
    if (readable < 0 || keep_ours(sockets) < 0) {
        log_warning("the owners of the sockets cannot be looked up: %s", strerror(errno));
        answer.sockets_seen = SEEN_NOT;
        answer.owners_seen = 0;
        sockets->ours.count = 0;
    }
    if (sockets->whole)
        sockets->whole_at_us = answer.sockets_seen && answer.owners_seen ? began_us : 0;
    answer.at = sockets->ours.at;
    answer.count = sockets->ours.count;
    return answer;
}
