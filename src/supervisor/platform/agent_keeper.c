/* The agent's keeper. It never waits for the agent, never reaps, and lets nothing through that the agent may not say.
 *
 *   state    waits for                                     what the one timer means    left by
 *   OFF      agent_keeper_start()                          –
 *   WAITING  the time to start it (again)                  start now                   UP; WAITING when it cannot be started
 *   UP       messages                                      an answer is overdue        ENDING: lost, or told to stop
 *   ENDING   being reaped; its channel is closed           it does not end by itself   WAITING, or OFF when told to stop
 */
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
#include "supervisor/platform/agent_patience.h"
#include "supervisor/platform/agent_say.h"
#include "supervisor/platform/facts_buffer.h"
#include "wire/channel.h"

enum {
    AGENT_CHANNEL_FD = 3,       /* the number under which the agent finds its end */
    PACKETS_A_TURN = 64,        /* then the loop's other business comes first */
    PACKETS_AT_ONCE = 4096      /* more than a channel can hold */
};
#define NOT_THERE_AGAIN_US (600 * US_PER_SECOND)    /* how often the log says that it still is not there */
#define END_LIMIT_US (500 * US_PER_MS)              /* from a closed channel to the process's end */
#define END_LIMIT_HURRY_US (100 * US_PER_MS)

enum keeper_state { KEEPER_OFF, KEEPER_WAITING, KEEPER_UP, KEEPER_ENDING, KEEPER_STATES };

struct agent_keeper {
    struct ev_loop *loop;
    const struct config *config;
    char *const *environment;
    struct agent_keeper_user user;
    char path[PATH_MAX];

    enum keeper_state state;
    bool wanted;                /* between start and stop */
    pid_t pid;                  /* 0: none, or reaped */
    int fd;                     /* our end of the channel; -1 unless UP */
    ev_io io;
    ev_timer timer;

    struct agent_patience patience;
    bool not_there;
    int64_t not_there_said_us;
    enum agent_loss loss;
    char loss_text[200];

    struct facts_buffer facts;
    union channel_packet packet;
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

static void arm_watchdog(struct agent_keeper *keeper)
{
    int64_t deadline = agent_patience_deadline(&keeper->patience);
    if (deadline)
        set_timer(keeper, deadline - clock_now_us());
    else
        ev_timer_stop(keeper->loop, &keeper->timer);
}

static void close_channel(struct agent_keeper *keeper)
{
    ev_io_stop(keeper->loop, &keeper->io);
    fd_close(&keeper->fd);
    facts_buffer_clear(&keeper->facts);
    agent_patience_lost(&keeper->patience, clock_now_us());
}

/* ---- loss ---- */

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
    close_channel(keeper);
    change_state(keeper, KEEPER_ENDING, keeper->loss_text);
    if (loss == AGENT_ENDED) {
        set_timer(keeper, keeper->patience.hurry ? END_LIMIT_HURRY_US : END_LIMIT_US);
    } else {
        log_warning("the agent (pid %d) is ended: %s", (int)keeper->pid, keeper->loss_text);
        agent_keeper_kill(keeper);
    }
    tell_lost(keeper);
}

static int64_t wait_to_start(struct agent_keeper *keeper, const char *why)
{
    int64_t delay = agent_patience_before_start(&keeper->patience);
    change_state(keeper, KEEPER_WAITING, why);
    set_timer(keeper, delay);
    return delay;
}

/* ---- what the agent says ---- */

static void tell_facts(struct agent_keeper *keeper, const struct message_rows *rows)
{
    struct facts facts = facts_buffer_take(&keeper->facts, rows->took_us, clock_now_us());
    agent_patience_answered(&keeper->patience, facts.look, facts.received_at_us);
    arm_watchdog(keeper);
    if (keeper->user.facts)
        keeper->user.facts(keeper->user.context, &facts);
}

static int hear_target_state(struct agent_keeper *keeper, const void *message)
{
    return facts_buffer_add_target(&keeper->facts, message, keeper->config->target_count) == FACTS_REFUSED ? -1 : 0;
}

static int hear_rows(struct agent_keeper *keeper, const void *message)
{
    enum facts_progress progress = facts_buffer_add_rows(&keeper->facts, message, keeper->config->target_count);
    if (progress == FACTS_COMPLETE)
        tell_facts(keeper, message);
    return progress == FACTS_REFUSED ? -1 : 0;
}

