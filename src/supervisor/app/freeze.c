/* Freezing the app tree for a last look.
 *
 * SIGSTOP is sent, then verified pass by pass; a pass reads procfs once and never waits. Who was stopped before (^Z, a
 * debugger) is left alone, and stays stopped at the thaw. This file never decides how long a freeze may take, and never
 * sends a signal to a process that is not in the tree. */
#include "supervisor/app/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/fd.h"

#define SLOW_PASS_US (20 * US_PER_MS)
#define SLOW_PASS_CPU_US (5 * US_PER_MS)

enum stillness { GONE, STOPPED, RUNNING };

/* ---- is it stopped? ---- */

/* proc(5): the state is the 3rd field, the number of threads the 20th; the command's name, which may hold anything,
 * ends at the last ')'. */
static int read_state(const char *path, char *state, int *threads)
{
    char text[1024];

    if (fd_read_file(AT_FDCWD, path, text, sizeof text) == -1)
        return -1;
    const char *end = strrchr(text, ')');
    if (end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", state,
                      threads) == 2)
        return 0;
    errno = EBADMSG;
    return -1;
}

/* D is not stopped: a parent inside vfork(2), a disk access that will go on. */
static enum stillness stillness_of_state(char state)
{
    switch (state) {
    case 'T':
    case 't':
        return STOPPED;
    case 'Z':
    case 'X':
        return GONE;
    default:
        return RUNNING;
    }
}

static enum stillness stillness_of_thread(pid_t pid, const char *thread)
{
    char path[352], state = '?';
    int threads;

    snprintf(path, sizeof path, "/proc/%d/task/%s/stat", pid, thread);
    if (read_state(path, &state, &threads) == -1)
        return errno == ENOENT || errno == ESRCH ? GONE : RUNNING;
    return stillness_of_state(state);
}

/* A stop is taken by each thread for itself, and the leader may have ended before the others. */
static enum stillness stillness_of_threads(pid_t pid)
{
    char path[64];
    enum stillness all = GONE;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads)
        return errno == ENOENT || errno == ESRCH ? GONE : RUNNING;
    for (struct dirent *entry; all != RUNNING && (entry = readdir(threads));) {
        const enum stillness one = entry->d_name[0] == '.' ? GONE : stillness_of_thread(pid, entry->d_name);
        if (one > all)
            all = one;
    }
    closedir(threads);
    return all;
}

static enum stillness stillness_of(pid_t pid)
{
    char path[64], state = '?';
    int threads = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_state(path, &state, &threads) == -1)
        return errno == ENOENT || errno == ESRCH ? GONE : RUNNING;
    if (threads <= 1 || stillness_of_state(state) == RUNNING)
        return stillness_of_state(state);
    return stillness_of_threads(pid);
}

/* ---- whom did we stop? ---- */

/* Pids come in the same order again, by and large: look at where this one was first. */
static bool is_among(const pid_t *pids, size_t count, pid_t pid, size_t *hint)
{
    for (size_t i = 0; i < count; i++) {
        const size_t at = (*hint + i) % count;
        if (pids[at] == pid) {
            *hint = at + 1;
            return true;
        }
    }
    return false;
}

static int add_ours(struct freeze *freeze, pid_t pid)
{
    struct process_tree *tree = &freeze->tree;

    if (tree->count == tree->room) {
        const size_t room = tree->room ? tree->room * 2 : 64;
        pid_t *pids = realloc(tree->pids, room * sizeof *pids);
        if (!pids)
            return -1;
        tree->pids = pids;
        tree->room = room;
    }
    tree->pids[tree->count++] = pid;
    return 0;
}

static int add_stopped_before(struct freeze *freeze, pid_t pid)
{
    const size_t count = freeze->stopped_before_count;
    pid_t *pids = realloc(freeze->stopped_before, (count + 1) * sizeof *pids);

    if (!pids)
        return -1;
    pids[count] = pid;
    freeze->stopped_before = pids;
    freeze->stopped_before_count++;
    return 0;
}

/* One that had been stopped by another and was continued meanwhile is ours from now on. */
static int stop_one(struct freeze *freeze, pid_t pid, bool is_ours)
{
    if (!is_ours && add_ours(freeze, pid) == -1)
        return -1;
    return as_user_kill(pid, SIGSTOP) == -1 && errno != ESRCH ? -1 : 0;
}

#define _cleanup_tree_ __attribute__((cleanup(process_tree_finish)))

struct pass {
    size_t ours_hint, before_hint;
    bool all_stopped;
};

