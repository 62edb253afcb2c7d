/* Plays the scenarios of tests/sim/ on a virtual clock; tests/sim/README.md says how they are written. */
#include <check.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/lifecycle/lifecycle.h"

#define T0 INT64_C(1000000000)

static glob_t scenarios;

struct player {
    const char *path;
    unsigned line;
    struct lifecycle_settings settings;
    struct lifecycle lifecycle;
    bool ends_at_once, no_hands, failed, begun;
    int64_t now_us;
};

#define FAIL(player, ...)                                                                                              \
    do {                                                                                                               \
        char story_says[640];                                                                                          \
        snprintf(story_says, sizeof story_says, __VA_ARGS__);                                                          \
        ck_abort_msg("%s:%u: %s", (player)->path, (player)->line, story_says);                                         \
    } while (0)

/* "40ms", "2s", "500us", "0". */
static int64_t read_time(const struct player *player, const char *word)
{
    static const struct { const char *unit; int64_t us; } units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"", 0}};
    char *end;
    int64_t number = strtoll(word, &end, 10);
    for (size_t i = 0; end != word && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && (units[i].us || number == 0))
            return number * units[i].us;
    FAIL(player, "not a time: %s", word);
    return 0;
}

static enum lifecycle_event read_event(const struct player *player, const char *word)
{
    for (int i = 0; i < EVENTS; i++)
        if (strcmp(word, event_name((enum lifecycle_event)i)) == 0)
            return (enum lifecycle_event)i;
    FAIL(player, "no such event: %s", word);
    return EVENTS;
}

/* Settings: a word and, for most, a value. */

static void set_grace(struct player *player, const char *value)
{
    player->settings.grace_us = read_time(player, value);
}

static void set_settle(struct player *player, const char *value)
{
    player->settings.settle_us = read_time(player, value);
}

static void set_announce(struct player *player, const char *value)
{
    player->settings.announce_us = read_time(player, value);
}

static void set_drain_hold(struct player *player, const char *value)
{
    player->settings.drain_hold_us = read_time(player, value);
}

static void set_order(struct player *player, const char *value)
{
    player->settings.signal_first = strcmp(value, "signal-first") == 0;
}

static void set_end(struct player *player, const char *value)
{
    player->settings.end_by_kill = strcmp(value, "kill") == 0;
}

static void set_targets(struct player *player, const char *value)
{
    player->settings.has_targets = strcmp(value, "none") != 0;
}

/* One time a line: the times add up. */
static void set_sequence(struct player *player, const char *value)
{
    player->settings.sequence_us[player->settings.sequence_count++] = read_time(player, value);
}

static void set_intake(struct player *player, const char *value)
{
    (void)value;
    player->settings.drains = true;
}

static void set_ends_at_once(struct player *player, const char *value)
{
    (void)value;
    player->ends_at_once = true;
}

static void set_no_hands(struct player *player, const char *value)
{
    (void)value;
    player->no_hands = true;
}

static void set_restart(struct player *player, const char *value)
{
    player->settings.restart.after_failure = true;
    player->settings.restart.after_success = strcmp(value, "always") == 0;
}

static void set_backoff(struct player *player, const char *value)
{
    player->settings.restart.backoff_us = read_time(player, value);
}

static void set_backoff_max(struct player *player, const char *value)
{
    player->settings.restart.backoff_max_us = read_time(player, value);
}

static void set_limit(struct player *player, const char *value)
{
    player->settings.restart.limit = (unsigned)strtoul(value, NULL, 10);
}

static void set_window(struct player *player, const char *value)
{
    player->settings.restart.window_us = read_time(player, value);
}

static void set_failed(struct player *player, const char *value)
{
    (void)value;
    player->failed = true;
}

static const struct {
    const char *word;
    void (*set)(struct player *player, const char *value);
} settings[] = {
    {"grace", set_grace},     {"settle", set_settle},   {"drain.hold", set_drain_hold},    {"order", set_order},
    {"end", set_end},         {"targets", set_targets}, {"ends-at-once", set_ends_at_once},
    {"no-hands", set_no_hands}, {"sequence", set_sequence}, {"announce", set_announce},    {"intake", set_intake},
    {"restart", set_restart}, {"backoff", set_backoff}, {"backoff_max", set_backoff_max}, {"limit", set_limit},
    {"window", set_window},   {"failed", set_failed},
};

static bool read_setting(struct player *player, const char *word, const char *value)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcmp(word, settings[i].word) != 0)
            continue;
        if (player->begun)
            FAIL(player, "settings come first");
        settings[i].set(player, value ? value : "");
        return true;
    }
    return false;
}

