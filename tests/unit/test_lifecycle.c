/* lifecycle: every phase × event pair, by a table of what is expected and by what must hold for all; random lives; the
 * deadlines for every grace. No real clock: a life takes microseconds. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/lifecycle/lifecycle.h"

#define MS INT64_C(1000)
#define S INT64_C(1000000)
#define T0 (1000 * S)

static const struct lifecycle_settings usual = {
    .grace_us = 10 * S, .drain_hold_us = 5 * S, .has_targets = true,
    .restart = {.after_failure = true, .after_success = true, .backoff_us = 1 * S, .backoff_max_us = 8 * S}};

static bool did(const struct lifecycle_actions *actions, enum lifecycle_action action)
{
    for (unsigned i = 0; i < actions->count; i++)
        if (actions->list[i] == action)
            return true;
    return false;
}

/* -- every cell: how the phase is reached, and what each event does then ------------------------------------------- */

struct way {
    enum phase phase;
    bool drain;
    const char *events; /* see event_of() */
};

/* One letter an event, so that a way fits in a row; N first: no hands, and the signal ends the app at once; Q first:
 * with a sequence of signals. */
static enum lifecycle_event event_of(char letter)
{
    static const char letters[] = "SEDRnsmfxatlbwd"; /* in the order of the enum */
    return (enum lifecycle_event)(strchr(letters, letter) - letters);
}

