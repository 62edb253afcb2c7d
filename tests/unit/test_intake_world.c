/* The intake against a world: clients, a network, kernels and an app on a virtual clock, at random, with what makes it
 * hard on purpose: ages in ticks, acknowledgements that come late or with the next request, requests and answers in two
 * parts, queues that are told as they were before the rest, and hands that come later than the look, or so late that a
 * quick app has answered several times meanwhile.
 *
 * Whenever a connection is ended, the world looks whether anything was in progress on it; whenever a request is
 * answered 503, whether the app had answered all before. And it must run dry in time. */
#include <check.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "dice.h"
#include "supervisor/intake/intake.h"

#define TICK_US INT64_C(20)
#define JIFFY_US INT64_C(4000)
#define LIMIT_US INT64_C(3000000)
enum { CONNS = 10, TESTS = 50, WORLDS_A_TEST = 60, REQUEST = 100, ANSWER = 200, NEVER = -1 };

struct conn {
    /* the client: what it does next, and when */
    enum { THINKS, SENDS_REST, WAITS, GONE } client;
    int64_t at_us;
    unsigned asked, heard;         /* bytes: sent by it; read by it */
    bool in_parts, late_ack;
    /* on their way */
    struct { int64_t at_us; unsigned bytes; } in[4], out[4];
    unsigned in_count, out_count;
    int64_t end_at_us, ack_at_us;  /* NEVER */
    /* the app's kernel */
    unsigned received, unread, sent, acked;
    unsigned unread_before;        /* a moment ago: the kernel reads the queues before the rest */
    int64_t received_at_us, sent_at_us, acked_at_us;
    bool kept, muted, ended;
    /* the app */
    unsigned taken;
    int64_t answers_at_us, rest_at_us; /* NEVER */
    unsigned refused;              /* bytes of requests answered 503 */
};

struct world {
    int64_t now_us, wire_us, think_least_us, think_most_us, work_us, hands_least_us, hands_most_us;
    uint32_t lazy; /* how long the app lets it lie */
    struct conn conns[CONNS];
    unsigned conn_count;
    struct intake intake;
    union {
        struct message_inbound inbound;
        unsigned char room[sizeof(struct message_inbound) + CONNS * sizeof(struct inbound_row)];
    } packet;
    struct { int64_t at_us; struct intake_order order; } hands[4 * CONNS];
    unsigned hand_count;
};

/* -- the client and the network ------------------------------------------------------------------------------------ */

static void client_sends(struct world *w, struct conn *c, unsigned bytes)
{
    c->asked += bytes;
    c->in[c->in_count].at_us = w->now_us + w->wire_us;
    c->in[c->in_count++].bytes = bytes;
}

static void client_lives(struct world *w, struct conn *c)
{
    if (c->end_at_us != NEVER && w->now_us >= c->end_at_us)
        c->client = GONE; /* it sees the end, and opens another connection elsewhere */
    if (c->client == GONE || c->client == WAITS || w->now_us < c->at_us)
        return;
    bool first = c->client == THINKS, parts = first && c->in_parts && dice(2);
    client_sends(w, c, parts ? REQUEST / 2 : first ? REQUEST : REQUEST / 2);
    c->client = parts ? SENDS_REST : WAITS;
    c->at_us = w->now_us + between(0, 1500);
}

static void client_hears(struct world *w, struct conn *c, unsigned bytes)
{
    c->heard += bytes;
    c->ack_at_us = w->now_us + w->wire_us + (c->late_ack ? 40000 : 0);
    if (c->heard / ANSWER * REQUEST < c->asked)
        return;
    c->client = THINKS;
    c->at_us = w->now_us + between(w->think_least_us, w->think_most_us);
}

static void arrives(struct world *w, struct conn *c, unsigned bytes)
{
    if (c->muted || c->ended)
        return; /* it is dropped: nobody has seen it */
    c->received += bytes;
    c->unread += bytes;
    c->received_at_us = w->now_us;
    if (c->heard > c->acked) {
        c->acked = c->heard; /* the request acknowledges what its client has read */
        c->acked_at_us = w->now_us;
    }
}

static void network_runs(struct world *w, struct conn *c)
{
    for (; c->in_count && c->in[0].at_us <= w->now_us; memmove(c->in, c->in + 1, --c->in_count * sizeof *c->in))
        arrives(w, c, c->in[0].bytes);
    for (; c->out_count && c->out[0].at_us <= w->now_us; memmove(c->out, c->out + 1, --c->out_count * sizeof *c->out))
        client_hears(w, c, c->out[0].bytes);
    if (c->ack_at_us == NEVER || w->now_us < c->ack_at_us)
        return;
    c->ack_at_us = NEVER;
    if (c->acked < c->heard)
        c->acked_at_us = w->now_us;
    c->acked = c->heard;
}

