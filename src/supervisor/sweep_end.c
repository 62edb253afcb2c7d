/* Endings: what a goodbye cannot end, the server is told to end, by way of the agent; and what its answers mean.
 *
 * An answer that does not come is no success: the handle is asked for again, or is said to be still there. */
#include <stdio.h>

#include "common/clock.h"
#include "common/text.h"
#include "supervisor/state.h"

enum { LINGER_MS = 250, WAIT_MS = 1500, LINGER_EARLY_MS = 50, WAIT_EARLY_MS = 80 };

/* A pooler that works for a client is not told: its backend is, by the server behind it. */
static bool ends_behind_pooler(const struct supervisor *s, const struct recorded_handle *handle)
{
    /* A sample is too old to tell: by now the backend may work for another client. */
    return s->record.is_stop && handle->last.server_session && looks_server_of(s, handle->last.target) >= 0;
}

static unsigned end_target_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    int server = looks_server_of(s, handle->last.target);
    return ends_behind_pooler(s, handle) ? (unsigned)server : handle->last.target;
}

static struct end_session end_session_of(const struct supervisor *s, const struct recorded_handle *handle)
{
    if (ends_behind_pooler(s, handle))
        return (struct end_session){.session = handle->last.server_session};
    return (struct end_session){handle->last.session, handle->last.session_start};
}

/* One of several that bear the app's name may be another one's, or another instance's. */
static bool can_be_ended(const struct supervisor *s, const struct recorded_handle *handle)
{
    bool certain = handle->last.known_by == KNOWN_EXACT || handle->last.told_apart == 1;
    return certain && end_session_of(s, handle).session != 0;
}

static unsigned collect(struct supervisor *s, unsigned target, bool lingering, struct end_session *sessions,
                        unsigned *who)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->sweep.count && count < WIRE_SESSIONS; i++) {
        struct recorded_handle *handle = &s->record.handles[i];
        const struct farewell_of *farewell = &s->sweep.list[i];
        bool lingers = farewell->early ? farewell->at_work : farewell->was_said || !sweep_duplicate_of(s, handle);
        if (s->sweep.list[i].step != FAREWELL_TO_END || end_target_of(s, handle) != target || lingers != lingering ||
            !can_be_ended(s, handle))
            continue;
        sessions[count] = end_session_of(s, handle);
        who[count++] = i;
    }
    return count;
}

/* A session whose app is gone may be ending by itself: it has a moment before it is told to. One whose app is frozen
 * may be at work: it has a shorter one, and is told only once it waits for the app again. */
static void ask_to_end(struct supervisor *s, unsigned target, bool lingering, int64_t now_us)
{
    struct end_session sessions[WIRE_SESSIONS];
    unsigned who[WIRE_SESSIONS];
    unsigned count = collect(s, target, lingering, sessions, who);
    bool early = s->lifecycle.phase == PHASE_ENDING;
    unsigned linger_ms = !lingering ? 0 : early ? LINGER_EARLY_MS : LINGER_MS;
    struct agent_end end = {.request = s->sweep.request + 1, .target = target, .only_if_still_there = lingering,
                            .spare_busy = lingering && early, .linger_ms = linger_ms,
                            .wait_ms = lingering && early ? WAIT_EARLY_MS : WAIT_MS, .sessions = sessions,
                            .count = count};
    if (count == 0 || agent_keeper_end(s->keeper, &end) < 0)
        return;
    s->sweep.request++;
    for (unsigned k = 0; k < count; k++) {
        farewell_step(s, who[k], FAREWELL_ASKED, now_us);
        s->sweep.list[who[k]].request = end.request;
    }
}

static void ask_all(struct supervisor *s, int64_t now_us)
{
    if (!s->keeper || !agent_keeper_is_up(s->keeper))
        return;
    for (unsigned target = 0; target < s->config->target_count; target++) {
        ask_to_end(s, target, false, now_us);
        ask_to_end(s, target, true, now_us);
    }
}

/* Nobody can be told to end it, and nobody can say how it ended: the kernel has closed it when the app ended. */
static void give_up_unknowable(struct supervisor *s, int64_t now_us)
{
    for (unsigned i = 0; i < s->sweep.count; i++) {
        struct recorded_handle *handle = &s->record.handles[i];
        if (s->sweep.list[i].step != FAREWELL_TO_END || can_be_ended(s, handle))
            continue;
        struct adopted *adopted = sweep_duplicate_of(s, handle);
        snprintf(handle->note, sizeof handle->note, "its session is not known");
        if (adopted && adopted->fd >= 0) /* what is held must not leave: a start-up's end would make a session yet */
            (void)(adopted_is_held_back(adopted) ? socket_discard(adopted->fd) : socket_end_stream(adopted->fd));
        farewell_end(s, i, s->sweep.list[i].was_said ? OUTCOME_HANDED_BACK : OUTCOME_CLOSED_UNSEEN, now_us);
    }
}

