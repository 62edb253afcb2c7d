/* adopt COMMAND…: starts an app and takes duplicates of all its sockets, again and again, by the same code as lastcall,
 * while the app works. Each line of standard input, "COUNT GAP_US", is one series: so many adoptions, so far apart; its
 * figures are one line of JSON on standard output. Must never touch the app but by its hands: whether it has noticed
 * anything, its journal says. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/process.h"
#include "supervisor/app/reap.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/handles/nudge.h"

static struct sockets {
    int fds[DUPLICATES_MOST];
    uint64_t inodes[DUPLICATES_MOST];
    unsigned count;
} sockets;

static pid_t app;
static struct nudges nudges;

static void fail(const char *what)
{
    fprintf(stderr, "adopt: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void note_socket(void *context, pid_t pid, int fd, uint64_t inode)
{
    (void)context, (void)pid;
    if (sockets.count == DUPLICATES_MOST)
        return;
    sockets.fds[sockets.count] = fd;
    sockets.inodes[sockets.count++] = inode;
}

/* As the supervisor does it. */
static void reap(void)
{
    for (struct reaped reaped; (reaped = reap_next()).how != REAPED_NONE;) {
        if (reaped.how == REAPED_TRAPPED)
            nudge_stopped(&nudges, reaped.pid, reaped.value);
        else if (reaped.how == REAPED_EXITED || reaped.how == REAPED_SIGNALED)
            nudge_ended(&nudges, reaped.pid);
        if (reaped.pid == app && (reaped.how == REAPED_EXITED || reaped.how == REAPED_SIGNALED)) {
            errno = ESRCH;
            fail("the app has ended");
        }
    }
}

/* Microseconds, or -1: not now. A socket that the app has closed fails the series: these apps close none. */
static int64_t adopt(void)
{
    int duplicates[DUPLICATES_MOST];
    int64_t began_us = clock_now_us();
    int result = duplicate_take_all(app, sockets.fds, sockets.inodes, sockets.count, duplicates);
    int64_t took_us = clock_now_us() - began_us;
    if (result < 0 && errno != EAGAIN)
        fail("taking duplicates");
    if (result < 0)
        return -1;
    for (unsigned i = 0; i < sockets.count; i++)
        if (duplicates[i] < 0 || close(duplicates[i]) < 0)
            fail("a duplicate of another socket");
    return took_us;
}

static int compare(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
    return (one > two) - (one < two);
}

static void say(int64_t *took_us, long count, long again, int64_t longest_us)
{
    double sum = 0;
    qsort(took_us, (size_t)count, sizeof *took_us, compare);
    for (long i = 0; i < count; i++)
        sum += (double)took_us[i];
    printf("{\"adoptions\": %ld, \"handles\": %u, \"way\": \"%s\", \"mean_us\": %.0f, \"median_us\": %lld, "
           "\"p99_us\": %lld, \"longest_us\": %lld, \"not_at_once\": %ld}\n", count, sockets.count, duplicate_way(),
           sum / (double)count, (long long)took_us[count / 2], (long long)took_us[count * 99 / 100],
           (long long)longest_us, again);
    fflush(stdout);
}

/* The gap is the app's time between two of them, measured by the clock: nothing is waited for. */
static void wait_for(struct timespec *next, long gap_us)
{
    next->tv_nsec += gap_us * 1000;
    next->tv_sec += next->tv_nsec / 1000000000;
    next->tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
    clock_gettime(CLOCK_MONOTONIC, next);
}

static void do_series(long count, long gap_us)
{
    int64_t *took_us = calloc((size_t)count, sizeof *took_us), longest_us = 0;
    long again = 0;
    struct timespec next;
    sockets.count = 0;
    if (!took_us || process_each_socket(app, note_socket, NULL) < 0 || sockets.count == 0)
        fail("the sockets of the app");
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (long done = 0; done < count; wait_for(&next, gap_us)) {
        int64_t began_us = clock_now_us(), took = adopt(), all = clock_now_us() - began_us;
        longest_us = all > longest_us ? all : longest_us;
        if (took >= 0)
            took_us[done++] = took;
        else
            again++;
        reap();
    }
    say(took_us, count, again, longest_us);
    free(took_us);
}

int main(int argc, char **argv)
{
    char line[64];
    long count, gap_us;
    if (argc < 2 || (app = fork()) < 0)
        fail("adopt COMMAND…");
    if (app == 0) {
        execvp(argv[1], argv + 1);
        fail(argv[1]);
    }
    while (fgets(line, sizeof line, stdin))
        if (sscanf(line, "%ld %ld", &count, &gap_us) == 2 && count > 0)
            do_series(count, gap_us);
    kill(app, SIGKILL);
    return 0;
}
