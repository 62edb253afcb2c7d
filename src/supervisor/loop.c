/* The loop: signals, the agent's facts, timers and requests become events; events step the lifecycle; its actions are
 * done. The one file that knows libev and the phases. Nothing in it waits but ev_run().
 *
 *   signal, timer, facts, request ─▶ supervisor_post() ─▶ lifecycle_step() ─▶ action_do() */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/signals.h"
#include "supervisor/app/reap.h"
#include "supervisor/app/spawn.h"
#include "supervisor/state.h"

#define NUDGE_LIMIT_US INT64_C(100000)
#define LEAVE_MOST_US INT64_C(250000)    /* for the agent's own goodbyes */
#define LEAVE_LEAST_US INT64_C(20000)
#define LEAVE_RESERVE_US INT64_C(300000) /* before the end of the grace */

extern char **environ;

static void set_deadline(struct supervisor *s)
{
    ev_timer_stop(s->loop, &s->deadline_timer);
    if (s->lifecycle.deadline_us == INT64_MAX)
        return;
    int64_t left = s->lifecycle.deadline_us - clock_now_us();
    ev_now_update(s->loop);
    ev_timer_set(&s->deadline_timer, left > 0 ? (double)left / US_PER_SECOND : 0, 0);
    ev_timer_start(s->loop, &s->deadline_timer);
}

void supervisor_begin_record(struct supervisor *s)
{
    struct record *record = &s->record;
    struct record_past past = record->past;
    struct record_predecessor predecessor = record->predecessor;
    hooks_forget(s);
    record_finish(record);
    record_init(record);
    record->past = past;
    record->predecessor = predecessor;
    record->app_pid = s->app_pid;
    record->command = s->config->command;
    record->grace_us = s->config->grace_period_us;
    record->hands = "none";
    record->query_text = s->config->report_query_text;
    record->leak_stale_us = s->config->leak_stale_us;
    record->target_count = (unsigned)s->config->target_count;
    for (size_t i = 0; i < s->config->target_count; i++) {
        const struct config_target *target = &s->config->targets[i];
        record->targets[i].kind = (enum target_kind)s->kinds[i];
        record->targets[i].look_only = target->look_only;
        record->targets[i].limit = target->limit;
        record->targets[i].unseen = true;
        memcpy(record->targets[i].name, target->name, sizeof record->targets[i].name);
    }
}

static void begin_record_of_stop(struct supervisor *s)
{
    struct record *record = &s->record;
    record->stop_began_us = s->lifecycle.began_us;
    if (record->app_ended_us && record->app_ended_us < record->stop_began_us)
        record->app_ended_us = record->stop_began_us; /* its end was what began it */
    record->stop_began_wall_us = clock_wall_us() - (clock_now_us() - s->lifecycle.began_us);
    record->is_stop = s->stop_signo != 0 || s->lifecycle.drain_only;
    if (s->stop_signo)
        snprintf(record->reason, sizeof record->reason, "%s", signal_name(s->stop_signo));
    else
        snprintf(record->reason, sizeof record->reason, "%s",
                 s->lifecycle.drain_only ? "lastcall drain" : "the app ended by itself");
}

/* An app that ended without a stop: what was open is known from the last sample only. */
static void record_from_sample(struct supervisor *s)
{
    int64_t now_us = clock_now_us();
    s->record.sample_age_us = s->last.at_us ? now_us - s->last.at_us : -1;
    for (size_t i = 0; s->last.seen && i < s->config->target_count; i++)
        s->record.targets[i].unseen = false;
    for (size_t i = 0; i < s->last.count; i++) {
        struct recorded_handle *handle = record_handle(&s->record, &s->last.rows[i]);
        if (handle)
            record_timeline(handle, "sampled", s->last.at_us);
    }
}

/* The one place that sees every change of phase. */
static void phase_changed(struct supervisor *s, enum phase from)
{
    enum phase to = s->lifecycle.phase;
    log_debug("phase %s → %s: %s", phase_name(from), phase_name(to), s->lifecycle.why);
    if (from == PHASE_RUNNING)
        begin_record_of_stop(s);
    if (from == PHASE_RUNNING && !s->record.is_stop)
        record_from_sample(s);
    if (to == PHASE_RUNNING && from != PHASE_WAITING)
        supervisor_begin_record(s); /* a drain that no signal followed: the next stop has a record of its own */
    if (strcmp(phase_public_name(from), phase_public_name(to)) == 0)
        return;
    bool is_told = s->config->target_count || to == PHASE_KILLING;
    log_write(is_told ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "%s: %s", phase_public_name(to),
              s->lifecycle.why);
    notify_status(s->notify, phase_public_name(to));
    if (to != PHASE_RUNNING)
        record_phase(&s->record, phase_public_name(to), clock_now_us());
}

/* What the app ended with, as lastcall would exit with it: the one place that tells a failure for restart.policy. */
static bool has_failed(const struct supervisor *s)
{
    return config_mapped(&s->config->exit_codes, s->exit_code) != 0;
}

