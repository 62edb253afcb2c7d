/* How the grace is divided among the phases of a stop. Pure: no I/O, no clock. */
#include "supervisor/lifecycle/lifecycle.h"

#define RESERVE_US INT64_C(500000)      /* before the platform's SIGKILL */
#define SHORT_US INT64_C(2000000)       /* a grace below this keeps a share instead */
#define LAST_MOST_US INT64_C(1000000)   /* for the servers' answers, and as much for the reaping */
#define SECOND_MOST_US INT64_C(1000000) /* for the others, when what was in flight is given up */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t reserve_of(int64_t grace_us)
{
    int64_t share = grace_us * 3 / 100;
    if (grace_us < SHORT_US)
        return grace_us * 30 / 100;
    return share > RESERVE_US ? share : RESERVE_US;
}

struct lifecycle_deadlines lifecycle_deadlines_of(int64_t began_us, int64_t grace_us, bool ends_at_once)
{
    int64_t usable = grace_us - reserve_of(grace_us);
    struct lifecycle_deadlines d;
    d.done = began_us + usable;
    d.kill = d.done - least(LAST_MOST_US, usable / 8);
    d.stop = d.kill - least(LAST_MOST_US, usable / 8);
    /* An app that the signal ends at once needs no time after it: its transactions may have nearly all of the grace. */
    d.rest = ends_at_once ? d.stop : began_us + (d.stop - began_us) * 7 / 10;
    d.hold = d.rest - least(SECOND_MOST_US, usable / 10);
    return d;
}
