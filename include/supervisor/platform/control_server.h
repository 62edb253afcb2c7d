/* The control socket of a running supervisor (protocol: wire/control.h). Never blocks: a client that does not read or
 * does not speak is dropped. The app runs also when no place for the socket could be found. */
#ifndef SUPERVISOR_PLATFORM_CONTROL_SERVER_H
#define SUPERVISOR_PLATFORM_CONTROL_SERVER_H

#include <stdbool.h>

#include "config/config.h"
#include "wire/control.h"

struct ev_loop;

/* What a request is answered with. Zeroed when the callback is called. */
struct control_answer {
    bool waits;         /* the client stays for control_server_progress(), until control_server_done(); it is refused
                         * when 16 do: `status` and `resume` must find room */
    bool refused;       /* else it is done */
    int exit_code;      /* of the verb, unless it waits */
    struct control_state state;
    char text[256];     /* one line for people; escaped by the server; may be empty */
};

struct control_server_user {
    void *context;
    /* A request of a verb that is known. May call control_server_progress() and control_server_done(): they reach this
     * client too when the verb is CONTROL_DRAIN, and `answer` is then not looked at any more. */
    void (*request)(void *context, enum control_verb verb, bool now, struct control_answer *answer);
};

struct control_server;

/* Opens config->socket, else <directory>/<instance>.sock in the first directory of control_socket_directory() that can
 * be used; says one warning when none can, or when a living supervisor answers there. Never NULL unless there is no
 * memory; all calls below take NULL. The directory is made 0700, the socket 0600. `loop` must outlive it. */
struct control_server *control_server_create(struct ev_loop *loop, const struct config *config,
                                             const struct control_server_user *user);

/* Removes the socket if it is still ours, drops all clients, frees. */
void control_server_destroy(struct control_server *server);

/* The path of the socket, or NULL when there is none. */
const char *control_server_path(const struct control_server *server);

/* A line of progress to every `drain` that waits. */
void control_server_progress(struct control_server *server, const struct control_state *state, const char *text);

/* The end of every `drain` that waits. */
void control_server_done(struct control_server *server, int exit_code, const struct control_state *state,
                         const char *text);

/* How many wait. */
unsigned control_server_waiting(const struct control_server *server);

#endif