static int look_at(struct freeze *freeze, pid_t pid, struct pass *pass)
{
    const bool is_ours = is_among(freeze->tree.pids, freeze->tree.count, pid, &pass->ours_hint);

    switch (stillness_of(pid)) {
    case GONE:
        return 0;
    case STOPPED:
        if (is_ours || is_among(freeze->stopped_before, freeze->stopped_before_count, pid, &pass->before_hint))
            return 0;
        return add_stopped_before(freeze, pid);
    case RUNNING:
        break;
    }
    pass->all_stopped = false;
    return stop_one(freeze, pid, is_ours);
}

/* A process that can't be signalled does not keep the others from being stopped. */
static int look_at_all(struct freeze *freeze, const struct process_tree *tree, struct pass *pass)
{
    int error = 0;

    for (size_t i = 0; i < tree->count; i++)
        if (look_at(freeze, tree->pids[i], pass) == -1)
            error = errno;
    errno = error;
    return error ? -1 : 0;
}

/* All of `tree` have been seen stopped: they fork no more, so that what is not in it now was forked before that, after
 * the tree was read. Stops it; true when there was none. */
static int nobody_was_forked_meanwhile(struct freeze *freeze, const struct process_tree *tree, pid_t root, pid_t except)
{
    struct process_tree again _cleanup_tree_ = { 0 };
    struct pass pass = { 0 };
    size_t hint = 0;
    int nobody = 1;

    if (process_tree_read(&again, root, except) == -1)
        return -1;
    for (size_t i = 0; i < again.count; i++) {
        if (is_among(tree->pids, tree->count, again.pids[i], &hint))
            continue;
        nobody = 0;
        if (look_at(freeze, again.pids[i], &pass) == -1)
            return -1;
    }
    return nobody;
}

/* Stops whoever is not stopped. Returns 1 when nobody had to be, 0 when somebody had, -1 and errno. */
static int make_pass(struct freeze *freeze, pid_t root, pid_t except)
{
    struct process_tree now _cleanup_tree_ = { 0 };
    struct pass pass = { .all_stopped = true };

    if (process_tree_read(&now, root, except) == -1 || look_at_all(freeze, &now, &pass) == -1)
        return -1;
    return pass.all_stopped ? nobody_was_forked_meanwhile(freeze, &now, root, except) : 0;
}

static int measure_pass(struct freeze *freeze, pid_t root, pid_t except)
{
    const int64_t began_us = clock_now_us(), began_cpu_us = clock_cpu_us();
    const int complete = make_pass(freeze, root, except);
    const int error = errno;

    freeze->pass_us = clock_now_us() - began_us;
    freeze->pass_cpu_us = clock_cpu_us() - began_cpu_us;
    errno = error;
    return complete;
}

/* ---- the promise ---- */

int freeze_begin(struct freeze *freeze, pid_t root, pid_t except, int64_t now_us)
{
    freeze_finish(freeze);
    freeze->on = true;
    freeze->began_us = now_us;
    if (measure_pass(freeze, root, except) >= 0)
        return 0;
    const int error = errno;
    freeze_finish(freeze); /* half a freeze is none */
    errno = error;
    return -1;
}

int freeze_is_complete(struct freeze *freeze, pid_t root, pid_t except, int64_t now_us)
{
    if (!freeze->on)
        return 0;
    const int complete = measure_pass(freeze, root, except);
    if (complete == 1 && freeze->complete_us == 0)
        freeze->complete_us = now_us;
    return complete;
}

bool freeze_is_too_slow(const struct freeze *freeze)
{
    return freeze->pass_us > SLOW_PASS_US && freeze->pass_cpu_us > SLOW_PASS_CPU_US;
}

/* Parents stand before their children, and those that were found later at the end. */
void freeze_end(struct freeze *freeze)
{
    for (size_t i = freeze->tree.count; i > 0; i--)
        as_user_kill(freeze->tree.pids[i - 1], SIGCONT);
    freeze->tree.count = 0;
    freeze->stopped_before_count = 0;
    freeze->on = false;
}

void freeze_release(struct freeze *freeze, pid_t pid)
{
    struct process_tree *tree = &freeze->tree;
    size_t hint = 0;

    if (tree->count == 0 || !is_among(tree->pids, tree->count, pid, &hint))
        return;
    as_user_kill(pid, SIGCONT);
    memmove(&tree->pids[hint - 1], &tree->pids[hint], (tree->count - hint) * sizeof *tree->pids);
    tree->count--;
}

void freeze_finish(struct freeze *freeze)
{
    freeze_end(freeze);
    process_tree_finish(&freeze->tree);
    free(freeze->stopped_before);
    *freeze = (struct freeze){ 0 };
}
