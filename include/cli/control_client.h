/* Asking a running lastcall: the other side of supervisor/platform/control_server.h. */
#ifndef CLI_CONTROL_CLIENT_H
#define CLI_CONTROL_CLIENT_H

#include "common/error.h"
#include "wire/control.h"

/* Sends one request. Returns 0, or -1 and errno. */
int control_client_ask(int fd, enum control_verb verb, unsigned flags);

enum control_heard { CONTROL_HEARD_ERROR = -1, CONTROL_HEARD_END, CONTROL_HEARD_REPLY };

/* Waits for the next reply, limit_ms at most (-1: for ever). REPLY: its strings are ended and fit to be printed. END:
 * the supervisor closed the connection. ERROR and errno: ETIMEDOUT, EPROTO (it is no lastcall of ours), … */
enum control_heard control_client_hear(int fd, struct control_reply *reply, int limit_ms);

/* What such an errno means, for people. */
const char *control_client_why(int number);

/* Prints one JSON object for the reply to stdout. `result`: "done", "refused", "lost", … Returns 0, or -1. */
int control_client_print_json(const char *verb, const char *result, int exit_code, const struct control_reply *reply);

enum { CONTROL_ANSWER_MS = 5000 }; /* the first reply comes at once; a supervisor that takes longer is stuck */

#endif
