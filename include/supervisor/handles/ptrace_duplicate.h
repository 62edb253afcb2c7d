/* The second way to a duplicate, where seccomp refuses pidfd_getfd(2) and not ptrace(2) (Docker's and containerd's
 * default profiles): one thread of the process is stopped and made to send us its descriptors over a unix socket that
 * it opens and closes again; as many as one letter carries, for the price of one. The other threads go on meanwhile.
 *
 * The letter lies in memory that the thread maps for it and gives back; or, where the process's own stack is what it
 * stands on, below that stack's red zone, and what was there is put back. Its signals wait meanwhile; its registers are
 * put back while it stands where the kernel restarts the call that was interrupted. One that stands stopped (SIGSTOP)
 * does so afterwards. A thread that does not stop within 1 ms is left alone, and another one is asked; one that has
 * begun and does not go on within 5 ms is finished later, by whoever reaps. */
#ifndef SUPERVISOR_HANDLES_PTRACE_DUPLICATE_H
#define SUPERVISOR_HANDLES_PTRACE_DUPLICATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The duplicate (close-on-exec) of descriptor fd of pid; which socket it is, the caller looks at. -1 and errno: EAGAIN
 * (no thread could do it now), ESTALE (it is closed), ESRCH (the process is gone), EPERM (traced by another, no
 * right), ENOSYS (it cannot be done with this process: its own seccomp filter, another architecture, a network
 * namespace of its own), EMFILE. */
int ptrace_duplicate(pid_t pid, int fd);

/* The same for `count` descriptors of pid (at most LETTER_FDS_MOST) by one stop of one thread; duplicates[i] is that of
 * fds[i]. Returns 0, or -1 and errno, and nothing was taken. ESTALE: one of them at least is closed. */
int ptrace_duplicate_all(pid_t pid, const int *fds, unsigned count, int *duplicates);

/* How long is waited for a thread to stop, and for its calls; and for how long a process is left alone when none did.
 * Only tests change it. */
struct ptrace_duplicate_limits {
    int64_t stop_us, calls_us, rest_us;
};
extern struct ptrace_duplicate_limits ptrace_duplicate_limits;

/* A thread stopped for its tracer. True when it was one that had to be finished: it is cared for. */
bool ptrace_duplicate_stopped(pid_t tid, int status);

/* A thread or process ended. */
void ptrace_duplicate_ended(pid_t tid);

#endif
