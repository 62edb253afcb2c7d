/* The choice of a thread: see supervisor/handles/lender.h. Reads only. */
#include "supervisor/handles/lender.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fd.h"

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
static enum rank rank_of(pid_t pid, pid_t tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
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
        rank[i] = (unsigned char)rank_of(pid, all[i]);
    for (unsigned wanted = BEST; wanted < RANKS; wanted++)
        for (unsigned i = 0; i < count && chosen < room; i++)
            if (rank[i] == wanted)
                tids[chosen++] = all[i];
    return chosen;
}

bool lender_is_still_best(pid_t pid, pid_t tid)
{
    return rank_of(pid, tid) == BEST;
}

/* proc(5); -1: not told, before Linux 5.9. */
static int filters_of(pid_t tid)
{
    char path[32], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    if (fd_read_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return -1;
    const char *line = strstr(text, "\nSeccomp_filters:");
    return line ? atoi(line + strlen("\nSeccomp_filters:")) : -1;
}

bool lender_is_filtered(pid_t tid)
{
    int theirs = filters_of(tid);
    return theirs > 0 && theirs > filters_of(getpid());
}