/* -- the app ------------------------------------------------------------------------------------------------------- */

static void app_sends(struct world *w, struct conn *c, unsigned bytes)
{
    c->sent += bytes;
    c->sent_at_us = w->now_us;
    c->out[c->out_count].at_us = w->now_us + w->wire_us;
    c->out[c->out_count++].bytes = bytes;
}

static void app_lives(struct world *w, struct conn *c)
{
    if (c->rest_at_us != NEVER && w->now_us >= c->rest_at_us) {
        app_sends(w, c, ANSWER / 2);
        c->rest_at_us = NEVER;
    }
    if (c->answers_at_us != NEVER && w->now_us >= c->answers_at_us) {
        bool parts = c->in_parts && dice(2);
        app_sends(w, c, parts ? ANSWER / 2 : ANSWER);
        c->rest_at_us = parts ? w->now_us + between(0, 3000) : NEVER;
        c->answers_at_us = NEVER;
    }
    if (c->unread && !c->kept && !c->ended && dice(w->lazy) == 0) {
        c->taken += c->unread;
        c->unread = 0;
        if (c->taken % REQUEST == 0)
            c->answers_at_us = w->now_us + between(100, w->work_us);
    }
}

/* Everything that the app has got is answered, in whole. */
static bool is_answered(const struct conn *c)
{
    return c->taken / REQUEST * ANSWER == c->sent && c->taken % REQUEST == 0;
}

/* -- the look and the hands ---------------------------------------------------------------------------------------- */

static uint32_t age(const struct world *w, int64_t since_us)
{
    return (uint32_t)((w->now_us / JIFFY_US - since_us / JIFFY_US) * JIFFY_US / 1000);
}

static struct inbound_row row_of(const struct world *w, const struct conn *c)
{
    return (struct inbound_row){
        .inode = 100 + (uint64_t)(c - w->conns), .port = 80, .tcp_state = TCP_ESTABLISHED, .has_info = 1,
        .unread_bytes = dice(2) ? c->unread : c->unread_before,
        .bytes_received = c->received, .bytes_sent = c->sent, .unacked_segments = c->sent - c->acked,
        .last_sent_ms = age(w, c->sent_at_us), .last_received_ms = age(w, c->received_at_us),
        .last_ack_ms = age(w, c->acked_at_us)};
}

static bool look(struct world *w)
{
    struct message_inbound *inbound = &w->packet.inbound;
    *inbound = (struct message_inbound){.sockets_seen = 1, .owners_seen = 1};
    inbound->rows[inbound->header.count++] = (struct inbound_row){.inode = 1, .tcp_state = TCP_LISTEN, .port = 80};
    for (unsigned i = 0; i < w->conn_count; i++) {
        const struct conn *c = &w->conns[i];
        if (!c->ended)
            inbound->rows[inbound->header.count++] = row_of(w, c);
    }
    bool dry = intake_round(&w->intake, inbound, w->now_us);
    for (size_t i = 0; i < w->intake.order_count; i++) {
        w->hands[w->hand_count].at_us = w->now_us + between(w->hands_least_us, w->hands_most_us);
        w->hands[w->hand_count++].order = w->intake.orders[i];
    }
    return dry;
}

static bool is_unmoved(const struct conn *c, const struct inbound_row *row)
{
    return c->received == row->bytes_received && c->sent == row->bytes_sent && c->unread == row->unread_bytes;
}

static enum intake_outcome end(struct world *w, struct conn *c, const struct inbound_row *row, bool answer)
{
    if (!is_unmoved(c, row))
        return INTAKE_FAILED;
    ck_assert_msg(is_answered(c), "%u of %u bytes answered when it was ended", c->sent / ANSWER * REQUEST, c->taken);
    ck_assert_msg(answer || c->unread == 0, "a request lay unread");
    if (answer)
        c->refused += c->unread;
    c->unread = 0;
    c->muted = c->ended = true;
    c->end_at_us = w->now_us + w->wire_us;
    return INTAKE_DONE;
}

