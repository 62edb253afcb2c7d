/* hold against a world: apps, kernels, a network and a server on a virtual clock, at random, with what makes it hard on
 * purpose: ages in jiffies, states that are newer than sockets, writes between a look and its hands, slow backends,
 * apps that pause, pipelines, long writes, notifications, pools, flows that need two connections, corks that run out.
 *
 * When hold says "still" twice, the second time frozen, the world looks whether that is true: no transaction open, no
 * request out, not even a part of one, and no reply that its flow has not read. And it must say so in time. */
#include <stdio.h>

#include "dice.h"
#include "scene.h"

#define JIFFY_US INT64_C(4000)
#define CORK_US INT64_C(200000)
#define LIMIT_US (20 * S)

enum { CONNS = 6, FLOWS = 6, MSS = 32768, BRAKE = 32768, RING = 64, TICK_US = 20 };

struct request {
    uint64_t end;          /* of it, in the stream of all the app writes */
    bool opens;            /* the session is in a transaction after it */
    int64_t work_us;
    uint32_t reply;
};

struct parcel { int64_t at_us; uint64_t total; }; /* the stream is there up to `total` from then on */

struct conn {
    uint64_t written, sent;                /* by the app; by its kernel */
    struct parcel parcels[RING];           /* to the server; the same come back as acknowledgements */
    unsigned parcel_count;
    struct request requests[RING];
    unsigned asked, read, done;            /* requests written, read by the backend, worked off */
    int64_t reads_at_us, ready_at_us;      /* of the backend; 0: not under way */
    bool in_transaction, busy;
    int64_t state_change;
    struct { int64_t at_us; uint32_t bytes; bool reply; } replies[RING]; /* on their way back */
    unsigned said, heard;
    unsigned answered, confirmed;          /* replies that have arrived; that the app has read */
    uint64_t received;
    uint32_t unread, segments;
    int64_t sent_at_us, received_at_us, cork_until_us, wakes_at_us;
    bool corked, braked, used;
};

struct flow {
    int conn, inner;       /* -1: none; `inner`: a query on another one, within the transaction */
    unsigned left;         /* statements until the transaction is over */
    int64_t thinks_until_us;
    bool waits, wants_inner;
    int at;                /* the connection that it waits for */
    unsigned until_confirmed;
    uint64_t start;        /* where its request begins in the stream */
    int64_t wrote_at_us;
};

struct world {
    int64_t now_us, paused_until_us;
    struct conn conns[CONNS];
    struct flow flows[FLOWS];
    unsigned conn_count, flow_count;
    bool loop, pooler, frozen, two, tells_turn;
    int64_t wire_us, work_us, think_us;
    struct hold hold;
    struct handle_row rows[CONNS];
};

static int64_t jiffies_ms(const struct world *w, int64_t since_us)
{
    return (w->now_us / JIFFY_US - since_us / JIFFY_US) * 4;
}

/* -- the kernel ---------------------------------------------------------------------------------------------------- */

static void leave(struct world *w, struct conn *c, uint64_t up_to)
{
    if (up_to <= c->sent)
        return;
    c->segments += (unsigned)((up_to - c->sent + MSS - 1) / MSS);
    c->sent = up_to;
    c->sent_at_us = w->now_us;
    c->parcels[c->parcel_count++ % RING] = (struct parcel){w->now_us + w->wire_us, up_to};
}

static void push(struct world *w, struct conn *c)
{
    uint64_t whole = (c->written - c->sent) / MSS * MSS;
    leave(w, c, c->corked ? c->sent + whole : c->written);
}

/* How much has been there since before `later_us` ago. */
static uint64_t arrived(const struct world *w, const struct conn *c, int64_t later_us)
{
    uint64_t total = 0;
    for (unsigned i = c->parcel_count > RING ? c->parcel_count - RING : 0; i < c->parcel_count; i++)
        if (c->parcels[i % RING].at_us + later_us <= w->now_us)
            total = c->parcels[i % RING].total;
    return total;
}

