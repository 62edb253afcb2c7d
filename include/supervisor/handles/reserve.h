/* Descriptors kept in reserve, so that a mark can be taken off whatever else is open: a process' and a duplicate. */
#ifndef SUPERVISOR_HANDLES_RESERVE_H
#define SUPERVISOR_HANDLES_RESERVE_H

#include <stdbool.h>

struct reserve {
    bool kept;
    int fds[2];
};

/* Keeps them, if they are not yet. False: there is none to be had. */
bool reserve_keep(struct reserve *reserve);

/* For who needs them now; kept again afterwards. */
void reserve_give(struct reserve *reserve);

#endif