static void begin(struct player *player)
{
    player->begun = true;
    lifecycle_init(&player->lifecycle, &player->settings);
    player->lifecycle.ends_at_once = player->ends_at_once;
    player->lifecycle.no_hands = player->no_hands;
}

/* The deadline of a phase cannot be passed over in silence. */
static void go_to(struct player *player, int64_t time_us, enum lifecycle_event event)
{
    int64_t deadline_us = player->lifecycle.deadline_us;
    const char *phase = phase_name(player->lifecycle.phase);
    if (time_us < player->now_us)
        FAIL(player, "time goes back");
    int64_t due_us = deadline_us > player->now_us ? deadline_us : player->now_us;
    if (event == EVENT_DEADLINE && time_us != due_us)
        FAIL(player, "the deadline of %s is %" PRId64 " us", phase, due_us - T0);
    if (event != EVENT_DEADLINE && time_us > due_us)
        FAIL(player, "%s has its deadline before this, at %" PRId64 " us", phase, due_us - T0);
    player->now_us = time_us;
}

static void expect(const struct player *player, const struct lifecycle_actions *actions, char *wanted)
{
    char got[256] = "", *rest = NULL, normal[256] = "";
    snprintf(got, sizeof got, "%s", phase_name(player->lifecycle.phase));
    for (unsigned i = 0; i < actions->count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), " %s", action_name(actions->list[i]));
    for (char *word = strtok_r(wanted, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
        snprintf(normal + strlen(normal), sizeof normal - strlen(normal), "%s%s", *normal ? " " : "", word);
    if (strcmp(got, normal) != 0)
        FAIL(player, "got \"%s\", expected \"%s\"", got, normal);
}

static void play_event(struct player *player, const char *when, const char *what, char *wanted)
{
    struct lifecycle_actions actions;
    enum lifecycle_event event = read_event(player, what);
    int64_t base_us = *when == '+' ? player->now_us : T0;
    if (!player->begun)
        begin(player);
    go_to(player, base_us + read_time(player, when + (*when == '+')), event);
    player->lifecycle.failed = player->failed;
    lifecycle_step(&player->lifecycle, event, player->now_us, &actions);
    expect(player, &actions, wanted);
}

static void play_line(struct player *player, char *line)
{
    char *comment = strchr(line, '#'), *arrow, *rest = NULL;
    if (comment)
        *comment = 0;
    line[strcspn(line, "\n")] = 0;
    arrow = strstr(line, "->");
    if (arrow)
        *arrow = 0;
    char *first = strtok_r(line, " \t", &rest), *second = strtok_r(NULL, " \t", &rest);
    if (!first)
        return;
    if (!arrow && read_setting(player, first, second))
        return;
    if (!arrow || !second)
        FAIL(player, "neither a setting nor \"time event -> phase actions\"");
    play_event(player, first, second, arrow + 2);
}

START_TEST(scenario)
{
    struct player player = {.path = scenarios.gl_pathv[_i], .now_us = T0,
                            .settings = {.grace_us = 10000000, .drain_hold_us = 5000000, .has_targets = true,
                                         .restart = {.backoff_us = 1000000, .backoff_max_us = 60000000}}};
    char line[512];
    FILE *file = fopen(player.path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file)) {
        player.line++;
        play_line(&player, line);
    }
    fclose(file);
    if (player.lifecycle.phase != PHASE_DONE && player.lifecycle.phase != PHASE_RUNNING)
        FAIL(&player, "the story ends in %s", phase_name(player.lifecycle.phase));
    ck_assert_msg(player.begun, "%s: nothing happens", player.path);
}
END_TEST

static void find_scenarios(void)
{
    char pattern[512] = __FILE__; /* as the compiler was given it: absolute, or from the top of the tree */
    char *name = strstr(pattern, "unit/test_sim.c");
    if (name)
        snprintf(name, sizeof pattern - (size_t)(name - pattern), "sim/*.txt");
    glob(pattern, 0, NULL, &scenarios);
}

START_TEST(there_are_scenarios)
{
    ck_assert_msg(scenarios.gl_pathc > 0, "no tests/sim/*.txt: run from the top of the tree");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim");
    TCase *tcase = tcase_create("scenarios");
    find_scenarios();
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, there_are_scenarios);
    tcase_add_loop_test(tcase, scenario, 0, (int)scenarios.gl_pathc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    globfree(&scenarios);
    return failed != 0;
}
