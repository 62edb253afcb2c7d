/* Another life: whether an app that ended by itself is started again, and when. Pure: no I/O, no clock.
 *
 * The first wait is backoff, each further one twice as long, up to backoff_max. A life that was longer than backoff_max
 * shows that the app can run: the wait after it is the first one again. */
#include "supervisor/lifecycle/cells.h"

/* The place in the ring of the restart that was `limit` ago, and where the next one goes. */
static unsigned place(const struct lifecycle *l)
{
    return l->lives.restarts % l->settings.restart.limit;
}

static bool is_too_often(const struct lifecycle *l, int64_t now_us)
{
    const struct lifecycle_restart *restart = &l->settings.restart;
    return restart->limit && l->lives.restarts >= restart->limit &&
           now_us - l->lives.times[place(l)] < restart->window_us;
}

enum restart_verdict restart_judge(const struct lifecycle *l, int64_t now_us)
{
    const struct lifecycle_restart *restart = &l->settings.restart;
    if (!l->by_itself || l->by_a_person || !(l->failed ? restart->after_failure : restart->after_success))
        return RESTART_NOT;
    return is_too_often(l, now_us) ? RESTART_TOO_OFTEN : RESTART_AGAIN;
}

/* began_us is when the app's end was seen: what its sweep took is no part of its life. */
int64_t restart_next_wait(struct lifecycle *l)
{
    const struct lifecycle_restart *restart = &l->settings.restart;
    bool was_long = l->began_us - l->lives.started_us > restart->backoff_max_us;
    int64_t wait_us = was_long || !l->lives.wait_us ? restart->backoff_us : 2 * l->lives.wait_us;
    l->lives.wait_us = wait_us < restart->backoff_max_us ? wait_us : restart->backoff_max_us;
    return l->lives.wait_us;
}

void restart_begin(struct lifecycle *l, int64_t now_us)
{
    struct lifecycle next = {.settings = l->settings, .lives = l->lives, .phase = l->phase};
    next.lives.started_us = now_us;
    if (next.settings.restart.limit)
        next.lives.times[place(l)] = now_us;
    next.lives.restarts++;
    *l = next;
}
