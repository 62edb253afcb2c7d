/* The clocks: see common/clock.h. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_read_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * US_PER_SECOND + t.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_cpu_us(void)
{
    return clock_read_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_wall_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}

void clock_format_wall(char at[static 32], int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / US_PER_SECOND);
    struct tm tm;
    size_t length = 0;
    if (gmtime_r(&seconds, &tm))
        length = strftime(at, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(at + length, 32 - length, ".%03dZ", (int)(wall_us % US_PER_SECOND / US_PER_MS));
}
