/* A nudge: one thread's system call is interrupted for a moment, and nobody else of the app notices. A recv(2) that has
 * taken bytes and waits for more, under a brake, then returns what it has; one that has taken none goes on waiting, as
 * after a SIGSTOP and a SIGCONT (signal(7), "Interruption of system calls by stop signals").
 *
 * By ptrace(2): PTRACE_SEIZE, PTRACE_INTERRUPT, and when the thread stops, PTRACE_DETACH. Nothing here waits for that
 * stop: it comes with SIGCHLD like every change of a child, and who reaps hands it on. The thread stands stopped for as
 * long as that takes; a signal that finds it seized is passed on to it; if lastcall dies, the kernel lets go of it. */
#ifndef SUPERVISOR_HANDLES_NUDGE_H
#define SUPERVISOR_HANDLES_NUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { NUDGES_MOST = 32 };

/* The threads that are seized and have not stopped yet. */
struct nudges {
    struct {
        pid_t tid;
        int64_t since_us;
    } list[NUDGES_MOST];
    unsigned count;
};

/* Seizes the thread and interrupts it. Returns 0 (also when that is under way already), or -1 and errno: EPERM (no
 * ptrace here, or somebody traces it already), ESRCH (it has ended), EBUSY (too many are under way). */
int nudge_thread(struct nudges *nudges, pid_t tid, int64_t now_us);

/* A thread stopped for its tracer; `status`: the signal that it is about to take, or one and an event << 8 (ptrace(2)).
 * It is let go, with that signal. */
void nudge_stopped(struct nudges *nudges, pid_t tid, int status);

/* A thread or process ended: it will not stop any more. */
void nudge_ended(struct nudges *nudges, pid_t tid);

/* Forgets the threads that have not stopped for 5 ms, and returns how many: when they stop, they are let go all the
 * same. */
unsigned nudge_forget_late(struct nudges *nudges, int64_t now_us);

#endif
