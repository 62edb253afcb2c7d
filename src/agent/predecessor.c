/* What a predecessor has left: see agent/predecessor.h. One link and one thing after the other a target, all at once.
 *
 *   who is there        the sessions; what kind of server it is. Then, when all targets have answered or failed:
 *   PostgreSQL          its clock, which tells what began before the app; then one statement ends the sessions that
 *                       have the name, our role and our address, and no socket here; said again until they are gone
 *   PgBouncer, Redis    the clients that have the name and our address, and no socket here, are ended by their ids
 *
 * The sockets are looked at after the server was asked: a client that it has, and that has none here, is gone. It ends
 * nothing where that cannot be told: addresses that change on the way, unix sockets, and PostgreSQL where a pooler is in
 * use, whose server connections carry the name of the client they last worked for. */
#include "agent/predecessor.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/predecessor_rules.h"
#include "agent/sampler_state.h"
#include "agent/sockets/netlink.h"
#include "agent/sockets/proc_net.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#define ASK_LIMIT_US (5 * US_PER_SECOND)
#define SAY_LIMIT_US (2 * US_PER_SECOND)
#define GONE_LIMIT_US (3 * US_PER_SECOND) /* for a backend that was told to end */
#define AGAIN_S 0.02
enum { END_WAIT_MS = 1500, WHY = 128 };

static const char no_sockets[] = "the sockets here cannot be seen";

struct former {
    struct predecessor *all;
    struct probe *probe;       /* the sampler's: its message and its port */
    struct target *target;     /* ours; NULL: over */
    struct former_list found;  /* PgBouncer, Redis: who is to be ended */
    int64_t gone_by_us;
    bool told;
    uint32_t first, left;      /* that there were, and that are there now */
    char *command;             /* heap */
    ev_timer again;
};

struct predecessor {
    struct sampler *sampler;
    struct message_predecessor message;
    struct former formers[WIRE_TARGETS];
    size_t count, unasked;
    struct socket_table sockets;
    bool sockets_seen;
};

static void answer(struct former *former, bool known, const char *why)
{
    struct sampler *sampler = former->all->sampler;
    struct message_predecessor_ended ended = {
        .header = {sizeof ended, MESSAGE_PREDECESSOR_ENDED, 0}, .request = former->all->message.request,
        .target = former->probe->message->index, .known = known, .ended = known ? former->first - former->left : 0,
        .left = known ? former->left : 0};
    text_copy(ended.why, sizeof ended.why, why);
    ev_timer_stop(sampler->loop, &former->again);
    target_destroy(former->target);
    former->target = NULL;
    sampler->send(sampler->context, &ended);
}

static const char *name_of(const struct former *former)
{
    return former->all->sampler->settings.application_name;
}

/* ---- whose sockets are here ---- */

static void add_port(uint16_t *ports, size_t *count, uint16_t port)
{
    for (size_t i = 0; i < *count; i++)
        if (ports[i] == port)
            return;
    if (*count < DIAG_PORTS)
        ports[(*count)++] = port;
}

static size_t ports_of(const struct predecessor *all, uint16_t ports[DIAG_PORTS])
{
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        struct endpoint addresses[LEDGER_ADDRESSES];
        const struct former *former = &all->formers[i];
        size_t known = former->target ? target_addresses(former->target, addresses, LEDGER_ADDRESSES) : 0;
        add_port(ports, &count, probe_port(former->probe));
        for (size_t k = 0; k < known && k < LEDGER_ADDRESSES; k++)
            add_port(ports, &count, addresses[k].port);
    }
    return count;
}

/* Of the whole network namespace, not only of the app: whoever has one is alive. */
static void look_at_sockets(struct predecessor *all)
{
    struct netlink netlink = {.fd = -1};
    uint16_t ports[DIAG_PORTS];
    size_t count = ports_of(all, ports);
    all->sockets.count = 0;
    all->sockets_seen = inet_diag_dump(&netlink, ports, count, &all->sockets) == 0;
    netlink_finish(&netlink);
    if (all->sockets_seen)
        return;
    all->sockets.count = 0;
    all->sockets_seen = proc_net_dump("/proc/self/net", ports, count, &all->sockets) == 0;
}

/* ---- PostgreSQL ---- */

static void say_end(struct former *former);

static void say_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    say_end(timer->data);
}

/* "3": so many are still there, and were told to end. */
static void ends_said(void *context, struct target *target, const struct target_answer *said)
{
    struct former *former = context;
    uint32_t left = (uint32_t)strtoul(said->why, NULL, 10);
    (void)target;
    if (!said->ok) {
        answer(former, former->told, said->why);
        return;
    }
    former->first = former->told ? former->first : left;
    former->left = left;
    former->told = true;
    if (left == 0)
        answer(former, true, "");
    else if (clock_now_us() >= former->gone_by_us)
        answer(former, true, "told to end, and not gone within 3 s");
    else {
        ev_timer_set(&former->again, AGAIN_S, 0.);
        ev_timer_start(former->all->sampler->loop, &former->again);
    }
}

static void say_end(struct former *former)
{
    if (target_say(former->target, SAY_LIMIT_US, former->command, ends_said, former) < 0)
        answer(former, former->told, "no memory to ask");
}

/* Its clock was read after it was asked: what it was when the app was started is this or earlier. The app's sessions that
 * are older than that have a socket here by now, for the sockets are looked at after the clock. */
