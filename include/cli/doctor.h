/* What `lastcall doctor` finds: a row a thing. cli/doctor.c fills the rows from here (doctor_here.c, doctor_user.c),
 * from the platform (doctor_place.c) and from what `lastcall-agent --probe` told (doctor_agent.c, doctor_targets.c),
 * and prints them (doctor_print.c). */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/config.h"

enum doctor_verdict {
    DOCTOR_YES,
    DOCTOR_PART,    /* it works, but something is less than it could be */
    DOCTOR_NO,
    DOCTOR_UNKNOWN
};

enum { DOCTOR_CURES = 4, DOCTOR_ROWS = 16 + 5 * WIRE_TARGETS };

/* A line that mends it, and where it belongs. */
struct doctor_cure {
    char where[48]; /* "docker run", "SQL", "pgbouncer.ini" */
    char line[320];
};

struct doctor_row {
    enum doctor_verdict verdict;
    bool needed;             /* the promise hangs on it: NO and UNKNOWN are then what the exit code tells */
    char what[16];           /* "hands" */
    char target[WIRE_NAME];  /* which one; empty: none */
    char detail[400];
    char consequence[240];   /* in one clause; empty: none */
    struct doctor_cure cures[DOCTOR_CURES];
    size_t cure_count;
};

enum doctor_platform { PLATFORM_NONE, PLATFORM_KUBERNETES, PLATFORM_DOCKER, PLATFORM_PODMAN, PLATFORM_CONTAINER,
                       PLATFORM_SYSTEMD, PLATFORMS };

struct doctor {
    struct doctor_row rows[DOCTOR_ROWS];
    size_t count;
    enum doctor_platform platform;
    char platform_why[200];
};

/* A new row, needed, or the last one once more when there are too many. detail: format. */
struct doctor_row *doctor_add(struct doctor *doctor, enum doctor_verdict verdict, const char *what, const char *target,
                              const char *format, ...) __attribute__((format(printf, 5, 6)));
void doctor_cure(struct doctor_row *row, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True when nothing that is needed is missing or not known. */
bool doctor_is_well(const struct doctor *doctor);

/* ---- doctor_place.c: pure but for doctor_look_around() ---- */

/* What tells where we run. Strings are NULL or empty when there is none. */
struct doctor_clues {
    const char *kubernetes_host, *container, *invocation; /* KUBERNETES_SERVICE_HOST, container, INVOCATION_ID */
    bool dockerenv, containerenv;                         /* /.dockerenv, /run/.containerenv */
    const char *cgroup;                                   /* /proc/self/cgroup */
};
void doctor_judge_place(struct doctor *doctor, const struct doctor_clues *clues);
void doctor_look_around(struct doctor *doctor);

/* The row about the grace period. */
void doctor_judge_grace(struct doctor *doctor, int64_t grace_us);

/* One line for each kind of platform; what is not of this one is left out, on an unknown one all are given. */
struct doctor_remedy {
    const char *docker, *compose, *kubernetes, *systemd;
};
void doctor_prescribe(const struct doctor *doctor, struct doctor_row *row, const struct doctor_remedy *remedy);

/* ---- doctor_here.c: tries the hands, the freeze and the control socket on a child of its own ---- */

void doctor_try_here(struct doctor *doctor, const struct config *config);

/* ---- doctor_user.c: apps that become another user, tried on a child; and the app of a lastcall that runs here ---- */

void doctor_try_user(struct doctor *doctor);

/* ---- doctor_agent.c: runs `lastcall-agent --probe` ---- */

/* What was told; of what was not, `found` is false. The last index: of no target. */
struct doctor_facts {
    struct {
        bool found;
        struct message_found message;
    } of[WIRE_TARGETS + 1][FOUND_KINDS];
};
/* Fills `facts` within some seconds, whatever the agent does. Returns 0, or -1 and why nothing could be asked. */
int doctor_ask_agent(const char *program, const struct config *config, struct doctor_facts *facts, struct error *error);

/* ---- doctor_targets.c: pure: facts → rows ---- */

void doctor_judge_sockets(struct doctor *doctor, const struct doctor_facts *facts, bool needed);
void doctor_judge_targets(struct doctor *doctor, const struct config *config, const struct doctor_facts *facts);

/* ---- doctor_print.c ---- */

/* Both return 0, or -1 when the stream failed. */
int doctor_print_text(const struct doctor *doctor, FILE *stream);
int doctor_print_json(const struct doctor *doctor, const struct config_errors *errors, FILE *stream);

const char *doctor_verdict_name(enum doctor_verdict verdict);
const char *doctor_platform_name(enum doctor_platform platform);

/* Seconds between the stop signal and SIGKILL by default; -1: not known. */
int doctor_platform_grace(enum doctor_platform platform);

#endif
