/* What the parts of the sampler share: sampler.c (when), sampler_question.c (what is looked for), sampler_answer.c
 * (what goes out), predecessor.c (what is not the app's any more). Nobody else includes this. */
#ifndef AGENT_SAMPLER_STATE_H
#define AGENT_SAMPLER_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger/hidden.h"
#include "agent/ledger/pairs.h"
#include "agent/ledger/ledger.h"
#include "agent/sampler.h"
#include "agent/sockets/inbound.h"
#include "agent/sockets/sockets.h"
#include "agent/targets/target.h"

struct probe {
    struct sampler *sampler;
    struct target *target;        /* NULL: could not be made */
    struct message_target *message; /* heap */
    char why_not[64];             /* target is NULL: why */
    uint32_t under_way;           /* the round it was asked in; 0: not asked */
    bool pending;                 /* this round still waits for it */
    bool answered;                /* in this round: `answer` is valid */
    bool dead;                    /* was down, or unreachable for a whole round, and has not been up since */
    struct target_answer answer;
    struct hidden hidden;         /* as of the last answer */
    struct pairs *pairs;          /* what moved together so far; NULL: no memory for it */
    int64_t asked_at_us;          /* in this round; -1 */
};

struct round {
    uint32_t number;              /* never 0; tells rounds apart, also samples */
    uint32_t look;                /* as the supervisor named it; 0: a sample */
    bool runs, want_text, with_own, whole;
    enum look_inbound want_inbound;
    int64_t began_us, patience_us, deadline_us;
    struct sockets_answer sockets;
    int16_t path_of[WIRE_TARGETS]; /* each target's index among the looked-at paths; -1 */
};

struct sampler {
    struct ev_loop *loop;
    struct message_settings settings;
    char agent_name[80];
    sampler_send_fn *send;
    void *context;
    struct sockets *sockets;
    struct inbound *inbound;
    struct probe probes[WIRE_TARGETS];
    size_t probe_count;
    struct round round;
    ev_timer deadline, interval;
    struct predecessor *predecessor; /* NULL: was never asked for */
};

/* The port as configured, or its kind's own. */
uint16_t probe_port(const struct probe *probe);
/* Where the target is; returns how many. */
size_t probe_addresses(const struct probe *probe, struct endpoint addresses[LEDGER_ADDRESSES]);

/* Looks at the sockets of all targets, for the round that has just begun. */
void sampler_look_at_sockets(struct sampler *sampler);
/* Looks at the app's listening sockets and the connections to them, and sends INBOUND. */
void sampler_send_inbound(struct sampler *sampler);
/* Closes a look that was at those alone: ROWS without rows. */
void sampler_send_alone(struct sampler *sampler);
/* Joins what was seen and answered, and sends TARGET_STATE and ROWS. */
void sampler_send_answer(struct sampler *sampler);

#endif