/* As a stop and, where there is one, as a drain that no signal has followed. */
static const struct way ways[] = {
    {PHASE_RUNNING, false, ""},       {PHASE_ANNOUNCING, false, "S"},  {PHASE_ANNOUNCING, true, "D"},
    {PHASE_DRAINING, false, "Sd"},    {PHASE_DRAINING, true, "Dd"},    {PHASE_HOLDING, false, "Sdd"},
    {PHASE_HOLDING, true, "Ddd"},     {PHASE_FREEZING, false, "Sdds"}, {PHASE_LOOKING, false, "Sddsf"},
    {PHASE_RESTING, true, "Ddds"},    {PHASE_SIGNALLED, false, "Sddsfs"},
    {PHASE_STOPPING, false, "Sddsfsd"}, {PHASE_KILLING, false, "SddsfsE"}, {PHASE_SWEEPING, false, "Sddsfst"},
    {PHASE_DONE, false, "Sddsfstw"},  {PHASE_ENDING, false, "NSddsfs"},
    {PHASE_SIGNALLED, false, "QSddsfs"}, {PHASE_STOPPING, false, "QSddsfsd"},
    {PHASE_WAITING, false, "tw"},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* What each event does, in the order of `ways`: phase and actions; "=" for deliberately nothing. One letter an action,
 * in the order of the enum. */
static const char action_letters[] = "AUIL.GFTPOESNRKWdfcXZwsn";

/* A announce, U unannounce, I drain the intake, L look, . look-stop, G give up, F freeze, T thaw, P adopt, O let go,
 * S signal, E end the idle sessions, N signal next, R signal the rest, K kill, W sweep, d drained, f drain failed, c
 * called off, X report, Z exit, w wait, s start, n stay down */
static const struct {
    enum phase phase;
    bool drain;
    const char *by_event[EVENTS];
} expected[WAYS] = {
    {PHASE_RUNNING, false,
     {[EVENT_STOP_SIGNAL] = "announcing A", [EVENT_ESCALATE] = "announcing A", [EVENT_DRAIN] = "announcing A",
      [EVENT_APP_ENDED] = "stopping .PRO", [EVENT_TREE_ENDED] = "sweeping .W"}},
    {PHASE_ANNOUNCING, false,
     {[EVENT_ESCALATE] = "draining", [EVENT_APP_ENDED] = "stopping .PRO", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_DEADLINE] = "draining"}},
    {PHASE_ANNOUNCING, true,
     {[EVENT_STOP_SIGNAL] = "announcing c", [EVENT_ESCALATE] = "draining", [EVENT_RESUME] = "running c.OU",
      [EVENT_APP_ENDED] = "stopping c.PRO", [EVENT_TREE_ENDED] = "sweeping c.W", [EVENT_DEADLINE] = "draining"}},
    {PHASE_DRAINING, false,
     {[EVENT_ESCALATE] = "holding L", [EVENT_STILL] = "holding L", [EVENT_APP_ENDED] = "stopping .PRO",
      [EVENT_TREE_ENDED] = "sweeping .W", [EVENT_AGENT_LOST] = "holding L", [EVENT_DEADLINE] = "holding L"}},
    {PHASE_DRAINING, true,
     {[EVENT_STOP_SIGNAL] = "draining c", [EVENT_ESCALATE] = "holding L", [EVENT_RESUME] = "running c.OU",
      [EVENT_STILL] = "holding L", [EVENT_APP_ENDED] = "stopping c.PRO", [EVENT_TREE_ENDED] = "sweeping c.W",
      [EVENT_AGENT_LOST] = "holding L", [EVENT_DEADLINE] = "holding L"}},
    {PHASE_HOLDING, false,
     {[EVENT_ESCALATE] = "freezing GF", [EVENT_STILL] = "freezing F", [EVENT_APP_ENDED] = "stopping .PRO",
      [EVENT_TREE_ENDED] = "sweeping .W", [EVENT_DEADLINE] = "holding GL"}},
    {PHASE_HOLDING, true,
     {[EVENT_STOP_SIGNAL] = "holding c", [EVENT_ESCALATE] = "resting f", [EVENT_RESUME] = "running c.OU",
      [EVENT_STILL] = "resting d", [EVENT_APP_ENDED] = "stopping c.PRO", [EVENT_TREE_ENDED] = "sweeping c.W",
      [EVENT_DEADLINE] = "running f.OU"}},
    {PHASE_FREEZING, false,
     {[EVENT_ESCALATE] = "signalled .PS", [EVENT_FROZEN] = "looking L", [EVENT_FREEZE_FAILED] = "holding TL",
      [EVENT_APP_ENDED] = "stopping T.PRO", [EVENT_TREE_ENDED] = "sweeping .W", [EVENT_AGENT_LOST] = "holding TL",
      [EVENT_DEADLINE] = "holding TL"}},
    {PHASE_LOOKING, false,
     {[EVENT_ESCALATE] = "signalled .PS", [EVENT_STILL] = "signalled .PS", [EVENT_MOVING] = "holding TL",
      [EVENT_APP_ENDED] = "stopping T.PRO", [EVENT_TREE_ENDED] = "sweeping .W", [EVENT_AGENT_LOST] = "holding TL",
      [EVENT_DEADLINE] = "holding TL"}},
    {PHASE_RESTING, true,
     {[EVENT_STOP_SIGNAL] = "holding cL", [EVENT_ESCALATE] = "resting d", [EVENT_DRAIN] = "resting d",
      [EVENT_RESUME] = "running c.OU", [EVENT_APP_ENDED] = "stopping c.PRO", [EVENT_TREE_ENDED] = "sweeping c.W",
      [EVENT_DEADLINE] = "running .OU"}},
    {PHASE_SIGNALLED, false,
     {[EVENT_ESCALATE] = "killing .PK", [EVENT_APP_ENDED] = "holding L", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_AGENT_LOST] = "stopping O", [EVENT_DEADLINE] = "stopping O"}},
    {PHASE_STOPPING, false,
     {[EVENT_ESCALATE] = "killing .PK", [EVENT_APP_ENDED] = "holding L", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_DEADLINE] = "holding L"}},
    {PHASE_KILLING, false, {[EVENT_TREE_ENDED] = "sweeping .W", [EVENT_DEADLINE] = "sweeping W"}},
    {PHASE_SWEEPING, false,
     {[EVENT_ESCALATE] = "done XZ", [EVENT_SWEPT] = "done XZ", [EVENT_DEADLINE] = "done XZ"}},
    {PHASE_DONE, false, {[EVENT_STOP_SIGNAL] = NULL}},
    {PHASE_ENDING, false,
     {[EVENT_ESCALATE] = "signalled .PS", [EVENT_APP_ENDED] = "stopping T.PRO", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_AGENT_LOST] = "signalled .PS", [EVENT_SWEPT] = "signalled .PS", [EVENT_DEADLINE] = "signalled .PS"}},
    {PHASE_SIGNALLED, false,
     {[EVENT_ESCALATE] = "killing .PK", [EVENT_APP_ENDED] = "holding L", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_AGENT_LOST] = "stopping O", [EVENT_DEADLINE] = "stopping O"}},
    {PHASE_STOPPING, false,
     {[EVENT_ESCALATE] = "killing .PK", [EVENT_APP_ENDED] = "holding L", [EVENT_TREE_ENDED] = "sweeping .W",
      [EVENT_DEADLINE] = "stopping N"}},
    {PHASE_WAITING, false,
     {[EVENT_STOP_SIGNAL] = "done AZ", [EVENT_ESCALATE] = "done AZ", [EVENT_DRAIN] = "done AZ",
      [EVENT_DEADLINE] = "running s"}},
};

