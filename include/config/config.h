/* The configuration in force: one struct, filled from the command line, the environment, the file and the defaults, in
 * that precedence, by one table of keys (config/keys.h). Everything is checked before the app is started. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/log.h"
#include "wire/message.h"

enum stop_signal_to { SIGNAL_TO_AUTO, SIGNAL_TO_MAIN, SIGNAL_TO_GROUP, SIGNAL_TO_TREE };
enum stop_order { ORDER_DRAIN_FIRST, ORDER_SIGNAL_FIRST };
enum stop_listener { STOP_LISTENER_DROP, STOP_LISTENER_LEAVE, STOP_LISTENER_REFUSE };
enum stop_end { END_SIGNAL, END_KILL };
enum restart_policy { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };

/* Listening ports of the app that have an idle time of their own. */
enum { CONFIG_PORTS = 16 };
#define CONFIG_PORT_OFF INT64_C(-1)
struct config_ports {
    struct config_port {
        uint16_t port;
        int64_t idle_us; /* or CONFIG_PORT_OFF */
    } list[CONFIG_PORTS];
    size_t count;
};

enum log_format { LOG_FORMAT_TEXT };

/* What a hook does. `text` holds `count` strings, each with its NUL: the arguments of a list, else the one string. */
enum config_command_kind { COMMAND_NONE, COMMAND_SHELL, COMMAND_LIST, COMMAND_URL };
enum { COMMAND_ARGUMENTS = 32 };
struct config_command {
    enum config_command_kind kind;
    unsigned count;
    size_t used;                 /* bytes of text */
    char text[768];
};
enum config_hook_name { HOOK_PRE_START, HOOK_ANNOUNCE, HOOK_POST_STOP, HOOKS };
struct config_hook {
    struct config_command command;
    int64_t timeout_us;
};

struct config_target {
    char name[WIRE_NAME];
    enum target_kind kind;
    bool look_only;              /* used for looking only: the direct URL beside a pooler */
    int server;                  /* pgbouncer: index of the postgres target behind it, or -1 */
    int limit;                   /* the app's own pool: connection_limit of the URL, or `limit:`; -1: not declared */
    char params[WIRE_PARAMS];    /* as in struct message_target */
    char origin[128];            /* where it came from, for people: "DATABASE_URL", "lastcall.yaml:12:5" */
};

/* Where a key's value came from. For the environment and the options `written` is how the user named it
 * ("LASTCALL_GRACE=5s", "--grace"): shown up to a '='; it lives as long as the environment and main's argv. */
enum config_source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_OPTION };
struct config_origin {
    enum config_source source;
    unsigned line, column; /* FROM_FILE: of the value in config.file */
    const char *written;
};
enum { CONFIG_KEYS = 43 }; /* rows of config/keys.h; asserted there */

/* Numbers to numbers: signals, exit codes. What is not in it stays as it is. */
struct config_map {
    bool set[256];
    uint8_t to[256];
};

static inline int config_mapped(const struct config_map *map, int from)
{
    return from >= 0 && from < 256 && map->set[from] ? map->to[from] : from;
}

/* stop.sequence: in the order of the times, which count from the first signal that the app gets. */
enum { SEQUENCE_MOST = 8 };
struct config_sequence {
    unsigned count;
    struct {
        int signo;
        int64_t after_us; /* 0 only for the first: it is the stop signal itself */
    } list[SEQUENCE_MOST];
};

struct config {
    char instance[55]; /* names the socket and "lastcall/<instance>"; default: host name, "-pid" unless PID 1 */
    char file[256];              /* the file that was read, or empty */
    int64_t grace_period_us;
    char user[64];               /* empty: stay who we are */
    enum restart_policy restart_policy;
    int64_t restart_backoff_us, restart_backoff_max_us;
    unsigned restart_limit;      /* restarts within restart_window_us at most; 0: no limit */
    int64_t restart_window_us;
    bool sweep_predecessor;      /* end what one of the same instance has left on the servers */
    char report_file[256];       /* empty: none */
    bool report_termination_log; /* write /dev/termination-log when it exists */
    enum log_level log_level;
    bool log_reaped;             /* warn of each orphan that was reaped */
    char socket[108];            /* $LASTCALL_SOCKET; empty: by control_socket_directory() */
    char http_listen[128];       /* empty: no HTTP */

    uint64_t stop_signals;       /* bit n-1 for signal n */
    enum stop_signal_to stop_signal_to;
    int stop_signal;             /* what the app gets, whichever came; 0: not said */
    struct config_map stop_map;  /* by signal; to 0: swallowed */
    struct config_sequence stop_sequence;
    enum stop_order stop_order;
    enum stop_end stop_end;
    int64_t stop_settle_us;
    enum stop_listener stop_listener;
    int64_t stop_idle_us;        /* an inbound connection that is quiet for so long is idle; 0: the intake is off */
    struct config_ports stop_ports;
    struct config_map exit_codes; /* the app's → lastcall's */
    int parent_death_signal;     /* what lastcall gets when its parent dies; 0: nothing */
    int64_t drain_hold_us;
    int64_t monitor_interval_us;
    int64_t leak_stale_us;       /* an idle handle unused for longer is reported as stale */
    int64_t leak_transaction_us; /* a transaction idle for longer at the signal is not waited for */
    bool report_query_text;

    struct config_hook hooks[HOOKS];
    bool pre_start_required;     /* its failure keeps the app from starting */
    char wait_for[512];          /* names of targets with blanks between, or "all"; empty: none */
    int64_t wait_for_timeout_us;

    struct config_target targets[WIRE_TARGETS];
    size_t target_count;

    char **command;              /* the app's argv, NULL-ended; points into main's argv */

    struct config_origin origins[CONFIG_KEYS]; /* by the row of config/keys.h */
    bool targets_in_file;        /* the file has `targets:`, if only an empty map: the environment's are not read */
};

/* All that was found wrong, in the order it was found: every error at once, not the first one only. */
struct config_errors {
    struct error list[32];
    size_t count;                /* may be larger than the list: "… and N more" */
};

/* A value from the command line: the key of config/keys.h it sets, and how the user wrote the option ("--grace", or
 * "--grace=5s": shown up to the '='). */
struct config_option {
    const char *key, *value, *written;
};

/* Fills `config`. `options` come first, then LASTCALL_* of the environment, then the file (`--config`, LASTCALL_CONFIG,
 * or none), then the defaults. Targets: those of the file (`targets: {}` is none at all); when no file has `targets:`,
 * DATABASE_URL, DATABASE_URL_DIRECT (or DIRECT_URL, DIRECT_DATABASE_URL, DATABASE_URL_UNPOOLED) and REDIS_URL, each
 * also with _FILE appended: the value is then read from the named file. Does no I/O but reading those files and the
 * log: sets the log's level as soon as it is known, warns of unknown LASTCALL_* and of URLs that are not lastcall's
 * business. `config->command` becomes NULL: the caller sets it. Returns 0, or -1 with at least one error. */
int config_load(struct config *config, const struct config_option *options, size_t option_count,
                struct config_errors *errors);

/* Prints what is in force, as YAML that config_load() would take, each line with where it came from; passwords are
 * "****". Returns 0, or -1 when the stream failed. */
int config_print(const struct config *config, void *stdio_stream);

#endif
