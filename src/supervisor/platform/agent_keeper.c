/* The agent's keeper: its process is started, ended, and started again when it is lost. It never waits
 * for it, and never reaps.
 *
 *   state    waits for                                     what the timer means        left by
 *   OFF      agent_keeper_start()                          –
 *   WAITING  the time to start it (again)                  start now                   UP; WAITING when it cannot start
 *   UP       the end of its link, or of itself             –                           ENDING: lost, or told to stop
 *   ENDING   being reaped; its link is closed              it does not end by itself   WAITING; OFF when told to stop
 *
 * UP is when the link (agent_link.c) is open: what is said on it is the link's business, the process is this file's. */
#include "supervisor/platform/agent_keeper.h"

#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/signals.h"
#include "common/text.h"
#include "supervisor/app/spawn.h"
#include "supervisor/platform/agent_backoff.h"
#include "supervisor/platform/agent_link.h"
#include "supervisor/platform/loss_log.h"

enum { AGENT_CHANNEL_FD = 3 }; /* the number under which the agent finds its end */
#define END_LIMIT_US (500 * US_PER_MS) /* from a closed channel to the process's end */
#define END_LIMIT_HURRY_US (100 * US_PER_MS)

enum keeper_state { KEEPER_OFF, KEEPER_WAITING, KEEPER_UP, KEEPER_ENDING, KEEPER_STATES };

struct agent_keeper {
    struct ev_loop *loop;
    char *const *environment;
    struct agent_keeper_user user;
    char path[PATH_MAX];

    enum keeper_state state;
    bool wanted;                /* between start and stop */
    pid_t pid;                  /* 0: none, or reaped */
    bool is_being_reaped;       /* the pid is not its own any more */
    ev_timer timer;
    struct agent_backoff backoff;
    struct agent_link link;

    bool not_there;
    enum agent_loss loss;
    char loss_text[LOSS_REASON];
    struct loss_log said;
};

/* ---- state and timer ---- */

static void change_state(struct agent_keeper *keeper, enum keeper_state state, const char *why)
{
    static const char *const names[KEEPER_STATES] = {
        [KEEPER_OFF] = "off", [KEEPER_WAITING] = "waiting", [KEEPER_UP] = "up", [KEEPER_ENDING] = "ending"};
    log_debug("agent keeper: %s -> %s: %s", names[keeper->state], names[state], why);
    ev_timer_stop(keeper->loop, &keeper->timer);
    keeper->state = state;
}

static void set_timer(struct agent_keeper *keeper, int64_t delay_us)
{
    ev_now_update(keeper->loop);
    ev_timer_stop(keeper->loop, &keeper->timer);
    ev_timer_set(&keeper->timer, delay_us > 0 ? (double)delay_us / 1e6 : 0., 0.);
    ev_timer_start(keeper->loop, &keeper->timer);
}

/* ---- loss ---- */

static void close_link(struct agent_keeper *keeper)
{
    agent_link_close(&keeper->link);
    agent_backoff_lost(&keeper->backoff, clock_now_us());
}

/* May the log say the loss of loss_text, or was the same said often enough? `more` says how often it was not. */
static bool may_say(struct agent_keeper *keeper, char more[static 64])
{
    unsigned unsaid;
    bool may = loss_log_may_say(&keeper->said, keeper->loss_text, clock_now_us(), &unsaid);
    more[0] = 0;
    if (unsaid > 0)
        snprintf(more, 64, " (%u more times since this was said)", unsaid);
    return may;
}

static void say_ended(struct agent_keeper *keeper)
{
    char more[64];
    if (may_say(keeper, more))
        log_warning("the agent (pid %d) is ended: %s%s", (int)keeper->pid, keeper->loss_text, more);
}

static void tell_lost(struct agent_keeper *keeper)
{
    if (keeper->user.lost)
        keeper->user.lost(keeper->user.context, keeper->loss, keeper->loss_text);
}

/* The agent that is up is lost. One that ended by itself is given a moment to be reaped with its own exit code. */
__attribute__((format(printf, 3, 4)))
static void lose(struct agent_keeper *keeper, enum agent_loss loss, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(keeper->loss_text, sizeof keeper->loss_text, format, arguments);
    va_end(arguments);
    keeper->loss = loss;
    close_link(keeper);
    change_state(keeper, KEEPER_ENDING, keeper->loss_text);
    if (loss == AGENT_ENDED) {
        set_timer(keeper, keeper->backoff.hurry ? END_LIMIT_HURRY_US : END_LIMIT_US);
    } else {
        say_ended(keeper);
        agent_keeper_kill(keeper);
    }
    tell_lost(keeper);
}

static void link_broke(void *context, enum agent_loss loss, const char *why)
{
    lose(context, loss, "%s", why);
}

