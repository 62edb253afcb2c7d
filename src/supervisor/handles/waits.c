/* Who waits for what: see supervisor/handles/waits.h. Reads only. */
#include "supervisor/handles/waits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "common/as_user.h"
#include "common/fd.h"

enum { RESTARTED_FDS = 400, POLLED_MOST = 1 << 20, POLL_EVENTS = 0x3fff /* <asm-generic/poll.h> */ };
enum { LONG_MS = 1000 }; /* a thread that waits for longer is not about to go on by itself */
enum { POLL_FDS = 64, SELECT_FDS = 1024, LONG_BITS = 8 * sizeof(long) }; /* what is longer may hold any descriptor */

/* Newer processors have only the newer calls; no call has this number. */
enum { NO_CALL = -1 };
#ifdef SYS_poll
enum { OLD_POLL = SYS_poll, OLD_SELECT = SYS_select, OLD_EPOLL_WAIT = SYS_epoll_wait };
#else
enum { OLD_POLL = NO_CALL, OLD_SELECT = NO_CALL, OLD_EPOLL_WAIT = NO_CALL };
#endif

struct task_call {
    pid_t pid, tid;
    long number;
    unsigned long args[6];
};

/* The rows of one process, whichever of their holders it is, get what one of its threads tells. */
struct look {
    const struct handle_row *rows;
    struct hold_hint *hints;
    size_t count;
    bool timed; /* a thread runs, or will go on by itself soon */
};

enum { ANY_FD = -1 };

static bool is_held_by(const struct handle_row *row, pid_t pid, int fd)
{
    bool held = row->pid == pid && (fd == ANY_FD || row->fd == fd);
    for (size_t i = 0; !held && row->descriptors > 1 && i < SOCKET_OTHERS; i++)
        held = row->others[i].pid == pid && (fd == ANY_FD || row->others[i].fd == fd);
    return held;
}

static void note(const struct look *look, const struct task_call *call, int fd, enum waited how)
{
    for (size_t i = 0; i < look->count; i++) {
        struct hold_hint *hint = &look->hints[i];
        if (hint->waited == WAITED_ALONE || !is_held_by(&look->rows[i], call->pid, fd))
            continue;
        hint->waited = (uint8_t)how;
        hint->thread = how == WAITED_ALONE ? call->tid : 0;
    }
}

/* The thread waits for more than can be told: its descriptors may be any of the process'. */
static void note_any(const struct look *look, const struct task_call *call)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->hints[i].waited == WAITED_NOT && is_held_by(&look->rows[i], call->pid, ANY_FD))
            look->hints[i].waited = WAITED_WITH_OTHERS;
}

static bool read_memory(pid_t pid, unsigned long address, void *at, size_t size)
{
    struct iovec mine = {at, size}, theirs = {(void *)address, size};
    return size > 0 && process_vm_readv(pid, &mine, 1, &theirs, 1, 0) == (ssize_t)size;
}

/* poll(2) and ppoll(2): alone when its array names one descriptor only. */
static void note_poll(const struct look *look, const struct task_call *call)
{
    struct pollfd fds[POLL_FDS];
    unsigned long n = call->args[1], named = 0;
    if (n == 0)
        return;
    if (n > POLL_FDS || !read_memory(call->pid, call->args[0], fds, n * sizeof *fds)) {
        note_any(look, call);
        return;
    }
    for (unsigned long i = 0; i < n; i++)
        named += fds[i].fd >= 0;
    for (unsigned long i = 0; i < n; i++)
        if (fds[i].fd >= 0)
            note(look, call, fds[i].fd, named == 1 ? WAITED_ALONE : WAITED_WITH_OTHERS);
}

static bool are_pollfds(const struct pollfd *fds, unsigned long n)
{
    int asked = 0;
    for (unsigned long i = 0; i < n; i++) {
        if (fds[i].fd >= POLLED_MOST || fds[i].events & ~POLL_EVENTS)
            return false;
        asked |= fds[i].events;
    }
    return asked != 0;
}

/* After a SIGCONT or a nudge poll(2) goes on as restart_syscall(2), its arguments in place; and so do nanosleep(2) and
 * futex(2) with a limit, whose arguments are no array and its length. */
static void note_restarted(const struct look *look, const struct task_call *call)
{
    struct pollfd fds[RESTARTED_FDS];
    unsigned long n = call->args[1];
    if (n > POLLED_MOST)
        return;
    if (n > 0 && n <= RESTARTED_FDS) {
        errno = EFAULT; /* also of one that is cut short */
        bool read = read_memory(call->pid, call->args[0], fds, n * sizeof *fds);
        if (read ? !are_pollfds(fds, n) : errno == EFAULT)
            return;
    }
    note_poll(look, call);
}

