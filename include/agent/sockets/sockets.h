/* One look at the app's sockets: what the kernel knows (sock_diag, else procfs), and whose they are. Synchronous and
 * bounded: a dump walks the whole host's table, so while dumps take longer than SOCKETS_SLOW_US the known sockets are
 * asked one by one in between, and dumps take at most a tenth of the time. */
#ifndef AGENT_SOCKETS_SOCKETS_H
#define AGENT_SOCKETS_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/sockets/diag.h"
#include "agent/sockets/fact.h"

enum { SOCKETS_SLOW_US = 5000 };

struct sockets;

struct sockets_question {
    uint16_t ports[DIAG_PORTS];    /* of the targets */
    size_t port_count;
    const char *paths[DIAG_PATHS]; /* of targets at a unix socket: the socket's file */
    size_t path_count;
    pid_t root, except;            /* the app tree: see owners.h */
    bool want_epoll;
    bool want_whole;               /* a dump, however slow dumps are: no socket may be missed, and no holder of one */
    bool with_root;                /* see owners_count_root() */
};

struct sockets_answer {
    const struct socket_fact *at; /* of the app tree only, by inode; valid until the next look */
    size_t count;
    uint8_t sockets_seen; /* 1: sock_diag; 2: procfs; 0: neither, then nothing is known */
    uint8_t owners_seen;  /* 1: every process of the tree could be read */
};

/* Returns NULL and ENOMEM. */
struct sockets *sockets_create(void);
void sockets_destroy(struct sockets *sockets);
struct sockets_answer sockets_look(struct sockets *sockets, const struct sockets_question *question);

/* For tests: as if the last dump had taken so long. */
void sockets_pretend_slow(struct sockets *sockets, int64_t dump_us);
/* For tests: as if netlink were refused. */
void sockets_pretend_refused(struct sockets *sockets);

#endif