static int64_t wait_to_start(struct agent_keeper *keeper, const char *why)
{
    int64_t delay = agent_backoff_before_start(&keeper->backoff);
    change_state(keeper, KEEPER_WAITING, why);
    set_timer(keeper, delay);
    return delay;
}

/* ---- starting ---- */

/* The user is told when it is new. */
__attribute__((format(printf, 2, 3)))
static void could_not_start(struct agent_keeper *keeper, const char *format, ...)
{
    char more[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(keeper->loss_text, sizeof keeper->loss_text, format, arguments);
    va_end(arguments);
    bool is_new = !keeper->not_there;
    if (may_say(keeper, more))
        log_error("the agent %s cannot be started: %s; the app goes on without it, its connections are not watched%s",
                  keeper->path, keeper->loss_text, more);
    keeper->not_there = true;
    keeper->loss = AGENT_NOT_THERE;
    wait_to_start(keeper, keeper->loss_text);
    if (is_new)
        tell_lost(keeper);
}

static pid_t spawn_agent(struct agent_keeper *keeper, int channel, struct spawn_failure *failure)
{
    char *argv[] = {keeper->path, NULL};
    struct spawn_request request = {
        .argv = argv,
        .envp = keeper->environment,
        .terminal = -1,
        .own_group = true,
        .keep_fd = channel,
        .keep_as = AGENT_CHANNEL_FD,
        .death_signal = SIGKILL,
    };
    return spawn_process(&request, failure);
}

static void greet(struct agent_keeper *keeper, int channel)
{
    keeper->not_there = false;
    agent_backoff_started(&keeper->backoff, clock_now_us());
    change_state(keeper, KEEPER_UP, "started");
    if (agent_link_open(&keeper->link, channel) == 0 && keeper->user.started)
        keeper->user.started(keeper->user.context, keeper->pid);
}

static void start_agent(struct agent_keeper *keeper)
{
    struct spawn_failure failure;
    int ends[2];
    if (channel_open_pair(ends) == -1) {
        could_not_start(keeper, "no channel to it: %s", strerror(errno));
        return;
    }
    pid_t pid = spawn_agent(keeper, ends[1], &failure);
    fd_close(&ends[1]);
    if (pid == -1) {
        fd_close(&ends[0]);
        could_not_start(keeper, "%s: %s", spawn_step_name(failure.step), strerror(failure.error));
        return;
    }
    keeper->pid = pid;
    greet(keeper, ends[0]);
}

/* ---- the timer, by state ---- */

static void end_overdue(struct agent_keeper *keeper)
{
    text_copy(keeper->loss_text, sizeof keeper->loss_text, "it closed its channel and did not end");
    say_ended(keeper);
    agent_keeper_kill(keeper);
    keeper->loss = AGENT_HUNG;
}

static void nothing_to_do(struct agent_keeper *keeper)
{
    (void)keeper;
}

static void timer_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
    static void (*const by_state[KEEPER_STATES])(struct agent_keeper *) = {
        [KEEPER_OFF] = nothing_to_do,
        [KEEPER_WAITING] = start_agent,
        [KEEPER_UP] = nothing_to_do,
        [KEEPER_ENDING] = end_overdue,
    };
    struct agent_keeper *keeper = timer->data;
    (void)loop;
    (void)events;
    by_state[keeper->state](keeper);
}

/* ---- the reaping ---- */

/* "It exited with code 3" instead of "it closed its channel", now that it is known. */
static void explain_end(struct agent_keeper *keeper, const struct reaped *reaped)
{
    struct text text = text_in(keeper->loss_text, sizeof keeper->loss_text);
    if (reaped->how == REAPED_EXITED)
        text_add(&text, "it exited with code %d", reaped->value);
    else
        text_add(&text, "it was ended by %s", signal_name(reaped->value));
}

/* One that was ended by us was said then. */
static void start_again(struct agent_keeper *keeper, pid_t was)
{
    int64_t delay = wait_to_start(keeper, keeper->loss_text);
    char more[64];
    if (keeper->loss == AGENT_ENDED && may_say(keeper, more))
        log_warning("the agent (pid %d) was lost: %s; it is started again in %.1f s%s", (int)was, keeper->loss_text,
                    (double)delay / 1e6, more);
}

/* Nothing stops an agent on purpose, and nobody knows for how long: while it stands, sockets would stay marked. */
static void was_stopped(struct agent_keeper *keeper, int signo)
{
    if (keeper->state == KEEPER_UP)
        lose(keeper, AGENT_HUNG, "it was stopped by %s", signal_name(signo));
    else
        agent_keeper_kill(keeper); /* it could not end by itself */
}

