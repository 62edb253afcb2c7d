/* What the parent has prepared for a child, and the child's way from fork(2) to execve(2). Shared by spawn.c and
 * spawn_child.c, and by nothing else. */
#ifndef SUPERVISOR_APP_SPAWN_CHILD_H
#define SUPERVISOR_APP_SPAWN_CHILD_H

#include <stddef.h>

#include "supervisor/app/spawn.h"

/* sd_listen_fds(3), sd_watchdog_enabled(3): meant for one pid, ours; the child takes our place. */
struct spawn_pid_variable {
    const char *name; /* with the '=' */
    size_t slot;      /* of envp; SIZE_MAX: not there, or not meant for us */
    char text[40];
};

struct spawn_plan {
    const struct spawn_request *request;
    char **envp;   /* heap, or the request's room: its strings in an array of our own */
    char **script; /* the same: sh, the script, argv[1]… */
    struct spawn_pid_variable listen, watchdog;
    pid_t parent;
    int report; /* the pipe's write end */
};

/* In the child, with every signal blocked. */
_Noreturn void spawn_child_run(struct spawn_plan *plan);

#endif
