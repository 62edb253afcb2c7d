/* The table of keys and the ways to look into it. Nothing here reads or checks a value: that is value.c's. */
#include "config/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)

static const int64_t second = US_PER_SECOND, hour = 3600 * US_PER_SECOND;

static const struct key_choice log_levels[] = {
    {"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG},
    {NULL, 0}};
static const struct key_choice signal_to[] = {
    {"auto", SIGNAL_TO_AUTO}, {"main", SIGNAL_TO_MAIN}, {"group", SIGNAL_TO_GROUP}, {"tree", SIGNAL_TO_TREE},
    {NULL, 0}};
static const struct key_choice orders[] = {
    {"drain-first", ORDER_DRAIN_FIRST}, {"signal-first", ORDER_SIGNAL_FIRST}, {NULL, 0}};
static const struct key_choice listeners[] = {
    {"drop", STOP_LISTENER_DROP}, {"leave", STOP_LISTENER_LEAVE}, {"refuse", STOP_LISTENER_REFUSE}, {NULL, 0}};
static const struct key_choice restart_policies[] = {
    {"never", RESTART_NEVER}, {"on-failure", RESTART_ON_FAILURE}, {"always", RESTART_ALWAYS}, {NULL, 0}};
static const struct key_choice ends[] = {{"signal", END_SIGNAL}, {"kill", END_KILL}, {NULL, 0}};

const struct key keys[CONFIG_KEYS] = {
    {.name = "config", .type = KEY_PATH, FIELD(file), .fallback = "", .not_in_file = true,
     .option = "config", .argument = "FILE", .help = "the configuration file; none is read unless it is named"},
    {.name = "socket", .type = KEY_PATH, FIELD(socket), .fallback = "", .not_in_file = true,
     .help = "path of the control socket; else it is made under /run or /dev/shm"},
    {.name = "instance", .type = KEY_NAME, FIELD(instance), .fallback = "", .option = "instance", .argument = "NAME",
     .help = "names this lastcall to its verbs; default: HOST as PID 1, else HOST-PID", .example = "web-1"},
    {.name = "grace_period", .type = KEY_DURATION, FIELD(grace_period_us), .fallback = "10s", .min_us = second,
     .max_us = hour, .short_environment = "LASTCALL_GRACE", .option = "grace", .argument = "TIME",
     .help = "how long a whole stop may take; less than the platform's own limit"},
    {.name = "user", .type = KEY_USER, FIELD(user), .fallback = "", .option = "user", .argument = "NAME",
     .help = "become this user (name, uid, name:group, uid:gid) before anything starts", .example = "app"},
    {.name = "restart.policy", .type = KEY_CHOICE, FIELD(restart_policy), .fallback = "never",
     .choices = restart_policies, .option = "restart", .argument = "WHEN",
     .help = "start an ended app again: never, on-failure (not after 0) or always"},
    {.name = "restart.backoff", .type = KEY_DURATION, FIELD(restart_backoff_us), .fallback = "1s", .min_us = 1000,
     .max_us = hour, .help = "the wait before the first restart; each further one is twice as long"},
    {.name = "restart.backoff_max", .type = KEY_DURATION, FIELD(restart_backoff_max_us), .fallback = "1m",
     .min_us = 1000, .max_us = hour,
     .help = "the longest wait; after a longer run the next one is restart.backoff again"},
    {.name = "restart.limit", .type = KEY_COUNT, FIELD(restart_limit), .fallback = "0", .most = 64,
     .help = "so many restarts within restart.window at most, then lastcall ends, too; 0: no limit"},
    {.name = "restart.window", .type = KEY_DURATION, FIELD(restart_window_us), .fallback = "10m", .min_us = second,
     .max_us = 24 * hour, .help = "the time within which restart.limit counts"},
    {.name = "sweep.predecessor", .type = KEY_BOOL, FIELD(sweep_predecessor), .fallback = "false",
     .help = "at each start, end what a dead app of the same `instance` left on the servers"},
    {.name = "report.file", .type = KEY_PATH, FIELD(report_file), .fallback = "",
     .short_environment = "LASTCALL_REPORT", .option = "report", .argument = "FILE",
     .help = "write the JSON exit report to this file", .example = "/var/log/lastcall/report.json"},
    {.name = "report.termination_log", .type = KEY_BOOL, FIELD(report_termination_log), .fallback = "true",
     .help = "write a short report to /dev/termination-log when it exists (Kubernetes)"},
    {.name = "report.query_text", .type = KEY_BOOL, FIELD(report_query_text), .fallback = "true",
     .help = "show the beginning of each connection's last query"},
    {.name = "log.level", .type = KEY_CHOICE, FIELD(log_level), .fallback = "info", .choices = log_levels,
     .option = "log-level", .argument = "LEVEL", .help = "how much to log: error, warning, info or debug"},
    {.name = "log.reaped", .type = KEY_BOOL, FIELD(log_reaped), .fallback = "false",
     .help = "warn of each orphan of the app that was reaped (-w)"},
    {.name = "http.listen", .type = KEY_LISTEN, FIELD(http_listen), .fallback = "",
     .short_environment = "LASTCALL_HTTP", .option = "http", .argument = "ADDRESS",
     .help = "serve health and metrics on ADDRESS:PORT or unix:PATH", .example = "127.0.0.1:9400"},
    {.name = "stop.signals", .type = KEY_SIGNALS, FIELD(stop_signals), .fallback = "[TERM, INT]",
     .help = "the signals that begin a stop; all others are passed on to the app"},
    {.name = "stop.signal_to", .type = KEY_CHOICE, FIELD(stop_signal_to), .fallback = "auto", .choices = signal_to,
     .option = "signal-to", .argument = "WHOM", .help = "who gets the stop signal: auto, main, group or tree"},
    {.name = "stop.signal", .type = KEY_STOP_SIGNAL, FIELD(stop_signal), .fallback = "", .option = "stop-signal",
     .argument = "SIGNAL", .help = "the signal that the app gets at the stop; default: the one that came",
     .example = "QUIT"},
    {.name = "stop.map", .type = KEY_SIGNAL_MAP, FIELD(stop_map), .fallback = "", .option = "rewrite",
     .argument = "S:R", .help = "a signal S is passed on as R, or with R 0 not at all (-r)",
     .example = "{TERM: QUIT, HUP: 0}"},
    {.name = "stop.sequence", .type = KEY_SEQUENCE, FIELD(stop_sequence), .fallback = "",
     .help = "more signals for an app that is still there so long after the first one", .example = "[INT 3s, QUIT 5s]"},
    {.name = "stop.order", .type = KEY_CHOICE, FIELD(stop_order), .fallback = "drain-first", .choices = orders,
     .help = "come to rest before the signal, or let the app drain itself from the signal on"},
    {.name = "stop.end", .type = KEY_CHOICE, FIELD(stop_end), .fallback = "signal", .choices = ends,
     .help = "end the app by the stop signal, or by SIGKILL once it is at rest (JVMs)"},
    {.name = "stop.settle", .type = KEY_DURATION, FIELD(stop_settle_us), .fallback = "0s", .max_us = hour,
     .help = "time for load balancers to notice before the drain begins; part of grace_period"},
    {.name = "stop.listener", .type = KEY_CHOICE, FIELD(stop_listener), .fallback = "drop", .choices = listeners,
     .help = "new clients of the app: drop (they try again in a second), leave, or refuse"},
    {.name = "stop.idle", .type = KEY_DURATION, FIELD(stop_idle_us), .fallback = "12ms", .max_us = hour,
     .help = "inbound connections are idle when quiet for so long; 0s: requests are not waited for"},
    {.name = "stop.ports", .type = KEY_PORTS, FIELD(stop_ports), .fallback = "",
     .help = "the same for single ports of the app: PORT=TIME, or PORT=off", .example = "9000=off, 8443=50ms"},
    {.name = "exit_codes", .type = KEY_EXIT_CODES, FIELD(exit_codes), .fallback = "", .option = "exit-code",
     .argument = "CODE[:AS]", .help = "the app's exit CODE becomes lastcall's AS, or 0 (-e)",
     .example = "{143: 0, 130: 0}"},
    {.name = "parent_death_signal", .type = KEY_ANY_SIGNAL, FIELD(parent_death_signal), .fallback = "",
     .help = "what lastcall gets when the process that started it ends (-p SIGNAL)", .example = "TERM"},
    {.name = "drain.hold", .type = KEY_DURATION, FIELD(drain_hold_us), .fallback = "5s", .max_us = hour,
     .help = "after lastcall drain: how long the app is held at rest for the signal that follows"},
    {.name = "monitor.interval", .type = KEY_DURATION, FIELD(monitor_interval_us), .fallback = "60s",
     .min_us = second, .max_us = 24 * hour, .help = "how often the pools are looked at while the app runs"},
    {.name = "leak.stale", .type = KEY_DURATION, FIELD(leak_stale_us), .fallback = "10m", .min_us = second,
     .max_us = 8760 * hour, .help = "a connection left open and unused for longer is reported as stale"},
    {.name = "leak.transaction", .type = KEY_DURATION, FIELD(leak_transaction_us), .fallback = "60s",
     .min_us = second, .max_us = 8760 * hour,
     .help = "a transaction that was idle for longer at the signal is not waited for"},

    {.name = "hooks.pre_start", .type = KEY_HOOK, FIELD(hooks[HOOK_PRE_START].command), .fallback = "",
     .help = "done before the app is started; a list, a string for sh -c, or a URL that is called",
     .example = "[/usr/local/bin/migrate, --wait]"},
    {.name = "hooks.pre_start_timeout", .type = KEY_DURATION, FIELD(hooks[HOOK_PRE_START].timeout_us),
     .fallback = "5s", .min_us = second / 10, .max_us = hour, .help = "how long pre_start may take"},
    {.name = "hooks.pre_start_required", .type = KEY_BOOL, FIELD(pre_start_required), .fallback = "true",
     .help = "when pre_start fails, lastcall exits with 125; false: the app is started all the same"},
    {.name = "hooks.announce", .type = KEY_HOOK, FIELD(hooks[HOOK_ANNOUNCE].command), .fallback = "",
     .help = "done when a stop or a drain begins, which waits for it, but not for too long",
     .example = "http://127.0.0.1:8080/going-away"},
    {.name = "hooks.announce_timeout", .type = KEY_DURATION, FIELD(hooks[HOOK_ANNOUNCE].timeout_us),
     .fallback = "5s", .min_us = second / 10, .max_us = hour,
     .help = "how long announce may take; part of grace_period"},
    {.name = "hooks.post_stop", .type = KEY_HOOK, FIELD(hooks[HOOK_POST_STOP].command), .fallback = "",
     .help = "done when the stop is over and the report is written, within the grace",
     .example = "\"cp $LASTCALL_REPORT /reports/\""},
    {.name = "hooks.post_stop_timeout", .type = KEY_DURATION, FIELD(hooks[HOOK_POST_STOP].timeout_us),
     .fallback = "5s", .min_us = second / 10, .max_us = hour,
     .help = "how long post_stop may take; up to a tenth of grace_period is kept for it"},
    {.name = "wait_for", .type = KEY_TARGETS, FIELD(wait_for), .fallback = "",
     .help = "the app is started when these answer, after pre_start; all: all but look_only ones",
     .example = "[primary, cache]"},
    {.name = "wait_for_timeout", .type = KEY_DURATION, FIELD(wait_for_timeout_us), .fallback = "30s",
     .min_us = second / 10, .max_us = 24 * hour,
     .help = "how long they are waited for; then lastcall exits with 125"},
};

const struct key *key_find(const char *name)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

const struct key *key_find_environment(const char *variable)
{
    char name[64];
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        key_environment_name(&keys[i], name);
        const char *short_name = keys[i].short_environment;
        if (strcmp(name, variable) == 0 || (short_name && strcmp(short_name, variable) == 0))
            return &keys[i];
    }
    return NULL;
}

const struct key *key_find_option(const char *option)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (keys[i].option && strcmp(keys[i].option, option) == 0)
            return &keys[i];
    return NULL;
}

bool key_is_section(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (strncmp(keys[i].name, name, length) == 0 && keys[i].name[length] == '.')
            return true;
    return false;
}

void key_environment_name(const struct key *key, char at[static 64])
{
    int length = snprintf(at, 64, "LASTCALL_%s", key->name);
    for (int i = 0; i < length; i++)
        at[i] = at[i] == '.' ? '_' : (char)toupper((unsigned char)at[i]);
}
