/* What the tests of hold share: rows built by hand, rounds on a clock that only they move, and hands that do what was
 * ordered to the rows as the kernel would. */
#ifndef TESTS_UNIT_SCENE_H
#define TESTS_UNIT_SCENE_H

#include <check.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/hold/history.h"
#include "supervisor/hold/hold.h"

#define MS INT64_C(1000)
#define S INT64_C(1000000)
#define T0 (1000 * S)

enum { SCENE_ROWS = 8, POSTGRES = 0, PGBOUNCER = 1, REDIS = 2 }; /* the targets' indices */

struct scene {
    struct hold hold;
    struct facts facts;
    struct handle_row rows[SCENE_ROWS];
    struct hold_hint hints[SCENE_ROWS];
    struct message_target_state targets[3];
    bool blocking[SCENE_ROWS]; /* O_NONBLOCK is off */
    bool no_hints, frozen;
    int64_t now_us;
};

static inline struct handle_row scene_row(uint64_t inode, unsigned target)
{
    struct handle_row row = {.inode = inode, .pid = 100, .fd = (int32_t)inode, .target = (uint16_t)target,
                             .known_by = KNOWN_EXACT, .state = SESSION_IDLE, .tcp_state = TCP_ESTABLISHED,
                             .has_info = 1, .holders = 1, .bytes_sent = 1000, .bytes_received = 5000,
                             .last_sent_ms = 40, .last_received_ms = 36, .rtt_us = 100, .data_segments_out = 10,
                             .data_segments_in = 10, .state_age_us = 40 * MS, .transaction_age_us = -1, .epoll = 0,
                             .waits_for_client = 255};
    row.local = (struct endpoint){.address = {127, 0, 0, 1}, .port = (uint16_t)(40000 + inode),
                                  .family = ENDPOINT_INET};
    row.state_change = target == POSTGRES ? 7000 : 0;
    return row;
}

/* `count` idle handles of `target`, answered without doubt, to which the tests do what they like. */
static inline void scene_init(struct scene *scene, enum hold_way way, unsigned count, unsigned target)
{
    static const uint8_t kinds[WIRE_TARGETS] = {TARGET_POSTGRES, TARGET_PGBOUNCER, TARGET_REDIS};
    *scene = (struct scene){.now_us = T0};
    hold_init(&scene->hold, way, kinds, 60 * S, T0);
    for (unsigned i = 0; i < 3; i++)
        scene->targets[i] = (struct message_target_state){.target = (uint16_t)i, .up = TARGET_UP, .answered = 1,
                                                          .answer_us = 500};
    for (unsigned i = 0; i < count; i++) {
        scene->rows[i] = scene_row(i + 1, target);
        scene->hints[i].waited = WAITED_NOT;
    }
    scene->facts = (struct facts){.look = 1, .rows = scene->rows, .count = count, .targets = scene->targets,
                                  .target_count = 3, .sockets_seen = 1, .owners_seen = 1};
}

static inline void scene_finish(struct scene *scene)
{
    hold_finish(&scene->hold);
}

static inline struct hold_handle *scene_handle(struct scene *scene, unsigned i)
{
    return history_find(&scene->hold, &scene->rows[i], i);
}

static inline const struct hold_order *scene_order(const struct scene *scene, unsigned i)
{
    for (size_t k = 0; k < scene->hold.order_count; k++)
        if (scene->hold.orders[k].row == i)
            return &scene->hold.orders[k];
    return NULL;
}

/* One round, `after_us` after the last one. */
static inline bool scene_round(struct scene *scene, int64_t after_us)
{
    scene->now_us += after_us;
    for (size_t i = 0; i < scene->facts.count; i++)
        scene->rows[i].looked_at_us = scene->now_us - 500;
    return hold_round(&scene->hold, &scene->facts, scene->no_hints ? NULL : scene->hints, scene->frozen, scene->now_us);
}

static inline enum standing scene_standing(const struct scene *scene, unsigned i)
{
    return (enum standing)scene->hold.standings[i];
}

/* The hands: a cork that is new is noted, a step sends what is queued. */
static inline void scene_hands(struct scene *scene)
{
    for (size_t k = 0; k < scene->hold.order_count; k++) {
        const struct hold_order *order = &scene->hold.orders[k];
        struct handle_row *row = &scene->rows[order->row];
        struct hold_base base = {.sent = row->bytes_sent, .received = row->bytes_received, .unsent = row->unsent_bytes,
                                 .blocking = scene->blocking[order->row]};
        struct hold_handle *handle = scene_handle(scene, (unsigned)order->row);
        if (order->step || !handle->has_base)
            hold_note_base(&scene->hold, row, &base, order->step);
        if (!order->step)
            continue;
        row->bytes_sent += row->unsent_bytes;
        row->data_segments_out += row->unsent_bytes > 0;
        row->unacked_bytes -= row->unsent_bytes;
        row->unsent_bytes = 0;
        row->last_sent_ms = 0;
        row->last_received_ms += 4;
    }
}

static inline void scene_writes(struct scene *scene, unsigned i, uint32_t bytes)
{
    scene->rows[i].unsent_bytes += bytes;
    scene->rows[i].unacked_bytes += bytes;
    scene->rows[i].timer = 4;
    scene->rows[i].timer_ms = 196;
}

/* What is queued leaves without a step: the app's full segments, or a cork that ran out. */
static inline void scene_leaves(struct scene *scene, unsigned i, uint32_t bytes)
{
    scene->rows[i].unsent_bytes -= bytes;
    scene->rows[i].unacked_bytes -= bytes; /* acknowledged at once */
    scene->rows[i].bytes_sent += bytes;
    scene->rows[i].data_segments_out++;
    scene->rows[i].last_sent_ms = 0;
    scene->rows[i].last_received_ms += 4;
}

static inline void scene_reply_comes(struct scene *scene, unsigned i, uint32_t bytes)
{
    struct handle_row *row = &scene->rows[i];
    row->unread_bytes += bytes;
    row->bytes_received += bytes;
    row->data_segments_in++;
    row->last_sent_ms += 4;
    row->last_received_ms = 0;
    if (row->state_change)
        row->state_change += 10;
    row->state = SESSION_IDLE;
}

/* Nobody asked for it: the session stands as it stood. */
static inline void scene_notifies(struct scene *scene, unsigned i, uint32_t bytes)
{
    struct handle_row *row = &scene->rows[i];
    row->unread_bytes += bytes;
    row->bytes_received += bytes;
    row->last_sent_ms += 4;
    row->last_received_ms = 0;
}

static inline void scene_reads(struct scene *scene, unsigned i)
{
    scene->rows[i].unread_bytes = 0;
}

/* Rounds with hands, `each_us` apart, until the stage is reached; at most 200. */
static inline void scene_until(struct scene *scene, enum hold_stage stage, int64_t each_us)
{
    for (unsigned n = 0; scene->hold.stage != stage; n++) {
        ck_assert_msg(n < 200, "stage %d is not reached: %s", stage, scene->hold.why);
        scene_round(scene, each_us);
        scene_hands(scene);
    }
}

#define ck_standing(scene, i, expected)                                                                                \
    ck_assert_msg(scene_standing(scene, i) == (expected), "row %u: %s, expected %s", (unsigned)(i),                    \
                  standing_name(scene_standing(scene, i)), standing_name(expected))

#endif
