/* Reaping: every child that ends, the app's orphans included (lastcall is PID 1 or a child subreaper, prctl(2)). */
#ifndef SUPERVISOR_APP_REAP_H
#define SUPERVISOR_APP_REAP_H

#include <stdbool.h>
#include <sys/types.h>

enum reaped_how {
    REAPED_NONE, REAPED_EXITED, REAPED_SIGNALED, REAPED_STOPPED, REAPED_CONTINUED,
    REAPED_TRAPPED /* a thread stopped for its tracer, which is this process: ptrace(2), never job control */
};

struct reaped {
    pid_t pid;
    enum reaped_how how;
    int value; /* exit code, or the signal; TRAPPED: the signal, and the event of ptrace(2) << 8 */
};

/* Becomes a child subreaper (a no-op for PID 1). Returns 0, or -1 and errno. */
int reap_become_subreaper(void);

/* The next child that changed state, by waitid(2) without waiting. REAPED_NONE: no more for now. */
struct reaped reap_next(void);

/* There is no child at all, not even one to be reaped. Needs no descriptor and no procfs; reaps nothing. */
bool reap_is_childless(void);

/* The exit code a shell reports: the code, or 128 + signal. */
int reap_exit_code(const struct reaped *reaped);

#endif