/* One event, a millisecond after the last one; a deadline comes at its time. */
static int64_t step(struct lifecycle *l, enum lifecycle_event event, int64_t now, struct lifecycle_actions *actions)
{
    bool waits = event == EVENT_DEADLINE && l->deadline_us != INT64_MAX;
    now = waits && l->deadline_us > now ? l->deadline_us : now + MS;
    lifecycle_step(l, event, now, actions);
    return now;
}

static int64_t reach(struct lifecycle *l, const struct lifecycle_settings *settings, const char *events)
{
    struct lifecycle_actions actions;
    int64_t now = T0;
    struct lifecycle_settings with = *settings;
    if (*events == 'Q')
        with.sequence_us[with.sequence_count++] = 3 * S;
    lifecycle_init(l, &with);
    l->no_hands = l->ends_at_once = *events == 'N';
    for (const char *e = events + (*events == 'N' || *events == 'Q'); *e; e++)
        now = step(l, event_of(*e), now, &actions);
    return now;
}

static void describe(const struct lifecycle *l, const struct lifecycle_actions *actions, char *text, size_t size)
{
    int n = snprintf(text, size, "%s%s", phase_name(l->phase), actions->count ? " " : "");
    for (unsigned i = 0; i < actions->count; i++)
        n += snprintf(text + n, size - (size_t)n, "%c", action_letters[actions->list[i]]);
}

START_TEST(every_cell)
{
    const struct way *way = &ways[_i / EVENTS];
    enum lifecycle_event event = (enum lifecycle_event)(_i % EVENTS);
    struct lifecycle l, before;
    struct lifecycle_actions actions;
    char text[64];
    int64_t now = reach(&l, &usual, way->events);
    ck_assert_str_eq(phase_name(l.phase), phase_name(way->phase));
    ck_assert_int_eq(l.drain_only, way->drain);
    ck_assert_int_eq(expected[_i / EVENTS].phase, way->phase);
    ck_assert_int_eq(expected[_i / EVENTS].drain, way->drain);
    before = l;
    step(&l, event, now, &actions);
    describe(&l, &actions, text, sizeof text);
    const char *wanted = expected[_i / EVENTS].by_event[event];
    if (wanted)
        ck_assert_msg(strcmp(text, wanted) == 0, "%s%s × %s: %s, expected %s", phase_name(way->phase),
                      way->drain ? " (drain)" : "", event_name(event), text, wanted);
    else {
        ck_assert_msg(actions.count == 0, "%s × %s acts: %s", phase_name(way->phase), event_name(event), text);
        ck_assert_msg(memcmp(&before, &l, sizeof l) == 0, "%s × %s changes something", phase_name(way->phase),
                      event_name(event));
    }
}
END_TEST

/* The table above has every phase, and every phase in which a drain may be without a signal. */
START_TEST(no_phase_is_left_out)
{
    bool seen[PHASES] = {false};
    for (size_t i = 0; i < WAYS; i++)
        seen[ways[i].phase] = true;
    for (size_t i = 0; i < PHASES; i++)
        ck_assert_msg(seen[i], "%s has no row", phase_name((enum phase)i));
    ck_assert_uint_eq(sizeof action_letters - 1, ACTIONS);
}
END_TEST

START_TEST(names_are_there)
{
    for (int i = 0; i < PHASES; i++)
        ck_assert(phase_name((enum phase)i)[0] && phase_public_name((enum phase)i)[0]);
    for (int i = 0; i < EVENTS; i++)
        ck_assert(event_name((enum lifecycle_event)i)[0]);
    for (int i = 0; i < ACTIONS; i++)
        ck_assert(action_name((enum lifecycle_action)i)[0]);
}
END_TEST

/* -- what must hold for all ---------------------------------------------------------------------------------------- */

struct life {
    struct lifecycle l;
    bool frozen, marked_or_looking; /* by the actions */
    bool signal_came;               /* an EVENT_STOP_SIGNAL, or the app's own end: from here on it is a stop */
    bool told, killed;
    int64_t stop_began;             /* when it became a stop */
    unsigned exits, reports, more;
    char log[4096];                 /* what happened, for a failure */
    size_t log_length;
};

