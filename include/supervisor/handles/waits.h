/* Who waits for a handle's reply at this moment: the system calls that the app's threads stand in, by
 * /proc/PID/task/TID/syscall (proc(5); needs PTRACE_MODE_ATTACH) and the pollfd array of poll(2),
 * by process_vm_readv(2). */
#ifndef SUPERVISOR_HANDLES_WAITS_H
#define SUPERVISOR_HANDLES_WAITS_H

#include <stddef.h>

#include "supervisor/hold/hold.h"

/* Fills hints[0…count) for the rows. What cannot be read is WAITED_UNKNOWN. One pass over the tasks of
 * each process that a row names as a holder of its socket; a socket with more than one holder is WAITED_UNKNOWN
 * unless one of them is seen to wait for it. */
void waits_read(const struct handle_row *rows, size_t count, struct hold_hint *hints);

#endif
