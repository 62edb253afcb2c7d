/* Signals and the ends of processes, made into events. The only place that reaps, and that decides which process a
 * signal is for. It never waits. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/signals.h"
#include "supervisor/app/reap.h"
#include "supervisor/app/signals.h"
#include "supervisor/state.h"

pid_t children_agent(const struct supervisor *s)
{
    return s->keeper ? agent_keeper_pid(s->keeper) : 0;
}

static void note_pass(struct supervisor *s, int64_t began_cpu_us)
{
    pace_note(&s->tree_pace, clock_now_us(), clock_cpu_us() - began_cpu_us);
}

static int read_tree(struct supervisor *s)
{
    int64_t began_us = clock_cpu_us();
    int result = process_tree_read(&s->tree, getpid(), children_agent(s));
    note_pass(s, began_us);
    return result;
}

static enum deliver_to deliver_to_of(enum stop_signal_to to)
{
    static const enum deliver_to table[] = {[SIGNAL_TO_AUTO] = DELIVER_AUTO, [SIGNAL_TO_MAIN] = DELIVER_MAIN,
                                            [SIGNAL_TO_GROUP] = DELIVER_GROUP, [SIGNAL_TO_TREE] = DELIVER_TREE};
    return table[to];
}

void children_plan(struct supervisor *s, int signo)
{
    delivery_finish(&s->delivery);
    if (read_tree(s) < 0 || delivery_plan(&s->delivery, deliver_to_of(s->config->stop_signal_to), signo, s->app_pid,
                                          &s->tree) < 0)
        log_warning("cannot tell who gets %s: %m; the main process does", signal_name(signo));
    s->lifecycle.ends_at_once = s->delivery.ends_at_once;
}

void children_plan_next(struct supervisor *s, int signo)
{
    struct delivery next;
    if (read_tree(s) < 0 ||
        delivery_plan(&next, deliver_to_of(s->config->stop_signal_to), signo, s->app_pid, &s->tree) < 0) {
        log_warning("cannot tell who gets %s: %m; those that got the first signal do", signal_name(signo));
        return;
    }
    if (delivery_carry_over(&next, &s->delivery, &s->tree) < 0)
        log_warning("not all that got the first signal get %s: %m", signal_name(signo));
    delivery_finish(&s->delivery);
    s->delivery = next;
}

static bool is_in_tree(const struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < s->tree.count; i++)
        if (s->tree.pids[i] == pid)
            return true;
    return false;
}

/* Those that got the signal have ended. Reads the whole tree, so not at any time: the watch timer asks again. */
static bool signalled_have_ended(struct supervisor *s)
{
    if (!s->lifecycle.signalled || s->delivery.count == 0)
        return true;
    if (!pace_is_due(&s->tree_pace, clock_now_us()) || read_tree(s) < 0)
        return false;
    for (unsigned i = 0; i < s->delivery.count; i++)
        if (is_in_tree(s, s->delivery.pids[i]))
            return false;
    return true;
}

/* We adopt all orphans of the app: its tree is empty when we have no child any more. -1: without procfs, or
 * descriptors, the agent cannot be told from the app's. */
static int some_are_left(const struct supervisor *s)
{
    pid_t agent = children_agent(s);
    return !agent && reap_is_childless() ? 0 : process_has_child(getpid(), agent);
}

/* Where nobody can tell, some may be left: the deadlines end that. */
void children_check(struct supervisor *s)
{
    if (!s->main_ended)
        return;
    if (some_are_left(s) == 0)
        supervisor_post(s, EVENT_TREE_ENDED);
    else if (s->lifecycle.phase < PHASE_KILLING && signalled_have_ended(s))
        supervisor_post(s, EVENT_APP_ENDED);
}

void children_kill(struct supervisor *s)
{
    int64_t began_us = clock_cpu_us();
    if (read_tree(s) < 0 && !s->main_ended)
        as_user_kill(s->app_pid, SIGKILL);
    for (size_t i = 0; i < s->tree.count; i++)
        as_user_kill(s->tree.pids[i], SIGKILL);
    note_pass(s, began_us);
}

void children_kill_again(struct supervisor *s)
{
    if (pace_is_due(&s->tree_pace, clock_now_us()))
        children_kill(s);
}

bool children_skip_freeze(struct supervisor *s)
{
    if (s->nudging || !freeze_is_too_slow(&s->freeze))
        return false;
    int pass_ms = (int)(s->freeze.pass_us / US_PER_MS);
    log_warning("%zu processes are too many to stop them for the last look (one pass took %d ms): it is at a running "
                "app", s->freeze.tree.count, pass_ms);
    record_unknown(&s->record, "what the app did after the last look",
                   "it has too many processes to stop them for it: one pass took %d ms", pass_ms);
    freeze_end(&s->freeze);
    s->no_freeze = true;
    return true;
}

/* An app that handles ^C by itself exits with 130, as a shell would say it. */
static bool is_persons_end(const struct supervisor *s, int exit_code)
{
    return s->terminal.fd >= 0 && (exit_code == 128 + SIGINT || exit_code == 128 + SIGQUIT);
}

static void main_has_ended(struct supervisor *s, const struct reaped *reaped)
{
    s->main_ended = true;
    s->exit_code = reap_exit_code(reaped);
    s->ended_by_a_person = is_persons_end(s, s->exit_code);
    s->record.exit_code = s->exit_code;
    s->record.app_ended_us = clock_now_us();
    s->record.exit_signal = reaped->how == REAPED_SIGNALED ? reaped->value : 0;
    terminal_take_back(&s->terminal);
}

