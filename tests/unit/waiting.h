/* Waiting for a condition with a limit, for tests with real processes: looks again and again, yields in between, and
 * never sleeps for a fixed time. */
#ifndef TESTS_UNIT_WAITING_H
#define TESTS_UNIT_WAITING_H

#include <poll.h>
#include <stdbool.h>

#include "common/clock.h"

#define WAIT_LIMIT_US (10 * US_PER_SECOND)

/* True once `condition` is; false when it was not within the limit. It is evaluated again and again. */
#define wait_until(condition)                                              \
    ({                                                                     \
        const int64_t limit_ = clock_now_us() + WAIT_LIMIT_US;             \
        bool met_ = false;                                                 \
        while (!(met_ = (condition)) && clock_now_us() < limit_)           \
            poll(NULL, 0, 1);                                              \
        met_;                                                              \
    })

#endif
