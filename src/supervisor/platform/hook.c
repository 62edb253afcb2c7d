/* A hook's process: see supervisor/platform/hook.h. Never waits for it, and never reaps: it is told. What it says on
 * its channel is checked before it is looked at (wire/channel.h); what it prints is not read. */
#include "supervisor/platform/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/as_user.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/process.h"
#include "common/signals.h"
#include "common/text.h"
#include "supervisor/app/spawn.h"
#include "wire/channel.h"

enum { CHANNEL_AS = 3, EXIT_NOT_FOUND = 127 };

const char *hook_outcome_name(enum hook_outcome outcome)
{
    static const char *const names[HOOK_OUTCOMES] = {
        [HOOK_NOT_RUN] = "not run", [HOOK_RUNNING] = "running",          [HOOK_OK] = "ok",
        [HOOK_FAILED] = "failed",   [HOOK_NOT_STARTED] = "not started",  [HOOK_TIMED_OUT] = "timed out",
        [HOOK_CUT_SHORT] = "cut short"};
    return names[outcome];
}

/* ---- its end ---- */

static void close_channel(struct hook *hook)
{
    ev_io_stop(hook->loop, &hook->io);
    fd_close(&hook->channel);
}

__attribute__((format(printf, 3, 4)))
static void end(struct hook *hook, enum hook_outcome outcome, const char *format, ...)
{
    va_list arguments;
    struct text text = text_in(hook->why, sizeof hook->why);
    char why[256];
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    text_add_escaped(&text, why, sizeof why);
    hook->outcome = outcome;
    hook->took_us = clock_now_us() - hook->began_us;
    ev_timer_stop(hook->loop, &hook->timer);
    close_channel(hook);
    fd_close(&hook->exec_outcome);
    hook->ended(hook->context, hook); /* last: it may start it again */
}

void hook_signal(const struct hook *hook, int signo)
{
    if (hook->pid > 0)
        as_user_kill(-hook->pid, signo); /* it may have dropped its uid */
}

static void time_is_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct hook *hook = timer->data;
    char after[32];
    struct text text = text_in(after, sizeof after);
    (void)loop, (void)events;
    text_add_duration(&text, clock_now_us() - hook->began_us);
    hook_signal(hook, SIGKILL);
    end(hook, HOOK_TIMED_OUT, "it had not ended after %s, and was killed", after);
}

void hook_cut(struct hook *hook, const char *why)
{
    if (hook->outcome != HOOK_RUNNING)
        return;
    hook_signal(hook, SIGKILL);
    end(hook, HOOK_CUT_SHORT, "%s", why);
}

/* ---- what it says ---- */

static void take(struct hook *hook, const struct message_found *found)
{
    if (hook->heard)
        hook->heard(hook->context, found);
    else if (found->answer != FOUND_YES)
        text_copy(hook->told, sizeof hook->told, found->text);
}

/* A packet that is none, or of another kind than it may say, is the end of the conversation. */
static void hear(struct hook *hook)
{
    static union channel_packet packet;
    while (hook->channel != -1) {
        long size = channel_receive(hook->channel, &packet);
        const struct message_header *header = (const void *)packet.bytes;
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0 || header->kind != MESSAGE_FOUND)
            close_channel(hook);
        else
            take(hook, (const void *)packet.bytes);
    }
}

static void readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    hear(io->data);
}

/* ---- its process ---- */

static void judge(struct hook *hook, const struct reaped *reaped)
{
    struct spawn_failure failure;
    hear(hook);
    if (!spawn_read_outcome(&hook->exec_outcome, &failure))
        end(hook, HOOK_NOT_STARTED, "%s: %s", spawn_step_name(failure.step), strerror(failure.error));
    else if (reaped->how == REAPED_SIGNALED)
        end(hook, HOOK_FAILED, "it was ended by %s", signal_name(reaped->value));
    else if (reaped->value == 0)
        end(hook, HOOK_OK, "%s", "");
    else if (hook->told[0])
        end(hook, HOOK_FAILED, "%s", hook->told);
    else
        end(hook, HOOK_FAILED, "it ended with code %d%s", reaped->value,
            reaped->value == EXIT_NOT_FOUND ? " (no such command)" : "");
}

