/* Why the sockets of a process cannot be duplicated, in words: ptrace(2) and pidfd_getfd(2) say EPERM to everything. */
#ifndef SUPERVISOR_HANDLES_REFUSAL_H
#define SUPERVISOR_HANDLES_REFUSAL_H

#include <stddef.h>
#include <sys/types.h>

/* What errno says, and if it is a refusal, what there is about the process that would explain it: it is traced, not
 * dumpable, another user's, of another architecture, in another network namespace, under a seccomp filter of its
 * own. Looks at the process as it is now; reads some small files of /proc. */
void refusal_explain(pid_t pid, int error, char *text, size_t size);

#endif