static int hear_ended(struct agent_keeper *keeper, const void *message)
{
    const struct message_ended *ended = message;
    if (ended->target >= keeper->config->target_count) {
        errno = EBADMSG;
        return -1;
    }
    if (keeper->user.ended)
        keeper->user.ended(keeper->user.context, ended);
    return 0;
}

/* Who may say what: a kind without a row is not the agent's to say. */
static int (*const hear[MESSAGE_KINDS])(struct agent_keeper *, const void *) = {
    [MESSAGE_TARGET_STATE] = hear_target_state,
    [MESSAGE_ROWS] = hear_rows,
    [MESSAGE_ENDED] = hear_ended,
};

static void take_message(struct agent_keeper *keeper)
{
    const struct message_header *header = (const void *)keeper->packet.bytes;
    const char *kind = message_kind_name(header->kind);
    if (!hear[header->kind])
        lose(keeper, AGENT_BAD_MESSAGE, "it sent %s, which is not its to say", kind);
    else if (hear[header->kind](keeper, keeper->packet.bytes) == 0)
        return;
    else if (errno == E2BIG)
        lose(keeper, AGENT_BAD_MESSAGE, "it sent more %s in one look than there may be", kind);
    else
        lose(keeper, AGENT_BAD_MESSAGE, "it sent %s of a target that is not configured", kind);
}

/* Takes one message. False when there is none, or the agent was lost. */
static bool take_one(struct agent_keeper *keeper)
{
    long size = channel_receive(keeper->fd, &keeper->packet);
    if (size > 0)
        take_message(keeper);
    else if (size == -1 && errno == EAGAIN)
        return false;
    else if (size == -1 && errno == EBADMSG)
        lose(keeper, AGENT_BAD_MESSAGE, "it sent something that is no message");
    else
        lose(keeper, AGENT_ENDED, "it closed its channel");
    return keeper->state == KEEPER_UP;
}

static void take_messages(struct agent_keeper *keeper, int most)
{
    for (int i = 0; i < most && take_one(keeper); i++)
        ;
}

static void channel_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    take_messages(io->data, PACKETS_A_TURN);
}

/* ---- starting ---- */

/* The log says it once, and then rarely; the user is told when it is new. */
__attribute__((format(printf, 2, 3)))
static void could_not_start(struct agent_keeper *keeper, const char *format, ...)
{
    int64_t now = clock_now_us();
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(keeper->loss_text, sizeof keeper->loss_text, format, arguments);
    va_end(arguments);
    bool is_new = !keeper->not_there;
    if (is_new || now - keeper->not_there_said_us >= NOT_THERE_AGAIN_US) {
        log_error("the agent %s cannot be started: %s; the app goes on without it, its connections are not watched",
                  keeper->path, keeper->loss_text);
        keeper->not_there_said_us = now;
    }
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

static void greet(struct agent_keeper *keeper)
{
    keeper->not_there = false;
    agent_patience_started(&keeper->patience, clock_now_us());
    change_state(keeper, KEEPER_UP, "started");
    ev_io_set(&keeper->io, keeper->fd, EV_READ);
    ev_io_start(keeper->loop, &keeper->io);
    if (agent_say_hello(keeper->fd, keeper->config) == -1) {
        int error = errno;
        lose(keeper, error == EPIPE ? AGENT_ENDED : AGENT_HUNG, "it could not be told its targets: %s", strerror(error));
        return;
    }
    arm_watchdog(keeper);
    if (keeper->user.started)
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
    keeper->fd = ends[0];
    greet(keeper);
}

/* ---- the timer, by state ---- */

/* What lies in the channel is read first: perhaps it is we who were not running. */
static void answer_overdue(struct agent_keeper *keeper)
{
    take_messages(keeper, PACKETS_AT_ONCE);
    if (keeper->state != KEEPER_UP)
        return;
    char why[sizeof keeper->loss_text];
    struct text text = text_in(why, sizeof why);
    if (agent_patience_is_over(&keeper->patience, clock_now_us(), &text))
        lose(keeper, AGENT_HUNG, "%s", why);
    else
        arm_watchdog(keeper);
}

static void end_overdue(struct agent_keeper *keeper)
{
    text_copy(keeper->loss_text, sizeof keeper->loss_text, "it closed its channel and did not end");
    log_warning("the agent (pid %d) is ended: %s", (int)keeper->pid, keeper->loss_text);
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
        [KEEPER_UP] = answer_overdue,
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

static void start_again(struct agent_keeper *keeper, pid_t was)
{
    int64_t delay = wait_to_start(keeper, keeper->loss_text);
    log_warning("the agent (pid %d) was lost: %s; it is started again in %.1f s", (int)was, keeper->loss_text,
                (double)delay / 1e6);
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
    if (keeper->state == KEEPER_UP)
        take_messages(keeper, PACKETS_AT_ONCE); /* its last words, and then its end */
    if (keeper->state == KEEPER_UP)
        lose(keeper, AGENT_ENDED, "it ended");
    pid_t was = keeper->pid;
    keeper->pid = 0;
    if (keeper->loss == AGENT_ENDED)
        explain_end(keeper, reaped);
    if (keeper->wanted)
        start_again(keeper, was);
    else
        change_state(keeper, KEEPER_OFF, "reaped");
    return true;
}

/* ---- the user's side ---- */

int agent_keeper_find(char *path, size_t size)
{
    const char *given = getenv("LASTCALL_AGENT");
    char self[PATH_MAX];
    if (given && *given)
        return text_copy(path, size, given) ? 0 : (errno = ENAMETOOLONG, -1);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length == -1)
        return -1;
    self[length] = 0;
    char *name = strrchr(self, '/');
    if (name)
        name[1] = 0;
    struct text text = text_in(path, size);
    text_add(&text, "%slastcall-agent", name ? self : "");
    return text.cut ? (errno = ENAMETOOLONG, -1) : 0;
}

struct agent_keeper *agent_keeper_create(struct ev_loop *loop, const struct config *config, const char *path,
                                         char *const *environment, const struct agent_keeper_user *user)
{
    struct agent_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper || facts_buffer_init(&keeper->facts) == -1) {
        free(keeper);
        errno = ENOMEM;
        return NULL;
    }
    keeper->loop = loop;
    keeper->config = config;
    keeper->environment = environment;
    keeper->user = *user;
    keeper->fd = -1;
    agent_patience_init(&keeper->patience, config->monitor_interval_us);
    text_copy(keeper->path, sizeof keeper->path, path);
    ev_init(&keeper->io, channel_readable);
    ev_init(&keeper->timer, timer_fired);
    keeper->io.data = keeper->timer.data = keeper;
    return keeper;
}

