/* The choice of a thread: see supervisor/handles/lender.h. Reads only. */
#include "supervisor/handles/lender.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/signals.h"

enum { THREADS_LOOKED_AT = 32 };
enum rank { BEST, GOOD, LAST_RESORT, RANKS };

static const struct {
    long number;
    enum rank rank;
} ranks[] = {
#ifdef SYS_poll
    {SYS_poll, BEST},
#endif
    {SYS_futex, BEST},           {SYS_ppoll, BEST},           {SYS_nanosleep, BEST},
    {SYS_clock_nanosleep, BEST}, {SYS_restart_syscall, BEST}, {SYS_wait4, BEST},
    {SYS_recvfrom, LAST_RESORT}, {SYS_recvmsg, LAST_RESORT},  {SYS_recvmmsg, LAST_RESORT},
    {SYS_read, LAST_RESORT},     {SYS_readv, LAST_RESORT},
};

/* "running" is neither. */
static enum rank rank_of(pid_t tid)
{
    char path[32], text[256];
    snprintf(path, sizeof path, "/proc/%d/syscall", tid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return GOOD;
    char *end;
    long number = strtol(text, &end, 10);
    for (size_t i = 0; end > text && i < sizeof ranks / sizeof *ranks; i++)
        if (ranks[i].number == number)
            return ranks[i].rank;
    return GOOD;
}

static unsigned list_threads(pid_t pid, pid_t *tids, unsigned room)
{
    char path[32];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && count < room && (e = readdir(tasks));)
        if (e->d_name[0] != '.')
            tids[count++] = atoi(e->d_name);
    if (tasks)
        closedir(tasks);
    return count;
}

unsigned lender_choose(pid_t pid, pid_t *tids, unsigned room)
{
    pid_t all[THREADS_LOOKED_AT];
    unsigned char rank[THREADS_LOOKED_AT];
    unsigned count = list_threads(pid, all, THREADS_LOOKED_AT), chosen = 0;
    for (unsigned i = 0; i < count; i++)
        rank[i] = (unsigned char)rank_of(all[i]);
    for (unsigned wanted = BEST; wanted < RANKS; wanted++)
        for (unsigned i = 0; i < count && chosen < room; i++)
            if (rank[i] == wanted)
                tids[chosen++] = all[i];
    return chosen;
}

bool lender_is_still_best(pid_t tid)
{
    return rank_of(tid) == BEST;
}

/* The number in a line of /proc/PID/status (proc(5)), or -1: it is not told (Seccomp_filters: since Linux 5.9). */
static int64_t number_in(const char *text, const char *name, int base)
{
    const char *line = strstr(text, name);
    return line ? (int64_t)strtoull(line + strlen(name), NULL, base) : -1;
}

static int read_status(pid_t tid, struct lender_traits *traits)
{
    char path[32], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return -1;
    traits->filters = (int)number_in(text, "\nSeccomp_filters:", 10);
    traits->ignores_trap = number_in(text, "\nSigIgn:", 16) & (int64_t)SIGNAL_BIT(SIGTRAP);
    return traits->filters;
}

enum { STARTSTACK = 28 - 3 }; /* proc(5), /proc/PID/stat: fields from the state on, which is the third */

/* Only a process's own stack is known to be one: that of another thread may be memory that others use. */
static unsigned long own_stack_of(pid_t tid)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    char *at = fd_read_file(AT_FDCWD, path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    at = at ? at + 1 : NULL;
    for (int i = 0; at && i < STARTSTACK; i++)
        at = strchr(at + 1, ' ');
    return at ? strtoul(at, NULL, 10) : 0;
}

void lender_read_traits(pid_t pid, pid_t tid, struct lender_traits *traits)
{
    struct lender_traits own = {0};
    *traits = (struct lender_traits){.ignores_trap = true};
    traits->is_filtered = read_status(tid, traits) > 0 && traits->filters > read_status(getpid(), &own);
    traits->stack = pid == tid ? own_stack_of(tid) : 0;
}