static void tick_kernel(struct world *w, struct conn *c)
{
    while (c->heard < c->said && c->replies[c->heard % RING].at_us <= w->now_us) {
        c->received += c->replies[c->heard % RING].bytes;
        c->unread += c->replies[c->heard % RING].bytes;
        c->answered += c->replies[c->heard++ % RING].reply;
        c->received_at_us = w->now_us;
    }
    if (c->corked && c->sent < c->written && w->now_us >= c->cork_until_us)
        leave(w, c, c->written);
}

/* -- the server ---------------------------------------------------------------------------------------------------- */

static void say(struct world *w, struct conn *c, uint32_t bytes, bool reply)
{
    int64_t at_us = w->now_us + w->wire_us;
    c->replies[c->said % RING].at_us = at_us;
    c->replies[c->said % RING].bytes = bytes;
    c->replies[c->said++ % RING].reply = reply;
}

static void tick_server(struct world *w, struct conn *c)
{
    if (c->busy && w->now_us >= c->ready_at_us) {
        struct request *r = &c->requests[c->done++ % RING];
        c->busy = false;
        c->in_transaction = r->opens;
        c->state_change = w->now_us;
        say(w, c, r->reply, true);
    }
    bool whole = !c->busy && c->read < c->asked && arrived(w, c, 0) >= c->requests[c->read % RING].end;
    if (!whole) {
        if (!c->busy && !c->in_transaction && dice(100000) == 0)
            say(w, c, 30, false); /* a notification */
        return;
    }
    if (!c->reads_at_us) {
        bool at_once = c->read && c->state_change == w->now_us; /* it lay in the same buffer */
        c->reads_at_us = w->now_us + (at_once || w->pooler ? 0 : dice(50) ? between(20, 100) : between(1000, 7000));
    }
    if (w->now_us < c->reads_at_us)
        return;
    c->reads_at_us = 0;
    c->busy = true;
    c->state_change = w->now_us;
    c->ready_at_us = w->now_us + c->requests[c->read++ % RING].work_us;
}

/* -- the app ------------------------------------------------------------------------------------------------------- */

static void ask(struct world *w, struct flow *f, int conn, bool opens, unsigned count)
{
    struct conn *c = &w->conns[conn];
    f->start = c->written;
    if (c->sent == c->written)
        c->cork_until_us = w->now_us + CORK_US;
    for (unsigned i = 0; i < count; i++) {
        c->written += dice(12) == 0 ? (uint64_t)between(20000, 100000) : (uint64_t)between(20, 300);
        c->requests[c->asked++ % RING] = (struct request){c->written, opens,
                                                          between(50, dice(10) ? w->work_us : 5 * w->work_us),
                                                          (uint32_t)between(10, dice(20) ? 500 : 40000)};
    }
    f->at = conn;
    f->waits = true;
    f->until_confirmed = c->asked;
    f->wrote_at_us = w->now_us;
    push(w, c);
}

static int free_conn(const struct world *w)
{
    unsigned first = dice(w->conn_count);
    for (unsigned i = 0; i < w->conn_count; i++)
        if (!w->conns[(first + i) % w->conn_count].used)
            return (int)((first + i) % w->conn_count);
    return -1;
}

static void think(struct world *w, struct flow *f, int64_t most_us)
{
    f->thinks_until_us = w->now_us + between(0, most_us);
}

static void next_statement(struct world *w, struct flow *f)
{
    int inner = f->wants_inner ? free_conn(w) : -1;
    if (f->left > 1 && inner >= 0) {
        f->wants_inner = false;
        f->inner = inner;
        w->conns[inner].used = true;
        ask(w, f, inner, false, 1);
        return;
    }
    bool pipelines = f->left == 1 && dice(4) == 0 && !w->conns[f->conn].in_transaction;
    f->left--;
    ask(w, f, f->conn, f->left > 0, pipelines ? 2 : 1);
}

