/* One life of the app: what belongs to it, how it is watched, and how the next one begins. Whether there is a next one,
 * and when, is the lifecycle's to say. Never waits.
 *
 * life_forget() is the one place where the state of a life is reset: what a new member of struct supervisor means for
 * the next life is decided there. */
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/text.h"
#include "supervisor/state.h"

#define SAMPLE_FIRST_S 0.1

/* A crash is reported, and cleaned up, from the last sample. Soon after a start most connections are new: so the first
 * samples follow each other quickly, until the agent's own are as frequent. Only for an app that is started again. */
void life_watch(struct supervisor *s)
{
    if (!s->keeper || s->config->restart_policy == RESTART_NEVER)
        return;
    s->sample_timer.repeat = SAMPLE_FIRST_S;
    ev_timer_again(s->loop, &s->sample_timer);
}

void life_sample(struct supervisor *s)
{
    double next = 2 * s->sample_timer.repeat;
    if (s->lifecycle.phase == PHASE_RUNNING)
        looks_sample(s);
    s->sample_timer.repeat = next * US_PER_SECOND < s->config->monitor_interval_us ? next : 0;
    ev_timer_again(s->loop, &s->sample_timer); /* stops it when there is nothing to repeat */
}

static void add_end(const struct supervisor *s, struct text *text)
{
    if (s->record.app_pid <= 0)
        text_add(text, "the app could not be started");
    else if (s->record.exit_signal)
        text_add(text, "the app ended by %s", signal_name(s->record.exit_signal));
    else
        text_add(text, "the app exited with %d", s->record.exit_code);
}

void life_say_wait(struct supervisor *s)
{
    char line[192];
    struct text text = text_in(line, sizeof line);
    ev_timer_stop(s->loop, &s->watch_timer);
    ev_timer_stop(s->loop, &s->sample_timer);
    add_end(s, &text);
    text_add(&text, "; restart %u in ", s->lifecycle.lives.restarts + 1);
    text_add_duration(&text, s->lifecycle.lives.wait_us);
    log_warning("%s", line);
    notify_status(s->notify, line);
}

void life_say_stay_down(struct supervisor *s)
{
    char line[192];
    struct text text = text_in(line, sizeof line);
    add_end(s, &text);
    text_add(&text, "; not started again: restart.limit, %u within ", s->config->restart_limit);
    text_add_duration(&text, s->config->restart_window_us);
    text_add(&text, ", is reached");
    log_error("%s", line);
}

static struct record_life life_of(const struct record *record, int64_t started_us)
{
    int64_t now_us = clock_now_us(), ended_us = record->app_ended_us ? record->app_ended_us : now_us;
    return (struct record_life){.pid = record->app_pid > 0 ? record->app_pid : 0, .exit_code = record->exit_code,
                                .exit_signal = record->exit_signal, .ran_us = ended_us - started_us,
                                .ended_wall_us = clock_wall_us() - (now_us - ended_us)};
}

/* The agent, the control socket and the service manager live on; so does what was learned of this machine and of the
 * servers (kinds, answered). The record's own turn is supervisor_begin_record(). */
static void life_forget(struct supervisor *s)
{
    struct record_life life = life_of(&s->record, s->app_started_us);
    record_note_life(&s->record.past, &life);
    ev_timer_stop(s->loop, &s->freeze_timer);
    ev_timer_stop(s->loop, &s->watch_timer);
    looks_forget(s);
    intakes_finish(s);
    freeze_finish(&s->freeze);
    delivery_finish(&s->delivery);
    process_tree_finish(&s->tree);
    marks_finish(&s->marks);
    adopted_finish(&s->adopted);
    s->sweep = (struct sweep){.request = s->sweep.request}; /* its list was given back by sweep_finish() */
    s->nudges = (struct nudges){0};
    s->tree_pace = (struct pace){0};
    terminal_close(&s->terminal);
    s->no_freeze = s->interrupted_once = s->main_ended = s->ended_by_a_person = false;
    s->stop_signo = 0;
    s->progress_at_us = 0;
}

/* One that cannot be started has ended: the next try follows as after any end. */
static void could_not_start(struct supervisor *s)
{
    s->main_ended = true;
    s->record.app_pid = 0;
    s->record.exit_code = s->exit_code;
    s->record.app_ended_us = clock_now_us();
    supervisor_post(s, EVENT_TREE_ENDED);
}

void life_start(struct supervisor *s)
{
    char status[64];
    unsigned restarts = s->lifecycle.lives.restarts;
    life_forget(s);
    bool runs = supervisor_start_app(s) == 0;
    supervisor_begin_record(s);
    predecessor_begin(s);
    if (!runs) {
        could_not_start(s);
        return;
    }
    snprintf(status, sizeof status, "running (restarted %u time%s)", restarts, restarts == 1 ? "" : "s");
    log_info("restart %u: the app runs as pid %d", restarts, (int)s->app_pid);
    notify_status(s->notify, status);
    life_watch(s);
}