static unsigned long bits_of(const unsigned long *set, unsigned long words)
{
    unsigned long bits = 0;
    for (unsigned long i = 0; i < words; i++)
        bits += (unsigned long)__builtin_popcountl(set[i]);
    return bits;
}

/* select(2) and pselect6: a bit a descriptor, in three sets. Alone when there is one to be read, and nothing else. */
static void note_select(const struct look *look, const struct task_call *call)
{
    unsigned long sets[3][SELECT_FDS / LONG_BITS] = {{0}}, n = call->args[0], named = 0;
    unsigned long words = (n + LONG_BITS - 1) / LONG_BITS;
    for (int i = 0; i < 3 && n > 0; i++) {
        unsigned long address = call->args[1 + i];
        if (n > SELECT_FDS || (address && !read_memory(call->pid, address, sets[i], words * sizeof sets[i][0]))) {
            note_any(look, call);
            return;
        }
        named += bits_of(sets[i], words);
    }
    for (unsigned long fd = 0; fd < n; fd++)
        if (sets[0][fd / LONG_BITS] >> fd % LONG_BITS & 1)
            note(look, call, (int)fd, named == 1 ? WAITED_ALONE : WAITED_WITH_OTHERS);
}

static void note_read(const struct look *look, const struct task_call *call)
{
    note(look, call, (int)call->args[0], WAITED_ALONE);
}

static const struct {
    long number;
    void (*note)(const struct look *look, const struct task_call *call);
} waiting_calls[] = {
    {OLD_POLL, note_poll},        {OLD_SELECT, note_select},
    {SYS_ppoll, note_poll},       {SYS_pselect6, note_select}, {SYS_read, note_read},
    {SYS_readv, note_read},       {SYS_recvfrom, note_read},   {SYS_recvmsg, note_read},
    {SYS_recvmmsg, note_read},    {SYS_io_uring_enter, note_any},
    {SYS_restart_syscall, note_restarted},
};

/* ---- how long a call waits, if nothing happens: milliseconds, or -1 for ever ---- */

static int64_t limit_of_timespec(const struct task_call *call, unsigned argument, unsigned per_ms)
{
    struct { int64_t seconds, parts; } limit;
    if (!call->args[argument])
        return -1;
    if (!read_memory(call->pid, call->args[argument], &limit, sizeof limit))
        return 0;
    return limit.seconds > LONG_MS / 1000 ? LONG_MS : limit.seconds * 1000 + limit.parts / per_ms;
}

static int64_t limit_of_epoll(const struct task_call *call)
{
    return (int)call->args[3];
}

static int64_t limit_of_epoll_timespec(const struct task_call *call)
{
    return limit_of_timespec(call, 3, 1000000);
}

static int64_t limit_of_poll(const struct task_call *call)
{
    return (int)call->args[2];
}

static int64_t limit_of_ppoll(const struct task_call *call)
{
    return limit_of_timespec(call, 2, 1000000);
}

static int64_t limit_of_select(const struct task_call *call)
{
    return limit_of_timespec(call, 4, 1000);
}

static int64_t limit_of_pselect(const struct task_call *call)
{
    return limit_of_timespec(call, 4, 1000000);
}

/* Relative or absolute, by the operation: one with a limit counts as near. */
static int64_t limit_of_futex(const struct task_call *call)
{
    return call->args[3] ? 0 : -1;
}

static int64_t limit_not_known(const struct task_call *call)
{
    (void)call;
    return 0;
}

static const struct {
    long number;
    int64_t (*limit)(const struct task_call *call);
} limited_calls[] = {
    {OLD_EPOLL_WAIT, limit_of_epoll},
    {OLD_POLL, limit_of_poll},
    {OLD_SELECT, limit_of_select},
    {SYS_epoll_pwait, limit_of_epoll}, {SYS_epoll_pwait2, limit_of_epoll_timespec}, {SYS_ppoll, limit_of_ppoll},
    {SYS_pselect6, limit_of_pselect},  {SYS_futex, limit_of_futex}, {SYS_nanosleep, limit_not_known},
    {SYS_clock_nanosleep, limit_not_known}, {SYS_restart_syscall, limit_not_known},
    {SYS_io_uring_enter, limit_not_known},
};

