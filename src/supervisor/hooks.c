/* The hooks: which runs when, what it is told, and what is done when it has ended, however it has. The stop never
 * depends on one: what a hook may take is bounded here, and its failure is a line in the log and in the report.
 *
 * pre_start is before.c's. announce runs beside the app, while the drain waits for it (lifecycle.h). post_stop comes
 * last, when the report is written, so that it can send it off; the report's file is written once more when it has
 * ended, and then says what became of it, too. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/text.h"
#include "config/hook.h"
#include "supervisor/report/tally.h"
#include "supervisor/state.h"

#define RESERVE_US INT64_C(300000)        /* from post_stop's end to the end of the grace, at most … */
enum { RESERVE_PERCENT = 15, POST_STOP_PERCENT = 10 };

static const char *const names[HOOKS] = {
    [HOOK_PRE_START] = "pre_start", [HOOK_ANNOUNCE] = "announce", [HOOK_POST_STOP] = "post_stop"};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool hooks_has(const struct config *config, enum config_hook_name which)
{
    return config->hooks[which].command.kind != COMMAND_NONE;
}

int64_t hooks_share_us(const struct config *config)
{
    if (!hooks_has(config, HOOK_POST_STOP))
        return 0;
    return least(config->hooks[HOOK_POST_STOP].timeout_us, config->grace_period_us * POST_STOP_PERCENT / 100);
}

int64_t hooks_reserve_us(const struct config *config)
{
    return least(RESERVE_US, config->grace_period_us * RESERVE_PERCENT / 100);
}

/* ---- what became of one ---- */

static enum config_hook_name which_of(const struct supervisor *s, const struct hook *hook)
{
    return (enum config_hook_name)(hook - s->hooks.of);
}

static void say_ended(const char *name, const struct hook *hook)
{
    char after[32];
    struct text text = text_in(after, sizeof after);
    text_add_duration(&text, hook->took_us);
    if (hook->outcome == HOOK_OK)
        log_info("hook %s: done after %s", name, after);
    else
        log_warning("hook %s: %s after %s: %s; lastcall goes on without it", name, hook_outcome_name(hook->outcome),
                    after, hook->why);
}

/* One that post_stop has delayed (hooks_delay_restart()). */
static bool is_restart_due(const struct supervisor *s)
{
    return s->lifecycle.phase == PHASE_WAITING && clock_now_us() >= s->lifecycle.deadline_us;
}

static void ended(void *supervisor, struct hook *hook)
{
    struct supervisor *s = supervisor;
    enum config_hook_name which = which_of(s, hook);
    if (which != HOOK_PRE_START)
        say_ended(names[which], hook);
    if (which == HOOK_ANNOUNCE)
        supervisor_post(s, EVENT_ANNOUNCED);
    if (which == HOOK_POST_STOP)
        actions_finish_report(s);
    if (which == HOOK_POST_STOP && s->hooks.leave)
        supervisor_leave(s);
    else if (which == HOOK_POST_STOP && is_restart_due(s))
        supervisor_post(s, EVENT_DEADLINE);
}

void hooks_record(struct supervisor *s)
{
    for (int i = 0; i < HOOKS; i++) {
        const struct hook *hook = &s->hooks.of[i];
        if (hook->outcome != HOOK_NOT_RUN)
            record_hook(&s->record, names[i], hook_outcome_name(hook->outcome), hook->took_us, hook->why);
    }
}

bool hooks_reaped(struct supervisor *s, const struct reaped *reaped)
{
    for (int i = 0; i < HOOKS; i++)
        if (hook_reaped(&s->hooks.of[i], reaped))
            return true;
    return hook_reaped(&s->hooks.waiter, reaped);
}

/* ---- starting one ---- */

/* `argv` needs room for a list's arguments and NULL. */
static void fill_argv(const struct supervisor *s, const struct config_command *command, const char **argv)
{
    unsigned count = 0;
    if (command->kind == COMMAND_SHELL)
        argv[count++] = "/bin/sh", argv[count++] = "-c";
    if (command->kind == COMMAND_URL)
        argv[count++] = s->start->agent_path, argv[count++] = "--call";
    for (unsigned i = 0; i < command->count; i++)
        argv[count++] = hook_argument(command, i);
    argv[count] = NULL;
}

