/* A probe: see agent/probe.h. One loop, nothing waits: all targets are asked at once, each one thing after the other.
 *
 * It states facts, and must never touch the app, nor change anything on a server. */
#include "agent/probe.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/link.h"
#include "agent/probe_questions.h"
#include "agent/sockets/sockets.h"
#include "agent/targets/target.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#define LOOK_LIMIT_US (2500 * US_PER_MS)
#define SAY_LIMIT_US (1000 * US_PER_MS)
#define WHOLE_LIMIT_S 4.

enum { PROBE_FAILED = 1 };

struct probing {
    struct ev_loop *loop;
    struct link *link;
    ev_timer limit;
    char application_name[80];
    struct probed {
        struct probing *probing;
        struct target *target;
        const struct probe_question *question; /* that is being asked; NULL: the look */
    } probed[WIRE_TARGETS];
    size_t count, left;
    int exit_code;
};

static void stop(struct probing *probing, int exit_code)
{
    probing->exit_code = exit_code;
    ev_break(probing->loop, EVBREAK_ALL);
}

static void tell(struct probing *probing, struct message_found found, const char *text)
{
    found.header = (struct message_header){sizeof found, MESSAGE_FOUND, 0};
    text_copy(found.text, sizeof found.text, text);
    link_send(probing->link, &found);
}

static struct message_found about(const struct probed *probed, enum found_what what, enum found_answer answer)
{
    const struct message_target *message = target_message(probed->target);
    return (struct message_found){.target = (int16_t)message->index, .what = (uint8_t)what, .answer = (uint8_t)answer,
                                  .kind = message->kind, .took_us = -1};
}

/* ---- sockets ---- */

static void tell_sockets(struct probing *probing, pid_t root)
{
    const struct sockets_question question = {.ports = {1}, .port_count = 1, .root = root};
    struct message_found found = {.target = -1, .what = FOUND_SOCKETS, .answer = FOUND_NO, .took_us = -1};
    struct sockets *sockets = sockets_create();
    int seen = sockets ? sockets_look(sockets, &question).sockets_seen : 0;
    sockets_destroy(sockets);
    if (seen == 1)
        found.answer = FOUND_YES;
    tell(probing, found, seen == 1 ? "sock_diag" : seen == 2 ? "/proc/self/net" : "");
}

/* ---- targets ---- */

static void ask_next(struct probed *probed);

static void finished(struct probed *probed)
{
    if (--probed->probing->left == 0)
        stop(probed->probing, 0);
}

static void said(void *context, struct target *target, const struct target_answer *answer)
{
    struct probed *probed = context;
    char text[256] = "";
    (void)target;
    enum found_answer found = probed->question->judge(answer->ok, answer->why, text, sizeof text);
    tell(probed->probing, about(probed, probed->question->what, found), text);
    ask_next(probed);
}

static void ask_next(struct probed *probed)
{
    probed->question = probe_question_next(target_message(probed->target)->kind, probed->question);
    if (!probed->question ||
        target_say(probed->target, SAY_LIMIT_US, probed->question->command, said, probed) < 0)
        finished(probed);
}

static void tell_addresses(const struct probed *probed)
{
    static const enum found_answer unchanged[] = {FOUND_UNKNOWN, FOUND_YES, FOUND_NO};
    tell(probed->probing, about(probed, FOUND_UNCHANGED, unchanged[target_is_translated(probed->target) + 1]), "");
}

static void looked(void *context, struct target *target, const struct target_answer *answer)
{
    struct probed *probed = context;
    struct message_found reached = about(probed, FOUND_REACHED, answer->ok ? FOUND_YES : FOUND_NO);
    reached.took_us = answer->ok ? answer->took_us : -1;
    tell(probed->probing, reached, answer->why);
    if (!answer->ok) {
        finished(probed);
        return;
    }
    tell_addresses(probed);
    ask_next(probed);
    (void)target;
}

/* ---- the channel ---- */

static void take_settings(void *context, const void *message)
{
    const struct message_settings *settings = message;
    struct probing *probing = context;
    const char *slash = strchr(settings->application_name, '/');
    struct text name = text_in(probing->application_name, sizeof probing->application_name);
    log_set_level((enum log_level)settings->log_level);
    text_add(&name, "lastcall-agent/%s", slash ? slash + 1 : settings->application_name);
    tell_sockets(probing, settings->supervisor_pid);
}

static void take_target(void *context, const void *message)
{
    struct probing *probing = context;
    struct probed *probed = &probing->probed[probing->count];
    *probed = (struct probed){.probing = probing};
    probed->target = target_create(probing->loop, message, probing->application_name);
    if (probed->target)
        probing->count++;
    else
        stop(probing, PROBE_FAILED);
}

static void take_ready(void *context, const void *message)
{
    struct probing *probing = context;
    (void)message;
    probing->left = probing->count;
    for (size_t i = 0; i < probing->count; i++)
        if (target_ask(probing->probed[i].target, LOOK_LIMIT_US, false, looked, &probing->probed[i]) < 0)
            finished(&probing->probed[i]);
    if (probing->count == 0)
        stop(probing, 0);
}

static void channel_lost(void *context, int failed, const char *why)
{
    log_debug("%s", why);
    stop(context, failed ? PROBE_FAILED : 0);
}

static void time_is_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    stop(watcher->data, 0);
}

int probe_run(int fd)
{
    struct probing probing = {.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV)};
    const struct link_handlers handlers = {
        .of = {[MESSAGE_SETTINGS] = take_settings, [MESSAGE_TARGET] = take_target, [MESSAGE_READY] = take_ready},
        .lost = channel_lost,
        .context = &probing,
    };
    probing.link = probing.loop ? link_create(probing.loop, fd, LINK_STUCK_SECONDS, &handlers) : NULL;
    if (!probing.link) {
        log_error("no event loop: %s", strerror(errno));
        return PROBE_FAILED;
    }
    ev_timer_init(&probing.limit, time_is_over, WHOLE_LIMIT_S, 0.);
    probing.limit.data = &probing;
    ev_timer_start(probing.loop, &probing.limit);
    ev_run(probing.loop, 0);
    for (size_t i = 0; i < probing.count; i++)
        target_destroy(probing.probed[i].target);
    link_destroy(probing.link);
    ev_loop_destroy(probing.loop);
    return probing.exit_code;
}