static void note(struct life *life, enum lifecycle_event event, int64_t now, enum phase from)
{
    if (life->log_length > sizeof life->log - 80)
        life->log_length = 0;
    int n = snprintf(life->log + life->log_length, 80, "%lld %s: %s → %s\n", (long long)((now - T0) / MS),
                     event_name(event), phase_name(from), phase_name(life->l.phase));
    life->log_length += (size_t)n;
}

#define HOLDS(life, condition) ck_assert_msg(condition, "%s\n%s", #condition, (life)->log)

static bool is_frozen_phase(enum phase phase)
{
    return phase == PHASE_FREEZING || phase == PHASE_LOOKING || phase == PHASE_ENDING;
}

/* What the actions do to the app, and what they must not do. */
static void follow_actions(struct life *life, const struct lifecycle_actions *actions)
{
    static const bool thaws[ACTIONS] = {[ACTION_THAW] = true, [ACTION_SIGNAL] = true, [ACTION_SIGNAL_REST] = true,
                                        [ACTION_KILL] = true, [ACTION_SWEEP] = true};
    HOLDS(life, actions->count <= sizeof actions->list / sizeof *actions->list);
    for (unsigned i = 0; i < actions->count; i++) {
        enum lifecycle_action action = actions->list[i];
        life->frozen = action == ACTION_FREEZE || (life->frozen && !thaws[action]);
        life->exits += action == ACTION_EXIT;
        life->reports += action == ACTION_REPORT;
        HOLDS(life, action != ACTION_SIGNAL || !life->told); /* once */
        life->more += action == ACTION_SIGNAL_NEXT; /* only to an app that was let go and has its time */
        HOLDS(life, action != ACTION_SIGNAL_NEXT || (life->told && !life->killed && life->l.phase == PHASE_STOPPING));
        HOLDS(life, life->more <= life->l.settings.sequence_count && life->more == life->l.sequence_sent);
        life->told |= action == ACTION_SIGNAL;
        life->killed |= action == ACTION_KILL;
        if (action == ACTION_SIGNAL || action == ACTION_SIGNAL_REST || action == ACTION_KILL)
            HOLDS(life, life->signal_came);
    }
}

static void check_deadline(struct life *life, int64_t now)
{
    const struct lifecycle *l = &life->l;
    bool waits = l->phase != PHASE_RUNNING && l->phase != PHASE_DONE;
    HOLDS(life, waits == (l->deadline_us != INT64_MAX));
    if (!waits || l->phase == PHASE_RESTING)
        return;
    HOLDS(life, l->deadline_us <= (l->deadlines.done > now ? l->deadlines.done : now));
    if (l->phase == PHASE_LOOKING)
        HOLDS(life, l->deadline_us <= now + 50 * MS);
    if (l->phase == PHASE_ENDING)
        HOLDS(life, l->deadline_us <= now + 150 * MS && l->no_hands && !l->no_freeze &&
                        (l->ends_at_once || l->kill_next));
}

static void live(struct life *life, enum lifecycle_event event, int64_t now)
{
    struct lifecycle_actions actions;
    enum phase from = life->l.phase;
    bool was_drain = life->l.drain_only;
    bool ends = event == EVENT_APP_ENDED || event == EVENT_TREE_ENDED;
    bool begins = event == EVENT_STOP_SIGNAL || ends || (event == EVENT_ESCALATE && from == PHASE_RUNNING);
    if (begins && !life->signal_came) {
        life->signal_came = true;
        life->stop_began = now;
    }
    lifecycle_step(&life->l, event, now, &actions);
    note(life, event, now, from);
    follow_actions(life, &actions);
    HOLDS(life, life->frozen == is_frozen_phase(life->l.phase));
    HOLDS(life, from != PHASE_DONE || (life->l.phase == PHASE_DONE && actions.count == 0));
    HOLDS(life, !life->signal_came || life->l.phase != PHASE_RUNNING);
    HOLDS(life, !life->signal_came || !did(&actions, ACTION_UNANNOUNCE));
    HOLDS(life, !life->signal_came || !life->l.drain_only);
    if (was_drain && !life->l.drain_only)
        HOLDS(life, did(&actions, ACTION_CALLED_OFF) || did(&actions, ACTION_DRAIN_FAILED) || from == PHASE_RESTING);
    check_deadline(life, now);
}

static uint32_t dice_state;

static uint32_t dice(uint32_t sides)
{
    dice_state = dice_state * 1664525u + 1013904223u;
    return (dice_state >> 8) % sides;
}