static void begin(struct world *w, struct flow *f)
{
    f->conn = free_conn(w);
    if (f->conn < 0) {
        think(w, f, 2000);
        return;
    }
    w->conns[f->conn].used = true;
    f->left = dice(3) ? 1 + dice(4) : 1;
    f->wants_inner = w->two && f->left > 2 && dice(2);
    next_statement(w, f);
}

static void has_replies(struct world *w, struct flow *f)
{
    f->waits = false;
    if (f->at == f->inner) {
        w->conns[f->inner].used = false;
        f->inner = -1;
    } else if (f->left == 0) {
        w->conns[f->conn].used = false;
        f->conn = -1;
    }
    think(w, f, w->think_us);
}

/* Threads read what they wait for, an event loop all that it is woken up for. */
static void tick_reader(struct world *w, struct conn *c, bool somebody_waits)
{
    bool ready = c->unread > 0 && (!c->braked || c->unread >= BRAKE) && (w->loop || somebody_waits);
    if (!ready)
        c->wakes_at_us = 0;
    else if (!c->wakes_at_us)
        c->wakes_at_us = w->now_us + between(10, 150);
    else if (w->now_us >= c->wakes_at_us) {
        c->unread = 0;
        c->confirmed = c->answered;
        c->wakes_at_us = 0;
    }
}

static void tick_app(struct world *w)
{
    bool awaited[CONNS] = {false};
    if (w->frozen || w->now_us < w->paused_until_us)
        return;
    if (dice(20000) == 0)
        w->paused_until_us = w->now_us + between(1000, 180000);
    for (unsigned i = 0; i < w->flow_count; i++)
        awaited[w->flows[i].at] |= w->flows[i].waits;
    for (unsigned i = 0; i < w->conn_count; i++)
        tick_reader(w, &w->conns[i], awaited[i]);
    for (unsigned i = 0; i < w->flow_count; i++) {
        struct flow *f = &w->flows[i];
        if (f->waits && w->conns[f->at].confirmed >= f->until_confirmed)
            has_replies(w, f);
        else if (!f->waits && w->now_us >= f->thinks_until_us && f->conn < 0)
            begin(w, f);
        else if (!f->waits && w->now_us >= f->thinks_until_us)
            next_statement(w, f);
    }
}

static void pass(struct world *w, int64_t us)
{
    for (int64_t end = w->now_us + us; w->now_us < end;) {
        w->now_us += TICK_US;
        tick_app(w);
        for (unsigned i = 0; i < w->conn_count; i++) {
            tick_kernel(w, &w->conns[i]);
            tick_server(w, &w->conns[i]);
        }
    }
}

/* -- lastcall ------------------------------------------------------------------------------------------------------ */

static void look_at_sockets(struct world *w)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        struct conn *c = &w->conns[i];
        struct handle_row *row = &w->rows[i];
        *row = scene_row(i + 1, w->pooler ? PGBOUNCER : POSTGRES);
        row->bytes_sent = c->sent;
        row->bytes_received = c->received;
        row->unread_bytes = c->unread;
        row->unsent_bytes = (uint32_t)(c->written - c->sent);
        row->unacked_bytes = (uint32_t)(c->written - arrived(w, c, w->wire_us));
        row->last_sent_ms = (uint32_t)jiffies_ms(w, c->sent_at_us);
        row->last_received_ms = (uint32_t)jiffies_ms(w, c->received_at_us);
        row->data_segments_out = c->segments;
        row->rtt_us = (uint32_t)(2 * w->wire_us);
        row->timer = row->unsent_bytes ? 4 : 0;
        row->timer_ms = (uint32_t)((c->cork_until_us - w->now_us) / 1000);
        row->epoll = w->loop;
        row->looked_at_us = w->now_us;
    }
}

