/* Action → call, a row each. Nothing is decided here. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/signals.h"
#include "supervisor/platform/termination_log.h"
#include "supervisor/report/report.h"
#include "supervisor/state.h"

enum { JSON_ON_STDERR = 32768 };

static void act_announce(struct supervisor *s)
{
    if (s->keeper)
        agent_keeper_hurry(s->keeper, true);
    if (!s->lifecycle.drain_only)
        notify_stopping(s->notify, "stopping");
    if (s->lifecycle.phase != PHASE_DONE) /* between two lives nothing runs, and nobody would wait for it */
        hooks_announce(s);
}

static void act_unannounce(struct supervisor *s)
{
    if (s->keeper)
        agent_keeper_hurry(s->keeper, false);
    s->stop_signo = 0;
    notify_status(s->notify, "running");
}

static void act_thaw(struct supervisor *s)
{
    ev_timer_stop(s->loop, &s->freeze_timer);
    s->nudging = false;
    freeze_end(&s->freeze);
}

static void act_freeze(struct supervisor *s)
{
    if (s->no_freeze) {
        act_thaw(s);
        supervisor_post(s, EVENT_FROZEN); /* as far as it can be */
        return;
    }
    s->nudging = false; /* a nudge under way becomes the freeze */
    if (s->freeze.on) {
        ev_timer_again(s->loop, &s->freeze_timer);
        return;
    }
    if (freeze_begin(&s->freeze, getpid(), children_agent(s), clock_now_us()) < 0) {
        log_warning("the app cannot be frozen: %m");
        supervisor_post(s, EVENT_FREEZE_FAILED);
        return;
    }
    if (children_skip_freeze(s))
        supervisor_post(s, EVENT_FROZEN);
    else
        ev_timer_again(s->loop, &s->freeze_timer);
}

static void answer_drain(struct supervisor *s, int code, const char *text)
{
    struct control_state state;
    supervisor_state(s, &state);
    log_info("drain: %s", text);
    control_server_done(s->control, code, &state, text);
}

static void act_adopt(struct supervisor *s)
{
    if (control_server_waiting(s->control) > 0)
        answer_drain(s, 0, "the stop goes on by itself");
    looks_adopt(s);
    intakes_hold_listening(s);
    ev_timer_again(s->loop, &s->watch_timer);
}

static void act_let_go(struct supervisor *s)
{
    act_thaw(s);
    looks_let_go(s);
    if (s->lifecycle.phase != PHASE_STOPPING)
        return;
    s->looking = true; /* new handles of the clean-up are found and adopted */
    looks_begin(s);
}

/* Whether the signal ends the app at once may have changed since it came: an app that lives on needs its sessions. */
static void act_end(struct supervisor *s)
{
    children_plan(s, children_stop_signal(s));
    sweep_end_idle(s);
}

/* Only who gets the signal is woken where it ends the app at once: the others stay at rest until they are killed. */
static void act_signal(struct supervisor *s)
{
    int signo = children_stop_signal(s);
    ev_timer_stop(s->loop, &s->freeze_timer);
    children_plan(s, signo);
    unsigned told = delivery_send(&s->delivery, signo);
    if (told == 0 && !s->main_ended) /* nobody could be chosen: the main process in any case */
        told = as_user_kill(s->app_pid, signo) == 0;
    if (s->delivery.handed_on_to)
        log_info("%s goes to pid %d, too: the main process only waits for it", signal_name(signo),
                 s->delivery.handed_on_to);
    log_debug("%s sent to %u process%s", signal_name(signo), told, told == 1 ? "" : "es");
    if (!s->delivery.ends_at_once) {
        freeze_end(&s->freeze);
        return;
    }
    for (unsigned i = 0; i < s->delivery.count; i++) {
        freeze_release(&s->freeze, s->delivery.pids[i]);
        /* One that somebody else had stopped would keep the signal pending. */
        as_user_kill(s->delivery.pids[i], SIGCONT);
    }
}

/* The app is let go and lives on: it gets this one as it stands. */
static void act_signal_next(struct supervisor *s)
{
    const struct config_sequence *sequence = &s->config->stop_sequence;
    unsigned at = s->lifecycle.sequence_sent - (sequence->list[0].after_us != 0);
    int signo = sequence->list[at].signo;
    children_plan_next(s, signo);
    unsigned told = delivery_send(&s->delivery, signo);
    log_info("%s sent to %u process%s: still there %d ms after the stop signal", signal_name(signo), told,
             told == 1 ? "" : "es", (int)(sequence->list[at].after_us / US_PER_MS));
}

static void act_signal_rest(struct supervisor *s)
{
    int signo = children_stop_signal(s);
    act_thaw(s);
    if (process_tree_read(&s->tree, getpid(), children_agent(s)) < 0)
        return;
    for (size_t i = 0; i < s->tree.count; i++)
        as_user_kill(s->tree.pids[i], signo);
    log_info("%s sent to %zu processes that are left", signal_name(signo), s->tree.count);
}

static void act_kill(struct supervisor *s)
{
    ev_timer_stop(s->loop, &s->freeze_timer);
    children_kill(s);
    ev_timer_again(s->loop, &s->watch_timer);
}

static void act_sweep(struct supervisor *s)
{
    ev_timer_stop(s->loop, &s->freeze_timer);
    freeze_end(&s->freeze);
    marks_finish(&s->marks);
    sweep_begin(s);
    ev_timer_again(s->loop, &s->watch_timer);
}