static void step(struct supervisor *s, enum lifecycle_event event)
{
    struct lifecycle_actions actions;
    enum phase from = s->lifecycle.phase;
    s->lifecycle.no_hands = s->no_hands;
    s->lifecycle.no_freeze = s->no_freeze;
    s->lifecycle.failed = has_failed(s);
    s->lifecycle.by_a_person = s->ended_by_a_person;
    lifecycle_step(&s->lifecycle, event, clock_now_us(), &actions);
    if (s->lifecycle.phase != from)
        phase_changed(s, from);
    for (unsigned i = 0; i < actions.count; i++)
        action_do(s, actions.list[i]);
    set_deadline(s);
}

/* An action may post: its event is stepped when the actions of this one are done. */
void supervisor_post(struct supervisor *s, enum lifecycle_event event)
{
    if (s->pending_count == PENDING_EVENTS)
        return; /* more at once than there are kinds of events: the rest repeats itself */
    s->pending[s->pending_count++] = event;
    if (s->stepping)
        return;
    s->stepping = true;
    for (unsigned i = 0; i < s->pending_count; i++)
        step(s, s->pending[i]);
    s->pending_count = 0;
    s->stepping = false;
}

static void on_signal(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    children_take_signals(io->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct supervisor *s = timer->data;
    (void)loop, (void)events;
    if (clock_now_us() < s->lifecycle.deadline_us)
        set_deadline(s); /* the loop's clock is a little ahead of ours */
    else if (!hooks_delay_restart(s))
        supervisor_post(s, EVENT_DEADLINE);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    looks_next(timer->data);
}

static void on_freeze(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct supervisor *s = timer->data;
    (void)events;
    int64_t now_us = clock_now_us();
    int complete = freeze_is_complete(&s->freeze, getpid(), children_agent(s), now_us);
    nudge_forget_late(&s->nudges, now_us);
    if (complete > 0 && s->nudges.count > 0)
        complete = 0; /* one that stands stopped for its nudge goes on in a moment: it is stopped by the next pass */
    bool late = s->nudging && now_us - s->freeze.began_us >= NUDGE_LIMIT_US; /* a freeze has its phase's deadline */
    bool skipped = complete == 0 && children_skip_freeze(s);
    if (complete == 0 && !late && !skipped)
        return;
    ev_timer_stop(loop, timer);
    if (looks_nudged(s))
        return;
    supervisor_post(s, complete > 0 || skipped ? EVENT_FROZEN : EVENT_FREEZE_FAILED);
}

static void on_unmark(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    looks_unmark(timer->data);
}

static void on_watch(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct supervisor *s = timer->data;
    (void)loop, (void)events;
    sweep_watch(s);
    if (s->lifecycle.phase == PHASE_KILLING)
        children_kill_again(s);
    children_check(s);
}

static void on_sample(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    life_sample(timer->data);
}

/* The agent's sessions deserve a goodbye, too: it says them when its channel is closed, and is waited for shortly. */
void supervisor_leave(struct supervisor *s)
{
    if (hooks_wait_for_post_stop(s))
        return;
    int64_t left = s->lifecycle.began_us + s->config->grace_period_us - LEAVE_RESERVE_US - clock_now_us();
    s->leaving = true;
    if (s->keeper)
        agent_keeper_stop(s->keeper);
    left = left > LEAVE_MOST_US ? LEAVE_MOST_US : left < LEAVE_LEAST_US ? LEAVE_LEAST_US : left;
    ev_timer_set(&s->leave_timer, (double)left / US_PER_SECOND, 0);
    ev_timer_start(s->loop, &s->leave_timer);
    supervisor_left_by_agent(s);
}

void supervisor_left_by_agent(struct supervisor *s)
{
    if (s->leaving && !children_agent(s))
        ev_break(s->loop, EVBREAK_ALL);
}

static void on_leave(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct supervisor *s = timer->data;
    (void)events;
    if (s->keeper)
        agent_keeper_kill(s->keeper);
    ev_break(loop, EVBREAK_ALL);
}

static void on_agent_started(void *supervisor, pid_t pid)
{
    struct supervisor *s = supervisor;
    log_debug("lastcall-agent runs as pid %d", pid);
    s->look_asked = false;
    supervisor_post(s, EVENT_AGENT_BACK);
    predecessor_ask(s);
    looks_next(s);
}

static void start_watchers(struct supervisor *s)
{
    ev_io_init(&s->signal_io, on_signal, s->start->signal_fd, EV_READ);
    ev_timer_init(&s->deadline_timer, on_deadline, 0, 0);
    ev_timer_init(&s->look_timer, on_look, 0, 0);
    ev_timer_init(&s->freeze_timer, on_freeze, 0.001, 0.001);
    ev_timer_init(&s->unmark_timer, on_unmark, 0, 0);
    ev_timer_init(&s->watch_timer, on_watch, 0.002, 0.002);
    ev_timer_init(&s->leave_timer, on_leave, 0, 0);
    ev_timer_init(&s->sample_timer, on_sample, 0, 0);
    s->sample_timer.data = s->leave_timer.data = s->signal_io.data = s->deadline_timer.data = s->look_timer.data = s;
    s->freeze_timer.data = s->unmark_timer.data = s->watch_timer.data = s;
    ev_set_priority(&s->signal_io, EV_MAXPRI);
    ev_io_start(s->loop, &s->signal_io);
}

/* The app's environment is ours, with a name for its sessions unless it has one: where addresses are translated on the
 * way, its sessions are told by it. */
static void name_sessions(const struct supervisor *s)
{
    char name[64];
    const char *given = getenv("PGAPPNAME");
    snprintf(name, sizeof name, "lastcall/%s", s->config->instance);
    if (given && s->config->sweep_predecessor && strcmp(given, name) != 0)
        log_warning("PGAPPNAME is set, and is not %s: sweep.predecessor will not know the app's sessions by it", name);
    if (s->config->target_count > 0)
        setenv("PGAPPNAME", name, 0);
}

int supervisor_start_app(struct supervisor *s)
{
    struct spawn_failure failure;
    struct spawn_request request = {.argv = s->config->command, .envp = environ, .own_group = true,
                                    .keep_fd = -1, .keep_as = -1, .descriptors = &s->start->descriptors,
                                    .still_ignored = s->start->ignored & SIGNAL_BIT(SIGHUP)};
    terminal_open(&s->terminal);
    request.terminal = s->terminal.fd;
    s->app_started_us = clock_now_us(); /* before it can connect: what is older is a predecessor's */
    s->app_pid = spawn_process(&request, &failure);
    if (s->app_pid > 0) {
        s->terminal.app_group = s->app_pid;
        return 0;
    }
    s->exit_code = spawn_exit_code(&failure);
    log_error("cannot start %s: %s: %s", s->config->command[0], spawn_step_name(failure.step), strerror(failure.error));
    terminal_take_back(&s->terminal);
    return -1;
}

void supervisor_start_agent(struct supervisor *s)
{
    struct agent_keeper_user user = {.context = s, .started = on_agent_started, .facts = looks_facts,
                                     .ended = sweep_ended, .lost = looks_agent_lost,
                                     .predecessor_ended = predecessor_ended};
    s->keeper = agent_keeper_create(s->loop, s->config, s->start->agent_path, environ, &user);
    if (s->keeper)
        agent_keeper_start(s->keeper);
    else
        log_error("no agent: %m");
}

static void start_platform(struct supervisor *s)
{
    /* Only when there is something to look at. The app runs already: it does not wait for any of this. */
    if (s->config->target_count > 0 || s->config->http_listen[0])
        supervisor_start_agent(s);
    struct control_server_user user = {.context = s, .request = requests_take};
    s->control = control_server_create(s->loop, s->config, &user);
    notify_ready(s->notify, "running");
}

static void finish(struct supervisor *s)
{
    hooks_finish(s);
    control_server_destroy(s->control);
    agent_keeper_destroy(s->keeper);
    notify_destroy(s->notify);
    terminal_close(&s->terminal);
    freeze_finish(&s->freeze);
    delivery_finish(&s->delivery);
    process_tree_finish(&s->tree);
    hold_finish(&s->hold);
    marks_finish(&s->marks);
    intakes_finish(s);
    record_finish(&s->record);
    free(s->last.rows);
    free(s->hints);
    ev_loop_destroy(s->loop);
}

/* libev would abort the program on a failed system call or allocation; PID 1 must not. */
static void on_system_error(const char *what)
{
    log_error("%s: %m", what);
}

/* A command that cannot be run ends as the command's own end would: 126 and 127 are its, 125 is ours. */
static void run(struct supervisor *s)
{
    if (supervisor_start_app(s) < 0) {
        if (s->exit_code != 125)
            s->exit_code = config_mapped(&s->config->exit_codes, s->exit_code);
        return;
    }
    supervisor_begin_record(s);
    predecessor_begin(s);
    start_platform(s);
    life_watch(s);
    ev_run(s->loop, 0);
}

int supervisor_run(const struct supervisor_start *start)
{
    static struct supervisor state; /* large, and there is one */
    struct supervisor *s = &state;
    struct lifecycle_settings settings = supervisor_settings(start->config);
    *s = (struct supervisor){.config = start->config, .start = start, .exit_code = 125};
    lifecycle_init(&s->lifecycle, &settings);
    ev_set_syserr_cb(on_system_error);
    s->loop = ev_loop_new(EVFLAG_NOENV); /* never the default loop: it reaps by itself */
    if (!s->loop || reap_become_subreaper() < 0) {
        log_error("cannot start: %s: %m", s->loop ? "child subreaper" : "event loop");
        return s->exit_code;
    }
    for (size_t i = 0; i < start->config->target_count; i++)
        s->kinds[i] = (uint8_t)start->config->targets[i].kind;
    s->notify = notify_create(s->loop);
    if (hooks_init(s) == -1) {
        log_error("cannot start: %m");
        return s->exit_code;
    }
    name_sessions(s);
    start_watchers(s);
    if (before_app(s) == 0)
        run(s);
    finish(s);
    return s->exit_code;
}