static struct lifecycle_settings any_settings(void)
{
    static const int64_t graces[] = {1 * S, 1500 * MS, 2 * S, 3 * S, 10 * S, 30 * S, 300 * S, 3600 * S};
    struct lifecycle_settings any = {.grace_us = graces[dice(8)], .settle_us = dice(3) * 700 * MS,
                                     .drain_hold_us = dice(20) * S, .has_targets = dice(5) != 0, .drains = dice(2),
                                     .signal_first = dice(5) == 0, .end_by_kill = dice(5) == 0,
                                     .announce_us = dice(3) * dice(5) * S,
                                     .sequence_count = dice(LIFECYCLE_SEQUENCE_MOST + 1)};
    for (unsigned i = 0; i < any.sequence_count; i++)
        any.sequence_us[i] = (i ? any.sequence_us[i - 1] : 0) + 1 + dice(2) * dice(4000) * MS;
    return any;
}

/* Random events at random times; deadlines when they are due; then nothing but deadlines, until it is done. */
static void live_at_random(struct life *life, const struct lifecycle_settings *settings)
{
    int64_t now = T0, last = 0;
    lifecycle_init(&life->l, settings);
    for (unsigned i = 0, n = dice(60); i < n && life->l.phase != PHASE_DONE; i++) {
        int64_t next = now + dice(2) * dice(50) * MS + dice(8) / 7 * dice(4000) * MS;
        bool due = life->l.deadline_us <= next;
        now = due && life->l.deadline_us > now ? life->l.deadline_us : due ? now : next;
        life->l.ends_at_once |= life->l.phase == PHASE_RUNNING && dice(2);
        life->l.no_hands |= dice(20) == 0;
        live(life, due ? EVENT_DEADLINE : (enum lifecycle_event)dice(EVENT_DEADLINE), now);
    }
    if (!life->signal_came && life->l.phase == PHASE_RUNNING)
        live(life, EVENT_STOP_SIGNAL, now);
    for (unsigned i = 0; life->l.phase != PHASE_DONE && life->l.phase != PHASE_RUNNING; i++) {
        HOLDS(life, i < 40); /* deadlines do not chase each other */
        now = life->l.deadline_us > now ? life->l.deadline_us : now;
        live(life, EVENT_DEADLINE, last = now);
    }
    if (life->l.phase == PHASE_RUNNING) { /* a drain without a signal: the app goes on as before */
        HOLDS(life, !life->signal_came && life->exits == 0);
        return;
    }
    HOLDS(life, life->exits == 1 && life->reports == 1);
}

START_TEST(random_lives_end_in_time)
{
    dice_state = (uint32_t)_i * 7919u + 1;
    for (unsigned i = 0; i < 2000; i++) {
        struct lifecycle_settings settings = any_settings();
        struct life life = {.log = ""};
        live_at_random(&life, &settings);
    }
}
END_TEST

/* The same, with all events while nothing ends by itself: the time from the signal to the end, by a stop alone. */
START_TEST(a_stop_takes_at_most_the_grace_less_its_reserve)
{
    dice_state = (uint32_t)_i * 104729u + 1;
    for (unsigned i = 0; i < 2000; i++) {
        struct lifecycle_settings settings = any_settings();
        struct life life = {.log = ""};
        int64_t now = T0, reserve = settings.grace_us * (settings.grace_us < 2 * S ? 30 : 3) / 100;
        lifecycle_init(&life.l, &settings);
        life.l.ends_at_once = dice(2);
        life.l.no_hands = dice(2);
        live(&life, EVENT_STOP_SIGNAL, now);
        while (life.l.phase != PHASE_DONE) {
            int64_t next = now + dice(200) * MS;
            bool due = life.l.deadline_us <= next;
            now = due && life.l.deadline_us > now ? life.l.deadline_us : due ? now : next;
            live(&life, due ? EVENT_DEADLINE : (enum lifecycle_event)dice(EVENT_SWEPT), now);
        }
        if (settings.grace_us >= 2 * S && reserve < 500 * MS)
            reserve = 500 * MS;
        ck_assert_msg(now - T0 <= settings.grace_us - reserve, "%lld ms of %lld ms\n%s", (long long)((now - T0) / MS),
                      (long long)(settings.grace_us / MS), life.log);
    }
}
END_TEST

