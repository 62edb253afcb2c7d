/* The link to a living agent. Every kind of message has its handler, and what has none is not the agent's to say. A bad
 * message, a full channel or a missing answer breaks the link; what becomes of the agent then is
 * the keeper's business. */
#include "supervisor/platform/agent_link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"
#include "supervisor/platform/agent_say.h"

enum {
    PACKETS_A_TURN = 64,        /* then the loop's other business comes first */
    PACKETS_AT_ONCE = 4096,     /* more than a channel can hold */
    WHY = 200
};

__attribute__((format(printf, 3, 4)))
static void break_link(struct agent_link *link, enum agent_loss loss, const char *format, ...)
{
    char why[WHY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    agent_link_close(link);
    link->user.broken(link->user.context, loss, why);
}

/* ---- waiting for an answer ---- */

static void wait_for_answer(struct agent_link *link)
{
    int64_t deadline = agent_patience_deadline(&link->patience);
    ev_timer_stop(link->loop, &link->overdue);
    if (!deadline)
        return;
    int64_t delay = deadline - clock_now_us();
    ev_now_update(link->loop);
    ev_timer_set(&link->overdue, delay > 0 ? (double)delay / 1e6 : 0., 0.);
    ev_timer_start(link->loop, &link->overdue);
}

/* What lies in the channel is read first: perhaps it is we who were not running. */
static void answer_overdue(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct agent_link *link = timer->data;
    char why[WHY];
    struct text text = text_in(why, sizeof why);
    (void)loop;
    (void)events;
    agent_link_hear_all(link);
    if (!agent_link_is_open(link))
        return;
    if (agent_patience_is_over(&link->patience, clock_now_us(), &text))
        break_link(link, AGENT_HUNG, "%s", why);
    else
        wait_for_answer(link);
}

/* ---- what the agent says ---- */

static void tell_facts(struct agent_link *link, const struct message_rows *rows)
{
    struct facts facts = facts_buffer_take(&link->facts, rows->took_us, clock_now_us());
    facts.alone = rows->alone;
    agent_patience_answered(&link->patience, facts.look, facts.received_at_us);
    wait_for_answer(link);
    link->user.facts(link->user.context, &facts);
}

static int hear_target_state(struct agent_link *link, const void *message)
{
    return facts_buffer_add_target(&link->facts, message, link->config->target_count) == FACTS_REFUSED ? -1 : 0;
}

static int hear_rows(struct agent_link *link, const void *message)
{
    enum facts_progress progress = facts_buffer_add_rows(&link->facts, message, link->config->target_count);
    if (progress == FACTS_COMPLETE)
        tell_facts(link, message);
    return progress == FACTS_REFUSED ? -1 : 0;
}

static int hear_inbound(struct agent_link *link, const void *message)
{
    facts_buffer_add_inbound(&link->facts, message);
    return 0;
}

static int hear_ended(struct agent_link *link, const void *message)
{
    const struct message_ended *ended = message;
    if (ended->target >= link->config->target_count) {
        errno = EBADMSG;
        return -1;
    }
    link->user.ended(link->user.context, ended);
    return 0;
}

static int hear_predecessor_ended(struct agent_link *link, const void *message)
{
    const struct message_predecessor_ended *ended = message;
    if (ended->target >= link->config->target_count) {
        errno = EBADMSG;
        return -1;
    }
    link->user.predecessor_ended(link->user.context, ended);
    return 0;
}

/* Who may say what: a kind without a row is not the agent's to say. */
static int (*const hear[MESSAGE_KINDS])(struct agent_link *, const void *) = {
    [MESSAGE_TARGET_STATE] = hear_target_state,
    [MESSAGE_ROWS] = hear_rows,
    [MESSAGE_ENDED] = hear_ended,
    [MESSAGE_INBOUND] = hear_inbound,
    [MESSAGE_PREDECESSOR_ENDED] = hear_predecessor_ended,
};

static void take_message(struct agent_link *link)
{
    const struct message_header *header = (const void *)link->packet.bytes;
    const char *kind = message_kind_name(header->kind);
    if (!hear[header->kind])
        break_link(link, AGENT_BAD_MESSAGE, "it sent %s, which is not its to say", kind);
    else if (hear[header->kind](link, link->packet.bytes) == 0)
        return;
    else if (errno == E2BIG)
        break_link(link, AGENT_BAD_MESSAGE, "it sent more %s in one look than there may be", kind);
    else
        break_link(link, AGENT_BAD_MESSAGE, "it sent %s of a target that is not configured", kind);
}

/* Takes one message. False when there is none, or the link broke. */
static bool take_one(struct agent_link *link)
{
    long size = channel_receive(link->fd, &link->packet);
    if (size > 0)
        take_message(link);
    else if (size == -1 && errno == EAGAIN)
        return false;
    else if (size == -1 && errno == EBADMSG)
        break_link(link, AGENT_BAD_MESSAGE, "it sent something that is no message");
    else
        break_link(link, AGENT_ENDED, "it closed its channel");
    return agent_link_is_open(link);
}

static void take_messages(struct agent_link *link, int most)
{
    for (int i = 0; i < most && take_one(link); i++)
        ;
}

void agent_link_hear_all(struct agent_link *link)
{
    if (agent_link_is_open(link))
        take_messages(link, PACKETS_AT_ONCE);
}

static void channel_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    take_messages(io->data, PACKETS_A_TURN);
}

