/* `lastcall-agent --probe`, for `lastcall doctor`: tries once what the agent lives on here, tells each fact, and
 * ends. */
#ifndef AGENT_PROBE_H
#define AGENT_PROBE_H

/* Hears SETTINGS, the TARGETs and READY on the channel `fd`, answers by FOUND messages, and returns the exit code
 * within some seconds of READY, whatever the servers do: what was not told by then is not known. */
int probe_run(int fd);

#endif