/* Nothing but a signal and deadlines: SIGKILL comes while there is still time to reap what it killed. */
START_TEST(the_kill_leaves_time_to_reap)
{
    static const int64_t graces[] = {1 * S, 2 * S, 3 * S, 10 * S, 30 * S, 3600 * S};
    for (unsigned i = 0; i < 24; i++) {
        struct lifecycle_settings settings = usual;
        struct lifecycle l;
        struct lifecycle_actions actions = {.count = 0};
        int64_t now = T0;
        settings.grace_us = graces[i / 4];
        settings.end_by_kill = i & 1;
        lifecycle_init(&l, &settings);
        l.ends_at_once = i & 2;
        l.no_hands = true;
        lifecycle_step(&l, EVENT_STOP_SIGNAL, now, &actions);
        while (!did(&actions, ACTION_KILL)) {
            now = l.deadline_us > now ? l.deadline_us : now;
            lifecycle_step(&l, EVENT_DEADLINE, now, &actions);
            ck_assert_int_ne(l.phase, PHASE_DONE);
        }
        ck_assert_int_eq(l.phase, PHASE_KILLING);
        ck_assert_msg(l.deadline_us - now >= 40 * MS, "grace %lld ms: %lld ms", (long long)(settings.grace_us / MS),
                      (long long)((l.deadline_us - now) / MS));
        ck_assert_int_le(l.deadline_us, l.deadlines.done);
    }
}
END_TEST

/* -- single rules -------------------------------------------------------------------------------------------------- */