static void ask_server(struct world *w)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        const struct conn *c = &w->conns[i];
        bool linked = w->pooler && (c->busy || c->in_transaction);
        w->rows[i].state = c->busy || linked ? SESSION_ACTIVE
                           : c->in_transaction ? SESSION_IN_TRANSACTION : SESSION_IDLE;
        w->rows[i].waits_for_client = w->tells_turn ? !c->busy : 255;
        w->rows[i].state_change = w->pooler ? 0 : c->state_change;
        w->rows[i].state_age_us = w->pooler ? -1 : w->now_us - c->state_change;
    }
}

static void read_hints(const struct world *w, struct hold_hint *hints)
{
    bool running = false;
    for (unsigned i = 0; i < w->conn_count; i++) {
        hints[i] = (struct hold_hint){.waited = WAITED_NOT};
        running |= w->conns[i].wakes_at_us != 0;
    }
    for (unsigned i = 0; i < w->flow_count; i++) {
        const struct flow *f = &w->flows[i];
        bool settled = f->waits && w->now_us - f->wrote_at_us > 30;
        running |= f->waits && !settled;
        if (settled && !w->loop && !w->conns[f->at].wakes_at_us)
            hints[f->at] = (struct hold_hint){.waited = WAITED_ALONE, .thread = (int32_t)i + 1};
    }
    for (unsigned i = 0; i < w->conn_count; i++)
        hints[i].running = running;
}

static void obey(struct world *w, const struct hold_order *order)
{
    struct conn *c = &w->conns[order->row];
    struct hold_base base = {.sent = c->sent, .received = c->received, .unsent = (uint32_t)(c->written - c->sent)};
    bool is_new = order->cork && !c->corked;
    c->corked |= order->cork;
    c->braked = order->brake;
    if (is_new || order->step)
        hold_note_base(&w->hold, &w->rows[order->row], &base, order->step);
    if (order->step)
        leave(w, c, c->written);
}

/* A look, a round, its orders. */
static bool look(struct world *w)
{
    struct hold_hint hints[CONNS];
    struct message_target_state targets[2] = {{.target = POSTGRES, .answered = 1},
                                              {.target = PGBOUNCER, .answered = 1}};
    struct facts facts = {.rows = w->rows, .count = w->conn_count, .targets = targets, .target_count = 2,
                          .sockets_seen = 1, .owners_seen = 1};
    int64_t began_us = w->now_us;
    look_at_sockets(w);
    pass(w, w->wire_us + between(100, dice(20) ? 800 : 15000));
    ask_server(w);
    pass(w, w->wire_us + between(40, 400));
    targets[0].answer_us = targets[1].answer_us = w->now_us - began_us;
    read_hints(w, hints);
    bool still = hold_round(&w->hold, &facts, hold_wants_hints(&w->hold) ? hints : NULL, w->frozen, w->now_us);
    for (size_t i = 0; i < w->hold.order_count; i++)
        obey(w, &w->hold.orders[i]);
    return still;
}

static const char *untruth(const struct world *w)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        const struct conn *c = &w->conns[i];
        if (c->busy || c->in_transaction)
            return "a transaction is open";
        if (c->sent < c->written && c->cork_until_us - w->now_us < 40 * MS)
            return "a held write is about to leave";
    }
    for (unsigned i = 0; i < w->flow_count; i++) {
        const struct flow *f = &w->flows[i];
        if (f->waits && w->conns[f->at].sent > f->start)
            return "a request is out, and its flow has no reply";
        if (f->conn >= 0 && !f->waits && w->conns[f->conn].in_transaction)
            return "a flow has a transaction open";
    }
    return NULL;
}