static void clock_said(void *context, struct target *target, const struct target_answer *said)
{
    struct former *former = context;
    struct predecessor *all = former->all;
    int64_t server_us = strtoll(said->why, NULL, 10);
    (void)target;
    if (!said->ok || server_us <= 0) {
        answer(former, false, said->ok ? "its clock is not to be read" : said->why);
        return;
    }
    look_at_sockets(all);
    int64_t began_before = server_us - (said->asked_at_us - all->message.started_us);
    former->command = all->sockets_seen ? former_command(name_of(former), began_before, &all->sockets) : NULL;
    former->gone_by_us = clock_now_us() + GONE_LIMIT_US;
    if (former->command)
        say_end(former);
    else
        answer(former, false, all->sockets_seen ? "more sockets here than can be told it" : no_sockets);
}

static void ask_clock(struct former *former)
{
    static const char clock[] = "SELECT (extract(epoch from pg_catalog.clock_timestamp())*1000000)::bigint";
    if (target_say(former->target, SAY_LIMIT_US, clock, clock_said, former) < 0)
        answer(former, false, "no memory to ask");
}

/* ---- PgBouncer and Redis ---- */

static void clients_ended(void *context, struct target *target, uint32_t request, const uint8_t *how, size_t count,
                          const char *why)
{
    struct former *former = context;
    (void)target, (void)request;
    former->first = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        former->left += how[i] != ENDED_BY_COMMAND && how[i] != ENDED_BY_ITSELF;
    answer(former, true, former->left ? why : "");
}

static void end_clients(struct former *former)
{
    struct {
        struct message_end message;
        struct end_session room[WIRE_SESSIONS];
    } end = {.message = {.target = former->probe->message->index, .wait_ms = END_WAIT_MS}};
    former_list_choose(&former->found, &former->all->sockets);
    if (former->found.count == 0) {
        answer(former, true, "");
        return;
    }
    end.message.header.count = (uint16_t)former->found.count;
    memcpy((char *)&end + sizeof end.message, former->found.sessions, former->found.count * sizeof *end.room);
    if (target_end_sessions(former->target, &end.message, clients_ended, former) < 0)
        answer(former, false, "no memory to end them");
}

/* ---- when all have said who is there ---- */

static bool has_pooler(const struct predecessor *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->formers[i].probe->message->kind == TARGET_PGBOUNCER ||
            (all->formers[i].target && target_message(all->formers[i].target)->kind == TARGET_PGBOUNCER))
            return true;
    return false;
}

/* Why nobody can tell a predecessor's sessions there; NULL: they can be told. */
static const char *why_not(const struct former *former, bool pooler)
{
    if (target_unix_path(former->target))
        return "through a unix socket the dead cannot be told from the living";
    if (target_is_translated(former->target) != 0)
        return "addresses change on the way";
    if (!former->all->sockets_seen)
        return no_sockets;
    if (pooler && target_message(former->target)->kind == TARGET_POSTGRES)
        return "a pooler's connections to it carry the same name";
    return NULL;
}

static void go_on(struct predecessor *all)
{
    bool pooler = has_pooler(all);
    look_at_sockets(all);
    for (size_t i = 0; i < all->count; i++) {
        struct former *former = &all->formers[i];
        const char *why = former->target ? why_not(former, pooler) : NULL;
        if (!former->target)
            continue;
        if (why)
            answer(former, false, why);
        else if (target_message(former->target)->kind == TARGET_POSTGRES)
            ask_clock(former);
        else
            end_clients(former);
    }
}

static void asked_one(struct predecessor *all)
{
    if (--all->unasked == 0)
        go_on(all);
}

static void sessions_told(void *context, struct target *target, const struct target_answer *said)
{
    struct former *former = context;
    struct predecessor *all = former->all;
    (void)target;
    if (said->ok)
        former_list_fill(&former->found, said->sessions, said->session_count, name_of(former));
    else
        answer(former, false, said->why);
    asked_one(all);
}

/* ---- beginning and end ---- */

static void begin_one(struct predecessor *all, struct probe *probe)
{
    struct sampler *sampler = all->sampler;
    struct former *former = &all->formers[all->count++];
    *former = (struct former){.all = all, .probe = probe,
                              .target = target_create(sampler->loop, probe->message, sampler->agent_name)};
    ev_timer_init(&former->again, say_again, 0., 0.);
    former->again.data = former;
}

static void ask_one(struct former *former)
{
    if (former->target && target_ask(former->target, ASK_LIMIT_US, false, sessions_told, former) == 0)
        return;
    answer(former, false, "the target cannot be set up");
    former->all->unasked--;
}

void predecessor_begin(struct sampler *sampler, const struct message_predecessor *message)
{
    predecessor_destroy(sampler->predecessor);
    struct predecessor *all = sampler->predecessor = calloc(1, sizeof *all);
    if (!all) {
        log_error("no memory to look for a predecessor");
        return;
    }
    all->sampler = sampler;
    all->message = *message;
    for (size_t i = 0; i < sampler->probe_count; i++)
        begin_one(all, &sampler->probes[i]);
    all->unasked = all->count;
    for (size_t i = 0; i < all->count; i++)
        ask_one(&all->formers[i]);
}

void predecessor_destroy(struct predecessor *predecessor)
{
    if (!predecessor)
        return;
    for (size_t i = 0; i < predecessor->count; i++) {
        ev_timer_stop(predecessor->sampler->loop, &predecessor->formers[i].again);
        target_destroy(predecessor->formers[i].target);
        free(predecessor->formers[i].command);
    }
    socket_table_finish(&predecessor->sockets);
    free(predecessor);
}
