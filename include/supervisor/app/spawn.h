/* Starting a child with a clean slate: own process group, empty signal mask, default dispositions, no descriptor of
 * lastcall's. The step that failed and its errno come back through a close-on-exec pipe. */
#ifndef SUPERVISOR_APP_SPAWN_H
#define SUPERVISOR_APP_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum spawn_step { SPAWN_OK, SPAWN_PIPE, SPAWN_FORK, SPAWN_GROUP, SPAWN_TERMINAL, SPAWN_SIGNALS, SPAWN_EXEC };

struct spawn_request {
    char *const *argv;         /* NULL-ended; argv[0] is looked up in PATH of `envp` when it has no slash (execvpe) */
    char *const *envp;         /* NULL-ended */
    int terminal;              /* controlling terminal whose foreground group the child becomes, or -1 */
    bool own_group;            /* setpgid(0, 0) */
    int keep_fd, keep_as;      /* a descriptor of ours the child gets, under the number keep_as; -1: none */
    int death_signal;          /* PR_SET_PDEATHSIG, or 0 */
    const struct rlimit *descriptors; /* RLIMIT_NOFILE of the child; NULL: as ours */
    uint64_t still_ignored;    /* bits of signals that stay SIG_IGN in the child (nohup's SIGHUP) */
    bool output_to_error;      /* its standard output is our standard error */
    char **room;               /* NULL, or SPAWN_ROOM(envp's count, argv's count) pointers: nothing is allocated then */
    int *outcome;              /* NULL, or: do not wait for the exec; *outcome is for spawn_read_outcome() */
};
#define SPAWN_ROOM(envp_count, argv_count) ((envp_count) + 1 + (argv_count) + 2)

struct spawn_failure {
    enum spawn_step step;
    int error; /* errno */
};

/* Forks and executes. Returns the pid when execve(2) succeeded, else -1 and `failure`; the failed child is reaped.
 * Waits for the exec's outcome on the pipe (a bounded wait in practice: nothing of ours runs in between). */
pid_t spawn_process(const struct spawn_request *request, struct spawn_failure *failure);

/* Of a child that has ended: did it get as far as its command? Closes `outcome`. False: `failure` says why not. */
bool spawn_read_outcome(int *outcome, struct spawn_failure *failure);

/* 127 when the command was not found, 126 when it could not be executed, else 125: as shells and container runtimes. */
int spawn_exit_code(const struct spawn_failure *failure);
const char *spawn_step_name(enum spawn_step step);

#endif