/* What the world knew, and what hold took it for: for whoever has to find out. */
static void dump(const struct world *w)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        const struct conn *c = &w->conns[i];
        printf("conn %u: written %llu, sent %llu, asked %u, read %u, done %u, answered %u, confirmed %u, unread %u, "
               "%s; out %lld, in %lld us ago; %s\n", i, (unsigned long long)c->written, (unsigned long long)c->sent,
               c->asked, c->read, c->done, c->answered, c->confirmed, c->unread,
               c->busy ? "busy" : c->in_transaction ? "in transaction" : "idle",
               (long long)(w->now_us - c->sent_at_us), (long long)(w->now_us - c->received_at_us),
               standing_name((enum standing)w->hold.standings[i]));
    }
    for (unsigned i = 0; i < w->flow_count; i++) {
        const struct flow *f = &w->flows[i];
        if (f->waits)
            printf("flow %u waits on conn %d since %lld us, its request begins at %llu\n", i, f->at,
                   (long long)(w->now_us - f->wrote_at_us), (unsigned long long)f->start);
    }
    fflush(stdout); /* Check ends this process by a signal */
}

static void world_init(struct world *w, unsigned seed)
{
    static const uint8_t kinds[WIRE_TARGETS] = {TARGET_POSTGRES, TARGET_PGBOUNCER};
    static const int64_t wires[] = {20, 20, 100, 1000, 10000};
    dice_state = seed * UINT64_C(2654435761) + 12345;
    *w = (struct world){.now_us = T0, .loop = dice(2), .pooler = dice(3) == 0, .wire_us = wires[dice(5)],
                        .work_us = between(100, 8000), .think_us = between(0, 6000)};
    w->conn_count = 1 + dice(CONNS);
    w->flow_count = 1 + dice(FLOWS);
    w->tells_turn = !w->pooler || dice(2);
    w->two = dice(3) == 0 && w->conn_count > w->flow_count; /* or the app could block itself */
    for (unsigned i = 0; i < w->flow_count; i++)
        w->flows[i] = (struct flow){.conn = -1, .inner = -1};
    pass(w, 50 * MS);
    hold_init(&w->hold, HOLD_MARKS, kinds, 60 * S, w->now_us);
}

static int64_t bring_to_rest(struct world *w, unsigned seed)
{
    int64_t began_us = w->now_us;
    for (;;) {
        ck_assert_msg(w->now_us - began_us < LIMIT_US, "world %u (%s%s, wire %d us): never still: stage %d, %s", seed,
                      w->loop ? "loop" : "threads", w->pooler ? ", pooler" : "", (int)w->wire_us, (int)w->hold.stage,
                      w->hold.why);
        if (!look(w))
            continue;
        w->frozen = true;
        pass(w, MS);
        bool still = look(w);
        if (still)
            break;
        w->frozen = false;
    }
    const char *untrue = untruth(w);
    if (untrue)
        dump(w);
    ck_assert_msg(!untrue, "world %u (%s%s, %u conns, %u flows, wire %d us): %s", seed, w->loop ? "loop" : "threads",
                  w->pooler ? ", pooler" : "", w->conn_count, w->flow_count, (int)w->wire_us, untrue);
    return w->now_us - began_us;
}

enum { WORLDS = 100, BATCHES = 10 };

START_TEST(still_is_true_and_comes)
{
    static int64_t longest;
    for (unsigned seed = (unsigned)_i * WORLDS; seed < (unsigned)(_i + 1) * WORLDS; seed++) {
        static struct world w;
        world_init(&w, seed);
        int64_t took = bring_to_rest(&w, seed);
        longest = took > longest ? took : longest;
        if (getenv("WORLD_TIMES"))
            printf("world %u: %s%s %u/%u wire %d work %d: %d ms\n", seed, w.loop ? "loop" : "threads",
                   w.pooler ? " pooler" : "", w.conn_count, w.flow_count, (int)w.wire_us, (int)w.work_us,
                   (int)(took / MS));
        hold_finish(&w.hold);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hold_world");
    TCase *tcase = tcase_create("worlds");
    tcase_set_timeout(tcase, 50);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, still_is_true_and_comes, 0, BATCHES);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