/* The terminal stopped the app (^Z). Our own SIGSTOP, for a freeze, is not that. */
static void main_has_stopped(struct supervisor *s, const struct reaped *reaped)
{
    if (s->freeze.on || reaped->value == SIGSTOP)
        return;
    terminal_app_stopped(&s->terminal);
}

static void child_changed(struct supervisor *s, const struct reaped *reaped)
{
    if (reaped->how == REAPED_TRAPPED) {
        nudge_stopped(&s->nudges, reaped->pid, reaped->value);
        return;
    }
    if (reaped->how == REAPED_EXITED || reaped->how == REAPED_SIGNALED)
        nudge_ended(&s->nudges, reaped->pid);
    if (s->keeper && agent_keeper_reaped(s->keeper, reaped)) {
        supervisor_left_by_agent(s);
        return;
    }
    if (hooks_reaped(s, reaped))
        return;
    if (reaped->pid != s->app_pid) {
        if (s->config->log_reaped && (reaped->how == REAPED_EXITED || reaped->how == REAPED_SIGNALED))
            log_warning("reaped pid %d, which the app had left", reaped->pid);
        return;
    }
    if (reaped->how == REAPED_EXITED || reaped->how == REAPED_SIGNALED)
        main_has_ended(s, reaped);
    else if (reaped->how == REAPED_STOPPED)
        main_has_stopped(s, reaped);
}

static void reap(struct supervisor *s)
{
    for (struct reaped reaped; (reaped = reap_next()).how != REAPED_NONE;)
        child_changed(s, &reaped);
    children_check(s);
}

/* 0: it is swallowed. */
static int rewritten(const struct supervisor *s, int signo)
{
    return config_mapped(&s->config->stop_map, signo);
}

int children_stop_signal(const struct supervisor *s)
{
    const struct config_sequence *sequence = &s->config->stop_sequence;
    int came = s->stop_signo ? s->stop_signo : SIGTERM, signo = rewritten(s, came);
    if (sequence->count > 0 && sequence->list[0].after_us == 0)
        return sequence->list[0].signo;
    if (s->config->stop_signal)
        return s->config->stop_signal;
    return signo ? signo : came; /* a swallowed SIGTERM begins no stop; it may be asked about all the same */
}

/* One that the app would get as a stop signal is one, too: else it would end the app in the middle of its work. */
static bool begins_stop(const struct supervisor *s, int signo)
{
    int meant = rewritten(s, signo);
    return meant && s->config->stop_signals & (SIGNAL_BIT(signo) | SIGNAL_BIT(meant));
}

/* The first one begins the stop. The same again comes by itself (a restarted kubelet) and is no escalation, but ^C
 * twice on a terminal is; so is another stop signal. */
static void take_stop_signal(struct supervisor *s, const struct taken_signal *taken)
{
    bool interrupt = taken->signo == SIGINT && taken->by_kernel;
    if (!s->stop_signo) {
        s->stop_signo = taken->signo;
        s->interrupted_once = interrupt;
        if (s->lifecycle.phase != PHASE_WAITING) /* there, there is nobody to tell */
            children_plan(s, children_stop_signal(s));
        supervisor_post(s, EVENT_STOP_SIGNAL);
    } else if (taken->signo != s->stop_signo || (interrupt && s->interrupted_once)) {
        log_info("%s after %s: on to the next phase", signal_name(taken->signo), signal_name(s->stop_signo));
        supervisor_post(s, EVENT_ESCALATE);
    } else {
        s->interrupted_once |= interrupt;
        supervisor_post(s, EVENT_STOP_SIGNAL);
    }
}

/* A shell's fg of a running job says nothing to us: the terminal's next ^Z or ^C comes to our
 * group instead of the app's. */
static void forward(struct supervisor *s, const struct taken_signal *taken)
{
    int signo = taken->signo, meant = rewritten(s, signo);
    bool group = s->config->stop_signal_to == SIGNAL_TO_GROUP;
    if (s->main_ended || ((signo == SIGCONT || meant == SIGCONT) && s->freeze.on))
        return; /* a SIGCONT would end the freeze; it comes at its end anyway */
    if (signo == SIGCONT || taken->by_kernel) {
        terminal_continued(&s->terminal);
        group = true;
    }
    if (meant != signo)
        log_debug("%s is %s by stop.map", signal_name(signo), meant ? signal_name(meant) : "swallowed");
    if (meant && as_user_kill(group ? -s->app_pid : s->app_pid, meant) < 0 && errno != ESRCH)
        log_warning("cannot forward %s: %m", signal_name(meant));
}

static void take_signal(struct supervisor *s, const struct taken_signal *taken)
{
    if (taken->signo == SIGCHLD)
        reap(s);
    else if (begins_stop(s, taken->signo) && s->hooks.before)
        before_take_stop_signal(s, taken->signo);
    else if (begins_stop(s, taken->signo))
        take_stop_signal(s, taken);
    else if (!s->hooks.before) /* else nobody is there to have it */
        forward(s, taken);
}

void children_take_signals(struct supervisor *s)
{
    struct taken_signal taken;
    while (signals_take(s->start->signal_fd, &taken) == 1)
        take_signal(s, &taken);
}