/* ---- what the agent is told ---- */

/* What a failed send means for the agent. */
static int could_not_say(struct agent_link *link)
{
    int error = errno;
    if (error == EAGAIN) {
        break_link(link, AGENT_HUNG, "it does not read its channel");
    } else if (error == EPIPE || error == ECONNRESET) {
        break_link(link, AGENT_ENDED, "it closed its channel");
        error = ENOTCONN;
    }
    errno = error;
    return -1;
}

static int not_open(void)
{
    errno = ENOTCONN;
    return -1;
}

int agent_link_look(struct agent_link *link, uint32_t look, unsigned answer_ms, const struct look_wants *wants)
{
    if (!agent_link_is_open(link))
        return not_open();
    if (agent_say_look(link->fd, look, answer_ms, wants) == -1)
        return could_not_say(link);
    agent_patience_asked(&link->patience, look, answer_ms, clock_now_us());
    wait_for_answer(link);
    return 0;
}

int agent_link_end(struct agent_link *link, const struct agent_end *end)
{
    if (!agent_link_is_open(link))
        return not_open();
    return agent_say_end(link->fd, end) == -1 ? could_not_say(link) : 0;
}

int agent_link_predecessor(struct agent_link *link, uint32_t request, int64_t started_us)
{
    if (!agent_link_is_open(link))
        return not_open();
    return agent_say_predecessor(link->fd, request, started_us) == -1 ? could_not_say(link) : 0;
}

/* ---- opening and closing ---- */

int agent_link_init(struct agent_link *link, struct ev_loop *loop, const struct config *config,
                    const struct agent_link_user *user)
{
    link->loop = loop;
    link->config = config;
    link->user = *user;
    link->fd = -1;
    agent_patience_init(&link->patience, config->monitor_interval_us);
    ev_init(&link->io, channel_readable);
    ev_init(&link->overdue, answer_overdue);
    link->io.data = link->overdue.data = link;
    return facts_buffer_init(&link->facts);
}

void agent_link_finish(struct agent_link *link)
{
    agent_link_close(link);
    facts_buffer_finish(&link->facts);
}

int agent_link_open(struct agent_link *link, int fd)
{
    link->fd = fd;
    agent_patience_started(&link->patience, clock_now_us());
    ev_io_set(&link->io, fd, EV_READ);
    ev_io_start(link->loop, &link->io);
    if (agent_say_hello(fd, link->config) == -1) {
        int error = errno;
        break_link(link, error == EPIPE ? AGENT_ENDED : AGENT_HUNG, "it could not be told its targets: %s",
                   strerror(error));
        return -1;
    }
    wait_for_answer(link);
    return 0;
}

void agent_link_close(struct agent_link *link)
{
    ev_io_stop(link->loop, &link->io);
    ev_timer_stop(link->loop, &link->overdue);
    fd_close(&link->fd);
    facts_buffer_clear(&link->facts);
    agent_patience_lost(&link->patience);
}

bool agent_link_is_open(const struct agent_link *link)
{
    return link->fd != -1;
}