bool agent_keeper_reaped(struct agent_keeper *keeper, const struct reaped *reaped)
{
    if (!keeper->pid || reaped->pid != keeper->pid)
        return false;
    if (reaped->how == REAPED_STOPPED)
        was_stopped(keeper, reaped->value);
    if (reaped->how != REAPED_EXITED && reaped->how != REAPED_SIGNALED)
        return true;
    keeper->is_being_reaped = true;
    agent_link_hear_all(&keeper->link); /* its last words, and then its end */
    if (keeper->state == KEEPER_UP)
        lose(keeper, AGENT_ENDED, "it ended");
    pid_t was = keeper->pid;
    keeper->pid = 0;
    keeper->is_being_reaped = false;
    if (keeper->loss == AGENT_ENDED)
        explain_end(keeper, reaped);
    if (keeper->wanted)
        start_again(keeper, was);
    else
        change_state(keeper, KEEPER_OFF, "reaped");
    return true;
}

/* ---- the link's side ---- */

static void hand_on_facts(void *context, const struct facts *facts)
{
    struct agent_keeper *keeper = context;
    if (keeper->user.facts)
        keeper->user.facts(keeper->user.context, facts);
}

static void hand_on_ended(void *context, const struct message_ended *ended)
{
    struct agent_keeper *keeper = context;
    if (keeper->user.ended)
        keeper->user.ended(keeper->user.context, ended);
}

static void hand_on_predecessor_ended(void *context, const struct message_predecessor_ended *ended)
{
    struct agent_keeper *keeper = context;
    if (keeper->user.predecessor_ended)
        keeper->user.predecessor_ended(keeper->user.context, ended);
}

/* ---- the user's side ---- */

struct agent_keeper *agent_keeper_create(struct ev_loop *loop, const struct config *config, const char *path,
                                         char *const *environment, const struct agent_keeper_user *user)
{
    struct agent_keeper *keeper = calloc(1, sizeof *keeper);
    struct agent_link_user link_user = {keeper, hand_on_facts, hand_on_ended, hand_on_predecessor_ended,
                                        link_broke};
    if (!keeper || agent_link_init(&keeper->link, loop, config, &link_user) == -1) {
        free(keeper);
        errno = ENOMEM;
        return NULL;
    }
    keeper->loop = loop;
    keeper->environment = environment;
    keeper->user = *user;
    agent_backoff_init(&keeper->backoff);
    text_copy(keeper->path, sizeof keeper->path, path);
    ev_init(&keeper->timer, timer_fired);
    keeper->timer.data = keeper;
    return keeper;
}

void agent_keeper_destroy(struct agent_keeper *keeper)
{
    if (!keeper)
        return;
    ev_timer_stop(keeper->loop, &keeper->timer);
    agent_link_finish(&keeper->link);
    free(keeper);
}

void agent_keeper_start(struct agent_keeper *keeper)
{
    keeper->wanted = true;
    if (keeper->state == KEEPER_OFF)
        start_agent(keeper);
}

void agent_keeper_stop(struct agent_keeper *keeper)
{
    keeper->wanted = false;
    close_link(keeper);
    if (keeper->state == KEEPER_UP) {
        keeper->loss = AGENT_ENDED;
        change_state(keeper, KEEPER_ENDING, "told to stop");
    } else if (keeper->state == KEEPER_WAITING) {
        change_state(keeper, KEEPER_OFF, "told to stop");
    }
}

void agent_keeper_kill(struct agent_keeper *keeper)
{
    if (keeper->pid && !keeper->is_being_reaped) /* our child until then, so the pid is nobody else's */
        kill(keeper->pid, SIGKILL);
}

void agent_keeper_hurry(struct agent_keeper *keeper, bool hurry)
{
    bool is_new = keeper->backoff.hurry != hurry;
    agent_backoff_hurry(&keeper->backoff, hurry);
    if (is_new && hurry && keeper->state == KEEPER_WAITING)
        set_timer(keeper, agent_backoff_before_start(&keeper->backoff));
}

pid_t agent_keeper_pid(const struct agent_keeper *keeper)
{
    return keeper->pid;
}

bool agent_keeper_is_up(const struct agent_keeper *keeper)
{
    return keeper->state == KEEPER_UP;
}

const char *agent_keeper_last_loss(const struct agent_keeper *keeper)
{
    return keeper->loss_text;
}

int agent_keeper_look(struct agent_keeper *keeper, uint32_t look, unsigned answer_ms, const struct look_wants *wants)
{
    return agent_link_look(&keeper->link, look, answer_ms, wants);
}

int agent_keeper_end(struct agent_keeper *keeper, const struct agent_end *end)
{
    return agent_link_end(&keeper->link, end);
}

int agent_keeper_predecessor(struct agent_keeper *keeper, uint32_t request, int64_t started_us)
{
    return agent_link_predecessor(&keeper->link, request, started_us);
}
