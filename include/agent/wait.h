/* `lastcall-agent --wait NAME…`, for wait_for: tries targets until each has answered once, and ends. */
#ifndef AGENT_WAIT_H
#define AGENT_WAIT_H

/* Hears SETTINGS, the TARGETs and READY on the channel `fd`, says FOUND_REACHED of each try, and returns 0 when each of
 * `names` (NULL-ended) has answered a look, 1 when it cannot go on. It has no limit: who has started it has. */
int wait_run(int fd, char *const *names);

#endif