static void act_give_up(struct supervisor *s)
{
    if (s->hold_on)
        hold_give_up(&s->hold);
}

static void act_drained(struct supervisor *s)
{
    answer_drain(s, 0, "still: nothing is in flight");
}

static void act_drain_failed(struct supervisor *s)
{
    answer_drain(s, 1, "not still in time: the app goes on");
}

static void act_called_off(struct supervisor *s)
{
    bool resumed = s->lifecycle.phase == PHASE_RUNNING;
    answer_drain(s, resumed ? 1 : 0, resumed ? "called off: the app goes on" : "the stop goes on by itself");
}

/* Whoever reads the log may read the object, too, unless it has a file of its own or a person reads. At most 32 KiB,
 * and never blocking: a full pipe takes a part of it or nothing. */
static void say_json(const struct record *record)
{
    char *json = isatty(STDERR_FILENO) ? NULL : report_json_short(record, JSON_ON_STDERR);
    size_t length = json ? strlen(json) : 0;
    if (!json)
        return;
    json[length] = '\n'; /* in place of the NUL: the length is known */
    log_raw(json, length + 1);
    free(json);
}

static void write_report_file(const struct record *record, const char *path)
{
    struct error error;
    char *json = report_json(record);
    if (!json)
        log_error("the report could not be written: no memory");
    else if (report_write_file(path, json, &error) < 0) {
        log_error("%s", error.text);
        say_json(record); /* rather there than nowhere */
    }
    free(json);
}

static void write_termination_log(const struct record *record)
{
    struct error error;
    char *json = report_json_short(record, TERMINATION_LOG_SIZE);
    if (json && termination_log_write(TERMINATION_LOG_PATH, json, &error) < 0)
        log_warning("%s", error.text);
    free(json);
}

static void say_report(const struct record *record)
{
    enum { ROOM = 32768 };
    char *room = malloc(ROOM);
    if (!room)
        return;
    struct text text = text_in(room, ROOM);
    report_human(record, &text);
    log_raw(text.at, text.length);
    free(room);
}

/* Else nothing was watched, and nobody asked. */
static bool is_reported(const struct supervisor *s)
{
    return s->config->target_count > 0 || s->config->report_file[0];
}

/* The hook finds the file there, with all but its own end. That it cannot be written is said when it has ended. */
static void begin_post_stop(struct supervisor *s)
{
    const char *path = s->config->report_file;
    struct error error;
    hooks_record(s);
    record_hook(&s->record, "post_stop", "running", -1, "");
    char *json _cleanup_free_ = path[0] ? report_json(&s->record) : NULL;
    bool written = json && report_write_file(path, json, &error) == 0;
    hooks_post_stop(s, written ? path : NULL);
}

static void act_report(struct supervisor *s)
{
    sweep_finish(s);
    intakes_report(s);
    s->record.ended_us = clock_now_us();
    if (!s->main_ended) /* it outlived SIGKILL: 125 would say that it was never started */
        s->exit_code = 128 + SIGKILL;
    s->exit_code = config_mapped(&s->config->exit_codes, s->exit_code);
    s->record.lastcall_exit_code = s->exit_code;
    report_classify(&s->record);
    hooks_cut(s);
    if (is_reported(s))
        say_report(&s->record);
    if (hooks_has(s->config, HOOK_POST_STOP))
        begin_post_stop(s);
    else
        actions_finish_report(s);
}

void actions_finish_report(struct supervisor *s)
{
    hooks_record(s);
    if (!is_reported(s))
        return;
    if (s->config->report_file[0])
        write_report_file(&s->record, s->config->report_file);
    else
        say_json(&s->record);
    if (s->config->report_termination_log)
        write_termination_log(&s->record);
}

static void (*const table[])(struct supervisor *) = {
    [ACTION_ANNOUNCE] = act_announce,
    [ACTION_UNANNOUNCE] = act_unannounce,
    [ACTION_DRAIN] = intakes_begin,
    [ACTION_LOOK] = looks_begin,
    [ACTION_LOOK_STOP] = looks_stop,
    [ACTION_GIVE_UP] = act_give_up,
    [ACTION_FREEZE] = act_freeze,
    [ACTION_THAW] = act_thaw,
    [ACTION_ADOPT] = act_adopt,
    [ACTION_LET_GO] = act_let_go,
    [ACTION_END] = act_end,
    [ACTION_SIGNAL] = act_signal,
    [ACTION_SIGNAL_NEXT] = act_signal_next,
    [ACTION_SIGNAL_REST] = act_signal_rest,
    [ACTION_KILL] = act_kill,
    [ACTION_SWEEP] = act_sweep,
    [ACTION_DRAINED] = act_drained,
    [ACTION_DRAIN_FAILED] = act_drain_failed,
    [ACTION_CALLED_OFF] = act_called_off,
    [ACTION_REPORT] = act_report,
    [ACTION_EXIT] = supervisor_leave,
    [ACTION_WAIT] = life_say_wait,
    [ACTION_START] = life_start,
    [ACTION_STAY_DOWN] = life_say_stay_down,
};
_Static_assert(sizeof table / sizeof *table == ACTIONS, "an action without a call");

void action_do(struct supervisor *s, enum lifecycle_action action)
{
    log_debug("action %s", action_name(action));
    table[action](s);
}