void sweep_ask_to_end(struct supervisor *s, int64_t now_us)
{
    ask_all(s, now_us);
    give_up_unknowable(s, now_us);
}

static enum outcome outcome_of(const struct farewell_of *farewell, enum ended_how how, bool had_duplicate)
{
    if (how == ENDED_BY_ITSELF && farewell->early)
        return OUTCOME_ENDED_BY_SERVER; /* a frozen app closes nothing */
    if (how == ENDED_BY_COMMAND)
        return had_duplicate || farewell->early ? OUTCOME_ENDED_BY_COMMAND : OUTCOME_ORPHAN_ENDED;
    if (how == ENDED_BY_ITSELF)
        return farewell->was_said ? OUTCOME_HANDED_BACK
               : had_duplicate    ? OUTCOME_CLOSED_BY_APP /* our duplicate kept it open: only a goodbye ends it */
                                  : OUTCOME_CLOSED_UNSEEN;
    return OUTCOME_STILL_THERE;
}

/* PgBouncer and Redis may refuse the command; the end of stream still reaches them, and ends the session. */
static void end_refused(struct supervisor *s, unsigned i, const char *why, int64_t now_us)
{
    struct recorded_handle *handle = &s->record.handles[i];
    struct adopted *adopted = sweep_duplicate_of(s, handle);
    bool pooler = sweep_kind_of(s, handle) != TARGET_POSTGRES && !sweep_has_transaction(&handle->last);
    text_copy(handle->note, sizeof handle->note, why);
    if (adopted && adopted->fd >= 0 && socket_end_stream(adopted->fd) == 0 && pooler) {
        farewell_end(s, i, OUTCOME_HANDED_BACK, now_us);
        return;
    }
    farewell_end(s, i, OUTCOME_STILL_THERE, now_us);
}

/* Not ended before the signal: what becomes of it is seen afterwards. */
static void end_later(struct supervisor *s, unsigned i, const char *why, int64_t now_us)
{
    text_copy(s->record.handles[i].note, sizeof s->record.handles[i].note, why);
    s->sweep.list[i].early = false;
    farewell_step(s, i, s->sweep.begun ? FAREWELL_TO_END : FAREWELL_OVER, now_us);
}

/* Right before it was told it was seen once more: its transaction may have been over by then, or have begun. */
static enum ended_how take_last_state(struct recorded_handle *handle, enum ended_how how)
{
    if (how == ENDED_WHEN_IDLE)
        handle->last.state = SESSION_IDLE;
    else if (how == ENDED_IN_TRANSACTION)
        handle->last.state = SESSION_IN_TRANSACTION;
    else
        return how;
    return ENDED_BY_COMMAND;
}

void sweep_ended(void *supervisor, const struct message_ended *ended)
{
    struct supervisor *s = supervisor;
    int64_t now_us = clock_now_us();
    unsigned k = 0;
    for (unsigned i = 0; i < s->sweep.count && k < ended->header.count; i++) {
        struct farewell_of *farewell = &s->sweep.list[i];
        if (farewell->step != FAREWELL_ASKED || farewell->request != ended->request)
            continue;
        enum ended_how how = take_last_state(&s->record.handles[i], (enum ended_how)ended->how[k++]);
        enum outcome outcome = outcome_of(farewell, how, sweep_duplicate_of(s, &s->record.handles[i]) != NULL);
        if (outcome == OUTCOME_STILL_THERE && farewell->early)
            end_later(s, i, ended->why, now_us);
        else if (outcome == OUTCOME_STILL_THERE)
            end_refused(s, i, ended->why, now_us);
        else
            farewell_end(s, i, outcome, now_us);
    }
    sweep_watch_farewells(s, now_us);
}

void sweep_agent_lost(struct supervisor *s)
{
    if (s->sweep.looking)
        sweep_begin_farewells(s);
    for (unsigned i = 0; i < s->sweep.count; i++) {
        if (s->sweep.list[i].step != FAREWELL_ASKED)
            continue;
        s->sweep.list[i].step = FAREWELL_TO_END; /* asked again when there is an agent again */
        s->sweep.list[i].early = false;
    }
}