void hooks_start(struct supervisor *s, enum config_hook_name which, int64_t timeout_us)
{
    const char *argv[COMMAND_ARGUMENTS + 4];
    const struct config_command *command = &s->config->hooks[which].command;
    hook_variables_set(&s->hooks.variables, VARIABLE_HOOK, "%s", names[which]);
    fill_argv(s, command, argv);
    struct hook_order order = {.argv = (char *const *)argv, .envp = hook_variables_list(&s->hooks.variables),
                               .room = s->hooks.variables.room, .descriptors = &s->start->descriptors,
                               .still_ignored = s->start->ignored & SIGNAL_BIT(SIGHUP),
                               .with_channel = command->kind == COMMAND_URL, .timeout_us = timeout_us};
    hook_start(&s->hooks.of[which], &order);
}

void hooks_announce(struct supervisor *s)
{
    if (!hooks_has(s->config, HOOK_ANNOUNCE))
        return;
    hook_variables_set(&s->hooks.variables, VARIABLE_REASON, "%s", s->record.reason);
    hooks_start(s, HOOK_ANNOUNCE, s->config->hooks[HOOK_ANNOUNCE].timeout_us);
}

/* ---- post_stop ---- */

static void tell_count(struct supervisor *s, enum hook_variable which, bool known, unsigned count)
{
    if (known)
        hook_variables_set(&s->hooks.variables, which, "%u", count);
    else
        hook_variables_set(&s->hooks.variables, which, "unknown");
}

static void tell_outcome(struct supervisor *s)
{
    struct tally_stop stop = tally_stop(&s->record);
    bool known = s->record.target_count > 0;
    unsigned leaked = 0;
    for (unsigned i = 0; i < s->record.target_count; i++) {
        struct tally target = tally_target(&s->record, i);
        known &= target.known && target.outcome_unknown == 0;
        leaked += target.leaked;
    }
    hook_variables_set(&s->hooks.variables, VARIABLE_REASON, "%s", s->record.reason);
    hook_variables_set(&s->hooks.variables, VARIABLE_EXIT_CODE, "%d", s->exit_code);
    tell_count(s, VARIABLE_ABORTED, stop.later_known, stop.aborted + stop.aborted_later);
    tell_count(s, VARIABLE_LEAKED, known, leaked);
}

/* What is left of the grace, less the reserve. */
static int64_t time_left_us(const struct supervisor *s)
{
    int64_t end_us = s->lifecycle.began_us + s->config->grace_period_us - hooks_reserve_us(s->config);
    return end_us - clock_now_us();
}

void hooks_post_stop(struct supervisor *s, const char *report)
{
    int64_t left_us = time_left_us(s), timeout_us = s->config->hooks[HOOK_POST_STOP].timeout_us;
    tell_outcome(s);
    if (report)
        hook_variables_set(&s->hooks.variables, VARIABLE_REPORT, "%s", report);
    hooks_start(s, HOOK_POST_STOP, least(timeout_us, left_us > 0 ? left_us : 0));
}

/* The report is the life's that is over until post_stop has ended: it is written once more then. */
bool hooks_delay_restart(const struct supervisor *s)
{
    return s->lifecycle.phase == PHASE_WAITING && s->hooks.of[HOOK_POST_STOP].outcome == HOOK_RUNNING;
}

bool hooks_wait_for_post_stop(struct supervisor *s)
{
    s->hooks.leave = true;
    return s->hooks.of[HOOK_POST_STOP].outcome == HOOK_RUNNING;
}

/* ---- all of them ---- */

/* One that announces a drain which was called off would be taken for the next stop's. */
void hooks_forget(struct supervisor *s)
{
    hook_cut(&s->hooks.of[HOOK_ANNOUNCE], "the app goes on");
    s->hooks.of[HOOK_ANNOUNCE].outcome = s->hooks.of[HOOK_POST_STOP].outcome = HOOK_NOT_RUN;
    for (int i = VARIABLE_REASON; i < VARIABLES; i++)
        s->hooks.variables.text[i][0] = '\0';
}

void hooks_cut(struct supervisor *s)
{
    hook_cut(&s->hooks.of[HOOK_ANNOUNCE], "the stop was over before it had ended");
}

int hooks_init(struct supervisor *s)
{
    for (int i = 0; i < HOOKS; i++) {
        s->hooks.of[i].context = s;
        s->hooks.of[i].ended = ended;
        hook_init(&s->hooks.of[i], s->loop);
    }
    hook_init(&s->hooks.waiter, s->loop);
    if (hook_variables_init(&s->hooks.variables, environ) == -1)
        return -1;
    hook_variables_set(&s->hooks.variables, VARIABLE_INSTANCE, "%s", s->config->instance);
    return 0;
}

void hooks_finish(struct supervisor *s)
{
    for (int i = 0; i < HOOKS; i++)
        hook_signal(&s->hooks.of[i], SIGKILL); /* one that could not be killed in its time */
    hook_variables_finish(&s->hooks.variables);
}
