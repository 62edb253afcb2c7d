/* The stops of threads that this process traces: looked at one thread at a time, and waited for within a limit.
 *
 * A stop is seen and left to be reaped, and so is everything else: who reaps all children finds each end and each stop
 * in its own right as if nobody had looked. */
#ifndef SUPERVISOR_HANDLES_STOPS_H
#define SUPERVISOR_HANDLES_STOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* From stops_begin() to stops_end() SIGCHLD is taken here, and it is the only thing that is waited for: the processor
 * is left to the thread that is to stop. Afterwards it is raised again if a child has anything to be reaped. */
struct stops {
    uint64_t mask;     /* before */
    bool took;         /* a SIGCHLD */
};
void stops_begin(struct stops *stops);
void stops_end(const struct stops *stops);

/* 1: it stands stopped for its tracer, and *status says for what, as in waitid(2); 0: not yet; -1: it has ended. */
int stops_look(pid_t tid, int *status);

/* Until a child has changed, or `until_us` of the monotonic clock. False: it is later than that. */
bool stops_wait(struct stops *stops, int64_t until_us);

/* Until that one stops. 0, or -1 and errno: ETIMEDOUT, ESRCH. */
int stops_wait_for(struct stops *stops, pid_t tid, int64_t until_us, int *status);

#endif
