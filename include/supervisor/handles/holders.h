/* Who of the app tree has a socket open: asked when the process that was known to hold it does not any more. */
#ifndef SUPERVISOR_HANDLES_HOLDERS_H
#define SUPERVISOR_HANDLES_HOLDERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct holder {
    uint64_t inode; /* of the socket that is looked for */
    pid_t pid;      /* who holds it; 0: nobody */
    int fd;
};

/* Fills pid and fd of each, in one walk over the descriptors of the descendants of this process. Linear in those: for
 * the few sockets that are not where they were. Returns 0, or -1 and errno: not known, all pids are 0. */
int holders_find(struct holder *holders, size_t count);

#endif
