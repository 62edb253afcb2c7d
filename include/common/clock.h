/* The clocks. Every deadline of lastcall is on the monotonic one; the wall clock is only ever printed. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define US_PER_MS INT64_C(1000)
#define US_PER_SECOND INT64_C(1000000)

/* Microseconds of CLOCK_MONOTONIC: one time line for both programs, since they run on one host. Never fails. */
int64_t clock_now_us(void);

/* Microseconds of processor time that the calling thread has used. Never fails. */
int64_t clock_cpu_us(void);

/* Microseconds of CLOCK_REALTIME since 1970-01-01T00:00:00Z. May jump: for printing and for comparing with servers. */
int64_t clock_wall_us(void);

/* Writes `wall_us` as RFC 3339 UTC with milliseconds ("2026-01-31T23:59:59.123Z") into `at`, which needs 32 bytes. */
void clock_format_wall(char at[static 32], int64_t wall_us);

#endif
