/* Which process of the app tree has a socket open, under which number. Reads /proc/PID/fd of the tree only, as seldom
 * as it can: a known owner is checked by one readlink(2), and the tables are read anew when a socket has no owner, or
 * at most once a second so that `holders` stays true. The containers of a pod share the network namespace: a socket
 * that nobody in the tree had in two looks is foreign, and causes no further reading for as long as it lives.
 *
 * One socket has one owner, whoever else has it: the others are named beside it, SOCKET_OTHERS at most. */
#ifndef AGENT_SOCKETS_OWNERS_H
#define AGENT_SOCKETS_OWNERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/sockets/fact.h"

struct owners;

/* Returns NULL and ENOMEM. */
struct owners *owners_create(void);
void owners_destroy(struct owners *owners);

/* Fills pid, fd, holders, descriptors, others and epoll in a sorted table; holders 0: not the tree's. `whole`: the
 * table shows all sockets, so one that is not in it is gone. The tree: what descends from `root`, without `except` and
 * what descends from it. Returns 1 when every process of the tree could be read at the last reading, 0 when not (said in
 * the log, once), -1 and errno when there was no reading the tree at all. */
int owners_fill(struct owners *owners, struct socket_table *table, bool whole, pid_t root, pid_t except);

/* From now on the tables are read anew as soon as they are 20 ms old, instead of a second, where that costs little: so
 * that a process that was forked a moment ago counts. */
void owners_want_fresh(struct owners *owners, bool fresh);

/* From now on what `root` itself holds counts, too, after the tree: the supervisor's duplicates of what the app had. */
void owners_count_root(struct owners *owners, bool count);

/* Reads anew which of the sockets are in an epoll set of their pid (fill first); else owners_fill() repeats what was
 * known. */
void owners_look_at_epoll(struct owners *owners, struct socket_table *table);

/* How often the tables were read, for tests and the debug log. */
unsigned owners_scans(const struct owners *owners);

#endif