void agent_keeper_destroy(struct agent_keeper *keeper)
{
    if (!keeper)
        return;
    ev_timer_stop(keeper->loop, &keeper->timer);
    close_channel(keeper);
    facts_buffer_finish(&keeper->facts);
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
    close_channel(keeper);
    if (keeper->state == KEEPER_UP) {
        keeper->loss = AGENT_ENDED;
        change_state(keeper, KEEPER_ENDING, "told to stop");
    } else if (keeper->state == KEEPER_WAITING) {
        change_state(keeper, KEEPER_OFF, "told to stop");
    }
}

void agent_keeper_kill(struct agent_keeper *keeper)
{
    if (keeper->pid) /* our child until it is reaped, so the pid is nobody else's */
        kill(keeper->pid, SIGKILL);
}

void agent_keeper_hurry(struct agent_keeper *keeper, bool hurry)
{
    bool is_new = keeper->patience.hurry != hurry;
    agent_patience_hurry(&keeper->patience, hurry);
    if (is_new && hurry && keeper->state == KEEPER_WAITING)
        set_timer(keeper, agent_patience_before_start(&keeper->patience));
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

/* What a failed send means for the agent. */
static int could_not_say(struct agent_keeper *keeper)
{
    int error = errno;
    if (error == EAGAIN) {
        lose(keeper, AGENT_HUNG, "it does not read its channel");
    } else if (error == EPIPE || error == ECONNRESET) {
        lose(keeper, AGENT_ENDED, "it closed its channel");
        error = ENOTCONN;
    }
    errno = error;
    return -1;
}

static int not_up(void)
{
    errno = ENOTCONN;
    return -1;
}

int agent_keeper_look(struct agent_keeper *keeper, uint32_t look, unsigned answer_ms, const struct look_wants *wants)
{
    if (keeper->state != KEEPER_UP)
        return not_up();
    if (agent_say_look(keeper->fd, look, answer_ms, wants) == -1)
        return could_not_say(keeper);
    agent_patience_asked(&keeper->patience, look, answer_ms, clock_now_us());
    arm_watchdog(keeper);
    return 0;
}

int agent_keeper_end(struct agent_keeper *keeper, const struct agent_end *end)
{
    if (keeper->state != KEEPER_UP)
        return not_up();
    return agent_say_end(keeper->fd, end) == -1 ? could_not_say(keeper) : 0;
}
