/* Does the app listen anywhere? Asked once at a stop, where no agent runs that could tell. */
#ifndef SUPERVISOR_HANDLES_LISTENING_H
#define SUPERVISOR_HANDLES_LISTENING_H

#include <stdbool.h>

/* True when a descendant of this process has one of the first 64 listening TCP sockets of this network namespace open.
 * Reads the beginning of /proc/self/net/tcp and tcp6, where those stand (proc(5)), and the descriptors of the tree only
 * when somebody listens at all. */
bool listening_any(void);

#endif
