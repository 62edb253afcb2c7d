/* The file that lastcall-agent is run from. */
#ifndef SUPERVISOR_PLATFORM_AGENT_PROGRAM_H
#define SUPERVISOR_PLATFORM_AGENT_PROGRAM_H

#include <stddef.h>

#include "common/error.h"

/* Where the agent is: LASTCALL_AGENT of the environment (looked up in PATH when it has no slash, as the spawn does),
 * else `lastcall-agent` beside the running program. To be called before any change of uid: /proc/self/exe may not be
 * readable after it. Returns 0, or -1 and errno. */
int agent_program_find(char *path, size_t size);

/* Is it a file that we may execute? Returns 0, or -1 and the story: which file, why not, and what to do. */
int agent_program_check(const char *path, struct error *error);

#endif