static bool goes_on_soon(const struct task_call *call)
{
    for (size_t i = 0; i < sizeof limited_calls / sizeof *limited_calls; i++)
        if (limited_calls[i].number == call->number) {
            int64_t limit_ms = limited_calls[i].limit(call);
            return limit_ms >= 0 && limit_ms < LONG_MS;
        }
    return false;
}

static void note_running(const struct look *look, pid_t pid)
{
    for (size_t i = 0; i < look->count; i++)
        if (is_held_by(&look->rows[i], pid, ANY_FD))
            look->hints[i].running = 1;
}

/* "number arg0 … arg5 sp pc", "running", or "-1 sp pc" for a thread that is stopped outside of a call. */
static bool parse_call(const char *text, struct task_call *call)
{
    return sscanf(text, "%ld %lx %lx %lx %lx %lx %lx", &call->number, &call->args[0], &call->args[1], &call->args[2],
                  &call->args[3], &call->args[4], &call->args[5]) == 7;
}

static void look_at_task(struct look *look, struct task_call *call, const char *text)
{
    if (!parse_call(text, call)) {
        note_running(look, call->pid);
        look->timed = true;
        return;
    }
    look->timed |= goes_on_soon(call);
    for (size_t i = 0; i < sizeof waiting_calls / sizeof *waiting_calls; i++)
        if (waiting_calls[i].number == call->number)
            waiting_calls[i].note(look, call);
}

/* Of those it is the first holder of; what another one's thread has told stays. */
static void set_not_waited(const struct look *look, pid_t pid)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->rows[i].pid == pid && look->hints[i].waited == WAITED_UNKNOWN)
            look->hints[i].waited = WAITED_NOT;
}

static void set_unknown(const struct look *look, pid_t pid)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->rows[i].pid == pid)
            look->hints[i].waited = WAITED_UNKNOWN;
}

/* Not all holders of a shared socket are named, and some may be newer than the row, or not to be looked at: that nobody
 * waits for it is then not known. */
static void forget_shared(const struct look *look)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->rows[i].holders != 1 && look->hints[i].waited == WAITED_NOT)
            look->hints[i].waited = WAITED_UNKNOWN;
}

static void note_only_events(const struct look *look, pid_t pid)
{
    for (size_t i = 0; i < look->count; i++)
        if (look->rows[i].pid == pid && look->rows[i].holders == 1)
            look->hints[i].only_events = !look->timed && look->hints[i].waited != WAITED_UNKNOWN;
}

static void look_at_process(struct look *look, pid_t pid)
{
    char path[352], text[256];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid, AS_USER_TO_TOUCH);
    set_not_waited(look, pid);
    look->timed = false;
    for (struct dirent *e; (e = readdir(tasks));) {
        struct task_call call = {.pid = pid, .tid = atoi(e->d_name)};
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/syscall", pid, e->d_name);
        ssize_t length = fd_read_file(AT_FDCWD, path, text, sizeof text);
        if (length < 0 && (errno == ENOENT || errno == ESRCH))
            continue; /* it has ended since, and waits for nothing */
        if (length <= 0) {
            set_unknown(look, pid);
            break;
        }
        look_at_task(look, &call, text);
    }
    closedir(tasks);
    note_only_events(look, pid);
}

static bool seen_before(const struct handle_row *rows, size_t i, pid_t pid)
{
    for (size_t k = 0; k < i; k++)
        if (is_held_by(&rows[k], pid, ANY_FD))
            return true;
    return false;
}

/* Each process once, also when it has several descriptors of one socket. */
static void look_at_others(struct look *look, size_t i)
{
    const struct handle_row *row = &look->rows[i];
    for (size_t k = 0; k < SOCKET_OTHERS && row->others[k].pid; k++) {
        pid_t pid = row->others[k].pid;
        bool again = pid == row->pid || seen_before(look->rows, i, pid);
        for (size_t before = 0; before < k; before++)
            again |= row->others[before].pid == pid;
        if (!again)
            look_at_process(look, pid);
    }
}

void waits_read(const struct handle_row *rows, size_t count, struct hold_hint *hints)
{
    struct look look = {.rows = rows, .hints = hints, .count = count};
    if (count > 0)
        memset(hints, 0, count * sizeof *hints);
    for (size_t i = 0; i < count; i++) {
        if (!seen_before(rows, i, rows[i].pid))
            look_at_process(&look, rows[i].pid);
        if (rows[i].descriptors > 1)
            look_at_others(&look, i);
    }
    forget_shared(&look);
}
