/* Waiting for targets: see agent/wait.h. "Answers" means what it means in a look: connected, let in, and its sessions
 * told. Each try is a connection of its own, with a pause of 0.1 s before the second and twice the last before each,
 * up to 2 s. One loop, nothing waits; a target that has answered is let go at once, with the protocol's goodbye.
 *
 * It must never touch the app (there is none yet), nor change anything on a server. */
#include "agent/wait.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <string.h>

#include "agent/link.h"
#include "agent/targets/target.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#define TRY_LIMIT_US (5 * US_PER_SECOND)
#define PAUSE_FIRST_S 0.1
#define PAUSE_LAST_S 2.

enum { WAIT_FAILED = 1 };

struct waiting {
    struct ev_loop *loop;
    struct link *link;
    char *const *names;
    char application_name[80];
    struct waited {
        struct waiting *waiting;
        struct message_target message;
        struct target *target; /* of the try that is under way; NULL: between two */
        ev_timer pause;
        double pause_s;
    } waited[WIRE_TARGETS];
    size_t count, left;
    int exit_code;
};

static void stop(struct waiting *waiting, int exit_code)
{
    waiting->exit_code = exit_code;
    ev_break(waiting->loop, EVBREAK_ALL);
}

static void tell(const struct waited *waited, const struct target_answer *answer)
{
    struct message_found found = {.header = {sizeof found, MESSAGE_FOUND, 0},
                                  .target = (int16_t)waited->message.index,
                                  .what = FOUND_REACHED,
                                  .answer = answer->ok ? FOUND_YES : FOUND_NO,
                                  .took_us = answer->ok ? answer->took_us : -1};
    text_copy(found.text, sizeof found.text, answer->why);
    link_send(waited->waiting->link, &found);
}

static void pause_for_next(struct waited *waited)
{
    struct waiting *waiting = waited->waiting;
    ev_now_update(waiting->loop);
    ev_timer_set(&waited->pause, waited->pause_s, 0.);
    ev_timer_start(waiting->loop, &waited->pause);
    waited->pause_s = waited->pause_s * 2 < PAUSE_LAST_S ? waited->pause_s * 2 : PAUSE_LAST_S;
}

static void answered(void *context, struct target *target, const struct target_answer *answer)
{
    struct waited *waited = context;
    bool ok = answer->ok;
    tell(waited, answer);
    waited->target = NULL;
    target_destroy(target); /* the answer is gone with it */
    if (!ok)
        pause_for_next(waited);
    else if (--waited->waiting->left == 0)
        stop(waited->waiting, 0);
}

static void try(struct waited *waited)
{
    struct waiting *waiting = waited->waiting;
    waited->target = target_create(waiting->loop, &waited->message, waiting->application_name);
    if (!waited->target || target_ask(waited->target, TRY_LIMIT_US, false, answered, waited) < 0)
        stop(waiting, WAIT_FAILED);
}

static void pause_is_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    try(timer->data);
}

/* ---- the channel ---- */

static void take_settings(void *context, const void *message)
{
    const struct message_settings *settings = message;
    struct waiting *waiting = context;
    const char *slash = strchr(settings->application_name, '/');
    struct text name = text_in(waiting->application_name, sizeof waiting->application_name);
    text_add(&name, "lastcall-agent/%s", slash ? slash + 1 : settings->application_name);
    /* A target that is down is what is waited for: the supervisor says so, now and then. */
    log_set_level(settings->log_level == LOG_LEVEL_DEBUG ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
}

static bool is_waited_for(const struct waiting *waiting, const char *name)
{
    for (char *const *at = waiting->names; *at; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

static void take_target(void *context, const void *message)
{
    const struct message_target *target = message;
    struct waiting *waiting = context;
    if (!is_waited_for(waiting, target->name))
        return;
    struct waited *waited = &waiting->waited[waiting->count++]; /* the link lets no more than WIRE_TARGETS through */
    *waited = (struct waited){.waiting = waiting, .message = *target, .pause_s = PAUSE_FIRST_S};
    ev_timer_init(&waited->pause, pause_is_over, 0., 0.);
    waited->pause.data = waited;
}

static void take_ready(void *context, const void *message)
{
    struct waiting *waiting = context;
    (void)message;
    waiting->left = waiting->count;
    for (size_t i = 0; i < waiting->count; i++)
        try(&waiting->waited[i]);
    if (waiting->count == 0)
        stop(waiting, 0);
}

static void channel_lost(void *context, int failed, const char *why)
{
    (void)failed;
    log_debug("%s", why);
    stop(context, WAIT_FAILED);
}

int wait_run(int fd, char *const *names)
{
    static struct waiting waiting; /* large, and there is one */
    const struct link_handlers handlers = {
        .of = {[MESSAGE_SETTINGS] = take_settings, [MESSAGE_TARGET] = take_target, [MESSAGE_READY] = take_ready},
        .lost = channel_lost,
        .context = &waiting,
    };
    waiting = (struct waiting){.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV), .names = names};
    waiting.link = waiting.loop ? link_create(waiting.loop, fd, LINK_STUCK_SECONDS, &handlers) : NULL;
    if (!waiting.link) {
        log_error("no event loop: %s", strerror(errno));
        return WAIT_FAILED;
    }
    ev_run(waiting.loop, 0);
    for (size_t i = 0; i < waiting.count; i++)
        target_destroy(waiting.waited[i].target);
    link_destroy(waiting.link);
    ev_loop_destroy(waiting.loop);
    return waiting.exit_code;
}
