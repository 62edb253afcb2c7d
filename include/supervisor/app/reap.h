/* Reaping: every child that ends, the app's orphans included (lastcall is PID 1 or a child subreaper, prctl(2)). */
#ifndef SUPERVISOR_APP_REAP_H
#define SUPERVISOR_APP_REAP_H

#include <sys/types.h>

enum reaped_how { REAPED_NONE, REAPED_EXITED, REAPED_SIGNALED, REAPED_STOPPED, REAPED_CONTINUED };

struct reaped {
    pid_t pid;
    enum reaped_how how;
    int value; /* exit code, or the signal */
};

/* Becomes a child subreaper (a no-op for PID 1). Returns 0, or -1 and errno. */
int reap_become_subreaper(void);

/* The next child that changed state, by waitpid(-1, WNOHANG | WUNTRACED | WCONTINUED). REAPED_NONE: no more for now. */
struct reaped reap_next(void);

/* The exit code a shell reports: the code, or 128 + signal. */
int reap_exit_code(const struct reaped *reaped);

#endif