/* Without hands the sessions are ended first only where the app is frozen and never runs again. */
START_TEST(sessions_are_ended_first_only_of_an_app_that_is_over)
{
    static const struct { bool no_hands, ends_at_once, kill; const char *last; enum phase then; } rows[] = {
        {true, true, false, "s", PHASE_ENDING},     {true, false, false, "s", PHASE_SIGNALLED},
        {true, false, true, "s", PHASE_ENDING},     {false, true, false, "s", PHASE_SIGNALLED},
        {false, false, true, "s", PHASE_KILLING},   {true, true, false, "E", PHASE_SIGNALLED},
        {true, true, false, "d", PHASE_HOLDING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lifecycle_settings settings = usual;
        struct lifecycle_actions actions;
        struct lifecycle l;
        settings.end_by_kill = rows[i].kill;
        int64_t now = reach(&l, &settings, "Sddsf");
        l.no_hands = rows[i].no_hands;
        l.ends_at_once = rows[i].ends_at_once;
        step(&l, event_of(*rows[i].last), now, &actions);
        ck_assert_msg(l.phase == rows[i].then, "row %zu: %s", i, phase_name(l.phase));
        ck_assert_int_eq(did(&actions, ACTION_END), l.phase == PHASE_ENDING);
    }
}
END_TEST

/* One that has too many processes runs on until the signal, and may have begun anew on what was idle. */
START_TEST(no_session_is_ended_under_an_app_that_runs)
{
    for (int kill = 0; kill <= 1; kill++) {
        struct lifecycle_settings settings = usual;
        struct lifecycle_actions actions;
        struct lifecycle l;
        settings.end_by_kill = kill;
        int64_t now = reach(&l, &settings, "Sddsf");
        l.no_hands = l.no_freeze = l.ends_at_once = true;
        step(&l, EVENT_STILL, now, &actions);
        ck_assert_msg(l.phase == (kill ? PHASE_KILLING : PHASE_SIGNALLED), "%s", phase_name(l.phase));
        ck_assert(!did(&actions, ACTION_END));
    }
}
END_TEST

/* The last look before the hold deadline's end: what is idle is ended first, too. */
START_TEST(sessions_are_ended_first_at_the_last_chance)
{
    struct lifecycle_actions actions;
    struct lifecycle l;
    int64_t now = reach(&l, &usual, "NSddddf");
    ck_assert(l.last_chance && l.phase == PHASE_LOOKING);
    struct lifecycle late = l, frozen_no_more = l;
    step(&l, EVENT_MOVING, now, &actions);
    ck_assert_str_eq(phase_name(l.phase), "ending");
    step(&late, EVENT_DEADLINE, now, &actions); /* it is frozen: what is idle is looked for once more */
    ck_assert_str_eq(phase_name(late.phase), "ending");
    frozen_no_more.phase = PHASE_FREEZING;
    step(&frozen_no_more, EVENT_FREEZE_FAILED, now, &actions);
    ck_assert_str_eq(phase_name(frozen_no_more.phase), "signalled");
}
END_TEST

/* The stop signal cannot be called off, in no phase. */
START_TEST(resume_after_the_signal_is_refused)
{
    for (size_t i = 1; i < WAYS; i++) {
        struct lifecycle l;
        struct lifecycle_actions actions;
        int64_t now = reach(&l, &usual, ways[i].events);
        now = step(&l, EVENT_STOP_SIGNAL, now, &actions);
        enum phase phase = l.phase;
        step(&l, EVENT_RESUME, now, &actions);
        ck_assert_int_eq(l.phase, phase);
        ck_assert_uint_eq(actions.count, 0);
    }
}
END_TEST

/* The main process ended by itself; its children have their two seconds, however often their being there is noticed. */
START_TEST(what_the_app_left_has_its_time)
{
    struct lifecycle l;
    struct lifecycle_actions actions;
    for (int at_once = 0; at_once < 2; at_once++) {
        int64_t now = reach(&l, &usual, "a");
        l.ends_at_once = at_once;
        ck_assert_int_eq(l.phase, PHASE_STOPPING);
        ck_assert_int_eq(l.deadline_us, now + 2 * S);
        for (int i = 0; i < 100; i++) {
            now = step(&l, EVENT_APP_ENDED, now, &actions);
            ck_assert_int_eq(l.phase, PHASE_STOPPING);
            ck_assert_uint_eq(actions.count, 0);
        }
        step(&l, EVENT_DEADLINE, now, &actions);
        ck_assert_int_eq(l.phase, PHASE_HOLDING);
    }
}
END_TEST

/* A drain that took nearly all of its share: the signal that follows does not give up at once what is in flight. */
START_TEST(a_signal_after_a_long_drain_has_what_is_left)
{
    struct lifecycle l;
    struct lifecycle_actions actions;
    int64_t now = reach(&l, &usual, "Ddd");
    now = l.deadline_us - MS; /* still just in time */
    lifecycle_step(&l, EVENT_STILL, now, &actions);
    ck_assert_int_eq(l.phase, PHASE_RESTING);
    now += 100 * MS;
    lifecycle_step(&l, EVENT_STOP_SIGNAL, now, &actions);
    ck_assert_int_eq(l.phase, PHASE_HOLDING);
    ck_assert_int_gt(l.deadline_us, now + 1500 * MS);
    ck_assert_int_le(l.deadlines.done, l.began_us + 10 * S - 500 * MS);
}
END_TEST

/* The same when the drain failed and the app was let go: its clock goes on. */
START_TEST(a_signal_after_a_failed_drain_has_what_is_left)
{
    struct lifecycle l;
    struct lifecycle_actions actions;
    int64_t now = reach(&l, &usual, "Dddd");
    ck_assert_int_eq(l.phase, PHASE_RUNNING);
    int64_t began = l.began_us;
    now = step(&l, EVENT_STOP_SIGNAL, now, &actions);
    ck_assert_int_eq(l.began_us, began);
    step(&l, EVENT_DEADLINE, now, &actions);
    lifecycle_step(&l, EVENT_DEADLINE, now, &actions);
    ck_assert_int_eq(l.phase, PHASE_HOLDING);
    ck_assert_int_gt(l.deadline_us, now + 1500 * MS);
    ck_assert_int_le(l.deadlines.done, began + 10 * S - 500 * MS);
}
END_TEST

/* After drain.hold the platform's clock may be over, too: the signal has two seconds, as the kubelet grants them. */
START_TEST(a_late_signal_has_two_seconds)
{
    struct lifecycle_settings settings = usual;
    struct lifecycle l;
    struct lifecycle_actions actions;
    settings.drain_hold_us = 60 * S;
    int64_t now = reach(&l, &settings, "Ddds") + 30 * S;
    lifecycle_step(&l, EVENT_STOP_SIGNAL, now, &actions);
    ck_assert_int_eq(l.phase, PHASE_HOLDING);
    ck_assert_int_gt(l.deadline_us, now + 500 * MS);
    ck_assert_int_eq(l.deadlines.done, now + 1500 * MS);
}
END_TEST

/* A drain that was called off is forgotten: the next stop has a whole grace. */
START_TEST(a_called_off_drain_costs_nothing)
{
    struct lifecycle l;
    struct lifecycle_actions actions;
    int64_t now = reach(&l, &usual, "DdddS"), began = l.began_us;
    ck_assert_int_eq(l.phase, PHASE_ANNOUNCING);
    ck_assert_int_lt(began, now - S);
    now = reach(&l, &usual, "DddR");
    now = step(&l, EVENT_STOP_SIGNAL, now, &actions);
    ck_assert_int_eq(l.began_us, now);
}
END_TEST

/* `drain --now` skips the waiting, and never tells the app to stop. */
START_TEST(a_drain_is_never_a_stop)
{
    struct lifecycle l;
    struct lifecycle_actions actions;
    int64_t now = reach(&l, &usual, "D");
    for (int i = 0; i < 10; i++) {
        now = step(&l, i % 2 ? EVENT_DRAIN : EVENT_ESCALATE, now, &actions);
        ck_assert(!did(&actions, ACTION_SIGNAL) && !did(&actions, ACTION_KILL) && !did(&actions, ACTION_SIGNAL_REST));
        ck_assert_int_eq(l.drain_only, true);
    }
    ck_assert_int_eq(l.phase, PHASE_RESTING);
}
END_TEST

START_TEST(signal_first_signals_at_once)
{
    struct lifecycle_settings settings = usual;
    struct lifecycle l;
    settings.signal_first = true;
    reach(&l, &settings, "S");
    ck_assert_int_eq(l.phase, PHASE_SIGNALLED);
    reach(&l, &settings, "D");
    ck_assert_int_eq(l.phase, PHASE_ANNOUNCING);
}
END_TEST

/* -- the deadlines ------------------------------------------------------------------------------------------------- */

START_TEST(deadlines_are_in_order_for_every_grace)
{
    for (int64_t grace = 1 * S; grace <= 3600 * S; grace += grace < 60 * S ? 10 * MS : 1 * S)
        for (int at_once = 0; at_once < 2; at_once++) {
            struct lifecycle_deadlines d = lifecycle_deadlines_of(T0, grace, at_once);
            int64_t least_reserve = grace < 2 * S ? grace * 30 / 100 : 500 * MS;
            ck_assert_int_lt(T0 + grace / 5, d.hold);
            ck_assert_int_lt(d.hold, d.rest);
            ck_assert_int_le(d.rest, d.stop);
            ck_assert_int_lt(d.stop, d.kill);
            ck_assert_int_lt(d.kill, d.done);
            ck_assert_int_le(d.done, T0 + grace - least_reserve);
            ck_assert_int_ge(d.done, T0 + grace * 7 / 10);
        }
}
END_TEST

START_TEST(deadlines_of_the_default_grace)
{
    struct lifecycle_deadlines d = lifecycle_deadlines_of(T0, 10 * S, false);
    ck_assert_int_eq(d.done, T0 + 9500 * MS);
    ck_assert_int_eq(d.kill, T0 + 8500 * MS);
    ck_assert_int_eq(d.stop, T0 + 7500 * MS);
    ck_assert_int_eq(d.rest, T0 + 5250 * MS);
    ck_assert_int_eq(d.hold, T0 + 4300 * MS);
    d = lifecycle_deadlines_of(T0, 10 * S, true);
    ck_assert_int_eq(d.rest, d.stop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lifecycle");
    TCase *tcase = tcase_create("lifecycle");
    tcase_set_timeout(tcase, 30);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, every_cell, 0, WAYS * EVENTS);
    tcase_add_test(tcase, no_phase_is_left_out);
    tcase_add_test(tcase, names_are_there);
    tcase_add_loop_test(tcase, random_lives_end_in_time, 0, 20);
    tcase_add_loop_test(tcase, a_stop_takes_at_most_the_grace_less_its_reserve, 0, 10);
    tcase_add_test(tcase, the_kill_leaves_time_to_reap);
    tcase_add_test(tcase, sessions_are_ended_first_only_of_an_app_that_is_over);
    tcase_add_test(tcase, no_session_is_ended_under_an_app_that_runs);
    tcase_add_test(tcase, sessions_are_ended_first_at_the_last_chance);
    tcase_add_test(tcase, resume_after_the_signal_is_refused);
    tcase_add_test(tcase, what_the_app_left_has_its_time);
    tcase_add_test(tcase, a_signal_after_a_long_drain_has_what_is_left);
    tcase_add_test(tcase, a_signal_after_a_failed_drain_has_what_is_left);
    tcase_add_test(tcase, a_late_signal_has_two_seconds);
    tcase_add_test(tcase, a_called_off_drain_costs_nothing);
    tcase_add_test(tcase, a_drain_is_never_a_stop);
    tcase_add_test(tcase, signal_first_signals_at_once);
    tcase_add_test(tcase, deadlines_are_in_order_for_every_grace);
    tcase_add_test(tcase, deadlines_of_the_default_grace);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
