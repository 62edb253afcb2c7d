/* How the grace is divided among the phases of a stop, and what is left of it anew when a stop follows a drain. Pure:
 * no I/O, no clock.
 *
 * Deadlines are absolute, and none is later than `done`: whatever happens, the deadlines alone lead to the end. */
#include "supervisor/lifecycle/ways.h"

#define RESERVE_US INT64_C(500000)      /* before the platform's SIGKILL */
#define SHORT_US INT64_C(2000000)       /* a grace below this keeps a share instead */
#define LAST_MOST_US INT64_C(1000000)   /* for the servers' answers, and as much for the reaping */
#define SECOND_MOST_US INT64_C(1000000) /* for the others, when what was in flight is given up */
#define LATE_SIGNAL_US INT64_C(2000000) /* a signal late after a drain still has this long (as the kubelet grants) */

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

/* A drain was under way, or was before: its clock goes on, and what is left of it is divided anew. The drain's own
 * share for the hold may be gone, but a transaction that is in flight now has all the time that there is. */
void deadlines_divide_rest(struct lifecycle *l, int64_t now)
{
    int64_t left = l->began_us + l->settings.grace_us - now;
    int64_t late = least(LATE_SIGNAL_US, l->settings.grace_us);
    l->deadlines = lifecycle_deadlines_of(now, most(left, late), l->ends_at_once);
}

void deadlines_begin(struct lifecycle *l, int64_t now)
{
    bool counts = l->drained_until_us && now < l->drained_until_us;
    l->drained_until_us = 0;
    if (!counts)
        l->began_us = now;
    deadlines_divide_rest(l, now);
}

int64_t deadlines_of_hold(const struct lifecycle *l)
{
    /* Before SIGKILL the time is shared: what is left after the hold is for the reaping. */
    if (l->signalled)
        return l->deadlines.stop + (l->deadlines.kill - l->deadlines.stop) * 6 / 10;
    return l->gave_up ? l->deadlines.rest : l->deadlines.hold;
}

/* The way from a hold to what follows it may not eat the time of what comes then. */
int64_t deadlines_hold_over_by(const struct lifecycle *l)
{
    int64_t after = l->deadlines.kill - l->deadlines.stop;
    return l->deadlines.stop + (l->signalled ? after * 8 / 10 : after / 4);
}
