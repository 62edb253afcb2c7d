/* Looks: what the agent's facts become, or its loss: the rows that are kept, the hold's next round, an event.
 *
 * Only what the lifecycle waits for is posted; a look that comes late, or was asked before the app was frozen, counts
 * for the record and for nothing else. Touches no socket and no process of the app: looks_hands.c does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/handles/waits.h"
#include "supervisor/state.h"

#define PROGRESS_US US_PER_SECOND

/* A postgres target may turn out to be a pooler: what is done with its handles depends on it. */
static void learn_kinds(struct supervisor *s, const struct facts *facts)
{
    for (size_t i = 0; i < facts->target_count; i++) {
        const struct message_target_state *target = &facts->targets[i];
        s->answered[target->target] = target->answered;
        s->translated[target->target] |= target->translated;
        if (!target->kind)
            continue;
        s->kinds[target->target] = target->kind;
        s->hold.kinds[target->target] = target->kind;
        s->record.targets[target->target].kind = (enum target_kind)target->kind;
    }
}

int looks_server_of(const struct supervisor *s, unsigned target)
{
    return s->kinds[target] == TARGET_PGBOUNCER ? s->config->targets[target].server : -1;
}

static void keep_rows(struct supervisor *s, const struct facts *facts)
{
    struct last_look *last = &s->last;
    if (facts->received_at_us - facts->took_us < s->app_started_us)
        return; /* it began before this life of the app did */
    if (facts->count > last->room) {
        struct handle_row *rows = realloc(last->rows, facts->count * sizeof *rows);
        if (!rows)
            return;
        last->rows = rows;
        last->room = facts->count;
    }
    if (facts->count)
        memcpy(last->rows, facts->rows, facts->count * sizeof *facts->rows);
    last->count = facts->count;
    last->at_us = facts->received_at_us;
    last->seen = facts->sockets_seen && facts->owners_seen;
    last->frozen = s->lifecycle.phase == PHASE_LOOKING && s->freeze.on;
}

static const struct hold_hint *read_hints(struct supervisor *s, const struct facts *facts)
{
    if (!hold_wants_hints(&s->hold) || facts->count == 0)
        return NULL;
    if (facts->count > s->hint_room) {
        struct hold_hint *hints = realloc(s->hints, facts->count * sizeof *hints);
        if (!hints)
            return NULL;
        s->hints = hints;
        s->hint_room = facts->count;
    }
    waits_read(facts->rows, facts->count, s->hints);
    return s->hints;
}

static void say_progress(struct supervisor *s, int64_t now_us)
{
    struct control_state state;
    char text[192];
    if (now_us - s->progress_at_us < PROGRESS_US)
        return;
    s->progress_at_us = now_us;
    supervisor_state(s, &state);
    snprintf(text, sizeof text, "%u of %u connections in flight%s%s", s->hold.counted.by_standing[STANDING_IN_FLIGHT],
             s->hold.counted.handles, s->hold.why[0] ? "; " : "", s->hold.why);
    log_info("%s: %s", phase_public_name(s->lifecycle.phase), text);
    control_server_progress(s->control, &state, text);
    notify_status(s->notify, text);
}

static bool is_awaited(const struct supervisor *s, const struct facts *facts)
{
    return s->looking && facts->look == s->look &&
           (s->lifecycle.phase != PHASE_LOOKING || facts->look >= s->look_frozen);
}

static void round_of(struct supervisor *s, const struct facts *facts)
{
    int64_t now_us = clock_now_us();
    bool frozen = s->lifecycle.phase == PHASE_LOOKING;
    s->hold.resting = s->lifecycle.drain_only;
    if (facts->inbound && s->lifecycle.phase != PHASE_DRAINING)
        intakes_facts(s, facts->inbound);
    bool still = hold_round(&s->hold, facts, read_hints(s, facts), frozen, now_us) && s->look_whole;
    still = still && (frozen || intakes_are_quiet(s));
    if (s->hold.standing_room < facts->count)
        return;
    looks_record(s, facts, now_us);
    looks_use_hands(s, facts, now_us);
    if (s->lifecycle.phase == PHASE_HOLDING)
        say_progress(s, now_us);
    if (s->lifecycle.phase == PHASE_HOLDING || frozen)
        supervisor_post(s, still ? EVENT_STILL : EVENT_MOVING);
}

/* The intake's own pace: at most half of the time goes into looking. */
static void alone_facts(struct supervisor *s, const struct facts *facts)
{
    if (facts->look != s->look)
        return;
    s->look_asked = false;
    if (s->looking && facts->inbound)
        intakes_facts(s, facts->inbound);
    if (!s->look_asked)
        looks_later(s, (double)facts->took_us / US_PER_SECOND);
}

void looks_facts(void *supervisor, const struct facts *facts)
{
    struct supervisor *s = supervisor;
    if (facts->alone) {
        alone_facts(s, facts);
        return;
    }
    learn_kinds(s, facts);
    keep_rows(s, facts);
    if (facts->look == s->look)
        s->look_asked = false;
    if (s->lifecycle.phase == PHASE_SWEEPING && facts->look == s->look)
        sweep_facts(s, facts);
    if (!is_awaited(s, facts))
        return;
    round_of(s, facts);
    if (facts->inbound && s->lifecycle.phase == PHASE_DRAINING)
        intakes_facts(s, facts->inbound);
    log_debug("look %u: agent %lld us, in all %lld us; stage %d, %u of %u in flight, %u parked, %u held; %s",
              facts->look, (long long)facts->took_us, (long long)(clock_now_us() - s->look_asked_at_us),
              (int)s->hold.stage, s->hold.counted.by_standing[STANDING_IN_FLIGHT], s->hold.counted.handles,
              s->hold.counted.by_standing[STANDING_PARKED], s->hold.counted.by_standing[STANDING_HELD], s->hold.why);
    looks_later(s, 0);
}

/* What a process that ends has held must stay held: without the cork its end would send it. */
static bool is_ending(const struct supervisor *s)
{
    return s->lifecycle.phase == PHASE_KILLING || (s->lifecycle.phase == PHASE_SIGNALLED && s->lifecycle.ends_at_once);
}

void looks_agent_lost(void *supervisor, enum agent_loss loss, const char *why)
{
    struct supervisor *s = supervisor;
    s->look_asked = false;
    if (s->lifecycle.phase != PHASE_RUNNING && s->lifecycle.phase < PHASE_WAITING)
        record_unknown(&s->record, "what happened while there was no agent", "%s", why);
    if (loss == AGENT_NOT_THERE)
        record_unknown(&s->record, "the connections of the app", "lastcall-agent could not be started");
    if (!is_ending(s))
        looks_unmark(s);
    hold_restart(&s->hold);
    sweep_agent_lost(s);
    supervisor_post(s, EVENT_AGENT_LOST);
}
