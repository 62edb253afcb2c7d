/* Refusals in words: see supervisor/handles/refusal.h. Never guesses: what cannot be read is not said. */
#include "supervisor/handles/refusal.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/process.h"
#include "common/text.h"
#include "supervisor/handles/lender.h"

/* The number in a line of its status, or 0. */
static uint64_t status_of(pid_t pid, const char *name, int base)
{
    char path[32], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (fd_read_file(AT_FDCWD, path, status, sizeof status) <= 0)
        return 0;
    const char *line = strstr(status, name);
    return line ? strtoull(line + strlen(name), NULL, base) : 0;
}

static bool is_traced(pid_t pid, struct text *text)
{
    pid_t tracer = (pid_t)status_of(pid, "\nTracerPid:", 10);
    if (tracer == 0 || tracer == getpid())
        return false;
    text_add(text, "process %d is traced already, by process %d", pid, tracer);
    return true;
}

static bool is_of_another_user(pid_t pid, struct text *text)
{
    uid_t uid;
    bool may_all = status_of(getpid(), "\nCapEff:", 16) >> CAP_SYS_PTRACE & 1;
    if (may_all || process_read_uid(pid, &uid) < 0 || uid == geteuid())
        return false;
    text_add(text, "process %d runs as another user, uid %u", pid, uid);
    return true;
}

/* Its files in /proc are then root's (proc(5)). */
static bool is_not_dumpable(pid_t pid, struct text *text)
{
    char path[32];
    struct stat environ;
    uid_t uid;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    if (process_read_uid(pid, &uid) < 0 || uid == 0 || stat(path, &environ) < 0 || environ.st_uid == uid)
        return false;
    text_add(text, "process %d is not dumpable (PR_SET_DUMPABLE in prctl(2))", pid);
    return true;
}

/* e_machine stands at the same place in both classes; -1: not known. */
static int machine_of(pid_t pid)
{
    char path[32];
    Elf64_Ehdr head = {0};
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    int program _cleanup_close_ = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return program >= 0 && read(program, &head, sizeof head) == sizeof head ? head.e_machine : -1;
}

static bool is_of_another_architecture(pid_t pid, struct text *text)
{
    int theirs = machine_of(pid), ours = machine_of(getpid());
    if (theirs < 0 || ours < 0 || theirs == ours)
        return false;
    text_add(text, "process %d runs another architecture's code (ELF machine %d, lastcall's is %d)", pid, theirs, ours);
    return true;
}

static bool has_own_filter(pid_t pid, struct text *text)
{
    struct lender_traits traits;
    lender_read_traits(pid, pid, &traits);
    if (traits.is_filtered)
        text_add(text, "process %d has a seccomp filter of its own: a call that it does not allow might end it", pid);
    return traits.is_filtered;
}

static bool is_in_another_network(pid_t pid, struct text *text)
{
    char path[32];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    if (stat(path, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0 || theirs.st_ino == ours.st_ino)
        return false;
    text_add(text, "process %d is in a network namespace of its own", pid);
    return true;
}

void refusal_explain(pid_t pid, int error, char *at, size_t size)
{
    static bool (*const reasons[])(pid_t, struct text *) = {is_traced, is_not_dumpable, is_of_another_user,
                                                            is_of_another_architecture, has_own_filter,
                                                            is_in_another_network};
    char why[160];
    struct text text = text_in(at, size), reason = text_in(why, sizeof why);
    text_add(&text, "%s", strerror(error));
    if (error != EPERM && error != EACCES && error != ENOSYS)
        return;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i](pid, &reason)) {
            text_add(&text, ": %s", why);
            return;
        }
}