/* What it has left running in its group ends with it. */
bool hook_reaped(struct hook *hook, const struct reaped *reaped)
{
    if (!hook->pid || reaped->pid != hook->pid)
        return false;
    if (reaped->how != REAPED_EXITED && reaped->how != REAPED_SIGNALED)
        return true;
    hook_signal(hook, SIGKILL);
    if (process_left_out() == hook->pid)
        process_leave_out(0);
    hook->pid = 0;
    if (hook->outcome == HOOK_RUNNING)
        judge(hook, reaped);
    return true;
}

static void set_timer(struct hook *hook, int64_t left_us)
{
    ev_timer_stop(hook->loop, &hook->timer);
    ev_now_update(hook->loop);
    ev_timer_set(&hook->timer, left_us > 0 ? (double)left_us / US_PER_SECOND : 0., 0.);
    ev_timer_start(hook->loop, &hook->timer);
}

void hook_hurry(struct hook *hook, int64_t left_us)
{
    int64_t left_by_timeout_us = hook->began_us + hook->timeout_us - clock_now_us();
    if (hook->outcome == HOOK_RUNNING)
        set_timer(hook, left_us < left_by_timeout_us ? left_us : left_by_timeout_us);
}

/* One descriptor can be handed on: the channel's, or nothing to read. */
static int open_descriptor(struct hook *hook, bool with_channel)
{
    int ends[2];
    if (!with_channel)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (channel_open_pair(ends) == -1)
        return -1;
    hook->channel = ends[0];
    if (!hook->heard) /* its one message is read when it has ended: libev takes memory for a new descriptor */
        return ends[1];
    ev_io_set(&hook->io, hook->channel, EV_READ);
    ev_io_start(hook->loop, &hook->io);
    return ends[1];
}

static pid_t spawn(struct hook *hook, const struct hook_order *order, struct spawn_failure *failure)
{
    int fd _cleanup_close_ = open_descriptor(hook, order->with_channel);
    struct spawn_request request = {.argv = order->argv, .envp = order->envp, .terminal = -1, .own_group = true,
                                    .keep_fd = fd, .keep_as = order->with_channel ? CHANNEL_AS : 0,
                                    .death_signal = SIGKILL, .descriptors = order->descriptors,
                                    .still_ignored = order->still_ignored, .output_to_error = true,
                                    .room = order->room, .outcome = &hook->exec_outcome};
    *failure = (struct spawn_failure){SPAWN_PIPE, errno};
    return fd == -1 ? -1 : spawn_process(&request, failure);
}

void hook_start(struct hook *hook, const struct hook_order *order)
{
    struct spawn_failure failure;
    if (hook->outcome == HOOK_RUNNING)
        return;
    fd_close(&hook->exec_outcome);
    hook->began_us = clock_now_us();
    hook->took_us = -1;
    hook->timeout_us = order->timeout_us;
    hook->told[0] = hook->why[0] = '\0';
    hook->outcome = HOOK_RUNNING;
    pid_t pid = spawn(hook, order, &failure);
    if (pid == -1) {
        end(hook, HOOK_NOT_STARTED, "%s: %s", spawn_step_name(failure.step), strerror(failure.error));
        return;
    }
    hook->pid = pid;
    process_leave_out(pid);
    set_timer(hook, order->timeout_us);
}

void hook_init(struct hook *hook, struct ev_loop *loop)
{
    hook->loop = loop;
    hook->exec_outcome = hook->channel = -1;
    hook->took_us = -1;
    ev_timer_init(&hook->timer, time_is_over, 0., 0.);
    ev_io_init(&hook->io, readable, -1, EV_READ);
    hook->timer.data = hook->io.data = hook;
}
