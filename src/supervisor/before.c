/* Before the app: hooks.pre_start, then wait_for. Both run on the loop that the app will have, so that signals and ends
 * of children are taken as ever; but there is no app yet: a stop signal ends all of it, and no phase changes.
 *
 * Never starts the app by itself, and never lets it be started after a stop signal. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/text.h"
#include "config/wait_for.h"
#include "supervisor/platform/agent_say.h"
#include "supervisor/state.h"

#define PROGRESS_S 5.

/* The loop until it has ended; a stop signal makes it end. */
static void run_until_ended(struct supervisor *s, const struct hook *hook)
{
    while (hook->outcome == HOOK_RUNNING)
        ev_run(s->loop, EVRUN_ONCE);
}

static int stopped(struct supervisor *s)
{
    log_info("%s came before the app was started: it is not", signal_name(s->stop_signo));
    s->exit_code = config_mapped(&s->config->exit_codes, 128 + s->stop_signo);
    return -1;
}

/* ---- pre_start ---- */

static int pre_start(struct supervisor *s)
{
    struct hook *hook = &s->hooks.of[HOOK_PRE_START];
    char after[32];
    struct text text = text_in(after, sizeof after);
    if (!hooks_has(s->config, HOOK_PRE_START))
        return 0;
    hooks_start(s, HOOK_PRE_START, s->config->hooks[HOOK_PRE_START].timeout_us);
    run_until_ended(s, hook);
    text_add_duration(&text, hook->took_us);
    if (s->stop_signo)
        return stopped(s);
    if (hook->outcome == HOOK_OK)
        log_info("hook pre_start: done after %s", after);
    else if (s->config->pre_start_required)
        log_error("hook pre_start: %s after %s: %s; the app is not started (hooks.pre_start_required: false starts it "
                  "all the same)", hook_outcome_name(hook->outcome), after, hook->why);
    else
        log_warning("hook pre_start: %s after %s: %s; the app is started all the same",
                    hook_outcome_name(hook->outcome), after, hook->why);
    return hook->outcome == HOOK_OK || !s->config->pre_start_required ? 0 : -1;
}

/* ---- wait_for ---- */

static void heard(void *supervisor, const struct message_found *found)
{
    struct supervisor *s = supervisor;
    if (found->what != FOUND_REACHED || found->target < 0 || (size_t)found->target >= s->config->target_count)
        return;
    s->hooks.waited[found->target].reached = found->answer == FOUND_YES;
    memcpy(s->hooks.waited[found->target].why, found->text, sizeof found->text);
}

static bool is_missing(const struct supervisor *s, size_t target)
{
    return wait_for_has(s->config, target) && !s->hooks.waited[target].reached;
}

static void add_missing(const struct supervisor *s, bool why, struct text *text)
{
    const char *separator = "";
    for (size_t i = 0; i < s->config->target_count; i++) {
        if (!is_missing(s, i))
            continue;
        text_add(text, "%s%s", separator, s->config->targets[i].name);
        if (why)
            text_add(text, " (%s)", s->hooks.waited[i].why[0] ? s->hooks.waited[i].why : "nothing heard yet");
        separator = ", ";
    }
}

static void say_progress(struct ev_loop *loop, ev_timer *timer, int events)
{
    char waited[32], missing[800];
    struct supervisor *s = timer->data;
    struct text waited_text = text_in(waited, sizeof waited), text = text_in(missing, sizeof missing);
    (void)loop, (void)events;
    text_add_duration(&waited_text, clock_now_us() - s->hooks.waiter.began_us);
    add_missing(s, true, &text);
    log_info("waiting for %s since %s", missing, waited);
}

static void waiter_ended(void *supervisor, struct hook *hook)
{
    (void)supervisor, (void)hook;
}

static void start_waiter(struct supervisor *s)
{
    const char *argv[WIRE_TARGETS + 3] = {s->start->agent_path, "--wait"};
    struct hook *waiter = &s->hooks.waiter;
    unsigned count = 2;
    for (size_t i = 0; i < s->config->target_count; i++)
        if (wait_for_has(s->config, i))
            argv[count++] = s->config->targets[i].name;
    struct hook_order order = {.argv = (char *const *)argv, .envp = hook_variables_list(&s->hooks.variables),
                               .room = s->hooks.variables.room, .with_channel = true,
                               .timeout_us = s->config->wait_for_timeout_us};
    waiter->context = s;
    waiter->ended = waiter_ended;
    waiter->heard = heard;
    hook_start(waiter, &order);
    if (waiter->outcome == HOOK_RUNNING && agent_say_hello(waiter->channel, s->config) == -1 && errno != EPIPE)
        hook_cut(waiter, strerror(errno)); /* EPIPE: it has ended, and its end will tell more */
}

/* One line for each: who, where it comes from, and the last that was heard of it. */
static int say_missing(struct supervisor *s, const struct hook *waiter)
{
    char after[32];
    struct text text = text_in(after, sizeof after);
    text_add_duration(&text, waiter->took_us);
    if (waiter->outcome != HOOK_TIMED_OUT)
        log_error("wait_for: %s cannot tell whether they answer: %s: %s; the app is not started", s->start->agent_path,
                  hook_outcome_name(waiter->outcome), waiter->why);
    for (size_t i = 0; waiter->outcome == HOOK_TIMED_OUT && i < s->config->target_count; i++)
        if (is_missing(s, i))
            log_error("wait_for: %s (%s) did not answer within %s: %s; the app is not started",
                      s->config->targets[i].name, s->config->targets[i].origin, after,
                      s->hooks.waited[i].why[0] ? s->hooks.waited[i].why : "nothing was heard of it");
    return -1;
}

static int wait_for(struct supervisor *s)
{
    char missing[400], after[32];
    struct text text = text_in(missing, sizeof missing), after_text = text_in(after, sizeof after);
    ev_timer progress;
    if (!*s->config->wait_for)
        return 0;
    add_missing(s, false, &text);
    log_info("waiting for %s before the app is started", missing);
    ev_timer_init(&progress, say_progress, PROGRESS_S, PROGRESS_S);
    progress.data = s;
    ev_now_update(s->loop);
    start_waiter(s);
    ev_timer_start(s->loop, &progress);
    run_until_ended(s, &s->hooks.waiter);
    ev_timer_stop(s->loop, &progress);
    if (s->stop_signo)
        return stopped(s);
    if (s->hooks.waiter.outcome != HOOK_OK)
        return say_missing(s, &s->hooks.waiter);
    text_add_duration(&after_text, s->hooks.waiter.took_us);
    log_info("%s: answered after %s", missing, after);
    return 0;
}

/* ---- both ---- */

/* pre_start gets the signal and may end by itself, within the grace: a half-done migration is worse than a moment. The
 * second signal ends it. */
void before_take_stop_signal(struct supervisor *s, int signo)
{
    struct hook *hook = &s->hooks.of[HOOK_PRE_START];
    bool again = s->stop_signo != 0;
    if (!again)
        s->stop_signo = signo;
    hook_cut(&s->hooks.waiter, "a stop signal came");
    if (again) {
        hook_cut(hook, "a second stop signal came");
    } else {
        hook_signal(hook, signo);
        hook_hurry(hook, s->config->grace_period_us - hooks_reserve_us(s->config));
    }
}

int before_app(struct supervisor *s)
{
    s->hooks.before = true;
    int result = pre_start(s) == 0 && wait_for(s) == 0 ? 0 : -1;
    s->hooks.before = false;
    return result;
}