static enum intake_outcome do_order(struct world *w, const struct inbound_row *row, enum intake_doing doing)
{
    struct conn *c = row->tcp_state == TCP_LISTEN ? NULL : &w->conns[row->inode - 100];
    if (!c)
        return INTAKE_DONE;
    if (c->ended)
        return INTAKE_FAILED;
    if (doing == INTAKE_CLOSE || doing == INTAKE_ANSWER)
        return end(w, c, row, doing == INTAKE_ANSWER);
    ck_assert(doing == INTAKE_KEEP || doing == INTAKE_PUT_BACK);
    c->kept = doing == INTAKE_KEEP;
    if (c->kept) {
        struct inbound_row found = row_of(w, c);
        intake_see(&w->intake, &found, w->now_us);
    }
    return INTAKE_DONE;
}

static void hands_move(struct world *w)
{
    unsigned left = 0;
    for (unsigned i = 0; i < w->hand_count; i++) {
        const struct intake_order *order = &w->hands[i].order;
        const struct inbound_row *row = &w->packet.inbound.rows[order->row];
        if (w->hands[i].at_us > w->now_us)
            w->hands[left++] = w->hands[i];
        else
            intake_note(&w->intake, row, order->doing, do_order(w, row, order->doing));
    }
    w->hand_count = left;
}

/* -- a world ------------------------------------------------------------------------------------------------------- */

static void make(struct world *w, uint64_t seed)
{
    struct intake_settings settings = {.idle_us = 12000};
    dice_state = seed;
    *w = (struct world){.now_us = 1000000 + between(0, JIFFY_US), .wire_us = between(20, 2000),
                        .work_us = between(200, 20000), .conn_count = (unsigned)between(1, CONNS - 1)};
    w->hands_most_us = 1500;
    w->lazy = 20;
    if (dice(4) == 0) /* several requests are answered before the hands come */
        w->wire_us = between(20, 60), w->work_us = 400, w->lazy = 2, w->hands_least_us = 4000,
        w->hands_most_us = 8000;
    else if (dice(2))
        w->think_least_us = 10000, w->think_most_us = 20000;
    for (unsigned i = 0; i < w->conn_count; i++)
        w->conns[i] = (struct conn){.at_us = w->now_us + between(0, 20000), .end_at_us = NEVER, .ack_at_us = NEVER,
                                    .answers_at_us = NEVER, .rest_at_us = NEVER, .in_parts = dice(3) == 0,
                                    .late_ack = dice(2), .received_at_us = w->now_us, .sent_at_us = w->now_us,
                                    .acked_at_us = w->now_us};
    intake_init(&w->intake, &settings, w->now_us);
}

static void live(struct world *w)
{
    w->now_us += TICK_US;
    for (unsigned i = 0; i < w->conn_count; i++) {
        w->conns[i].unread_before = w->conns[i].unread;
        network_runs(w, &w->conns[i]);
        client_lives(w, &w->conns[i]);
        app_lives(w, &w->conns[i]);
    }
    hands_move(w);
}

/* Each request that has reached the app's kernel was answered by the app, or 503. */
static void check_end(const struct world *w, uint64_t seed)
{
    for (unsigned i = 0; i < w->conn_count; i++) {
        const struct conn *c = &w->conns[i];
        ck_assert_msg(is_answered(c) && c->unread == 0 && c->received == c->taken + c->refused,
                      "world %llu, connection %u: %u received, %u taken, %u refused, %u sent", (unsigned long long)seed,
                      i, c->received, c->taken, c->refused, c->sent);
    }
}

static void play(uint64_t seed)
{
    static struct world w;
    int64_t look_at_us;
    bool dry = false;
    make(&w, seed);
    for (int64_t until_us = w.now_us + between(0, 100000); w.now_us < until_us;)
        live(&w);
    w.intake.began_us = look_at_us = w.now_us; /* the stop begins in the middle of it */
    while (!dry && w.now_us - w.intake.began_us < LIMIT_US) {
        live(&w);
        if (w.hand_count)
            look_at_us = w.now_us + between(1000, 6000); /* the next one begins when the hands are done */
        if (w.now_us < look_at_us)
            continue;
        dry = look(&w);
        look_at_us = w.now_us + between(1000, 6000);
    }
    ck_assert_msg(dry, "world %llu is not dry", (unsigned long long)seed);
    check_end(&w, seed);
    intake_finish(&w.intake);
}

START_TEST(nothing_is_cut)
{
    for (unsigned i = 0; i < WORLDS_A_TEST; i++)
        play((uint64_t)_i * WORLDS_A_TEST + i + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("intake_world");
    TCase *tcase = tcase_create("worlds");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, nothing_is_cut, 0, TESTS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
