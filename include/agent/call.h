/* `lastcall-agent --call "POST http://host:port/path"`, for a hook: calls the URL once, and ends. */
#ifndef AGENT_CALL_H
#define AGENT_CALL_H

/* Says FOUND_CALLED on the channel `fd` and returns the exit code: 0 when the answer was 2xx, else 1. Waits as long as
 * the server lets it: who has started it bounds it. */
int call_run(int fd, const char *url);

#endif
