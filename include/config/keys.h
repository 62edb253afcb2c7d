/* The one table of configuration keys. From it come the YAML validator, the environment's variables, the options with
 * their --help, the commented example file and the reference. A new key is a row here and a field in struct config. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "config/config.h"

enum key_type {
    KEY_DURATION, /* int64_t of microseconds */
    KEY_COUNT,    /* unsigned */
    KEY_BOOL,     /* bool */
    KEY_CHOICE,   /* an enum of int's size: one of `choices` */
    KEY_NAME,     /* char[]: letters, digits, '.', '_', '-' */
    KEY_PATH,     /* char[] */
    KEY_SIGNALS,  /* uint64_t, bit n-1 for signal n */
    KEY_STOP_SIGNAL, /* int: a signal that may stop an app; 0: none */
    KEY_ANY_SIGNAL,  /* int; 0: none */
    KEY_SIGNAL_MAP,  /* struct config_map */
    KEY_EXIT_CODES,  /* struct config_map */
    KEY_SEQUENCE,    /* struct config_sequence */
    KEY_USER,     /* char[]: as user_look_up() takes it */
    KEY_PORTS,    /* struct config_ports: "9000=off, 8080=50ms" */
    KEY_LISTEN,   /* char[]: "ADDRESS:PORT" or "unix:PATH" */
    KEY_HOOK,     /* struct config_command */
    KEY_TARGETS,  /* char[]: names of targets with blanks between, or "all" */
    KEY_TYPES
};

struct key_choice {
    const char *name;
    int value;
};

struct key {
    const char *name;                 /* "stop.signals" */
    enum key_type type;
    size_t offset, size;              /* of the field in struct config */
    const char *fallback;             /* the default as one would write it; "": none */
    int64_t min_us, max_us;           /* KEY_DURATION */
    unsigned most;                    /* KEY_COUNT */
    const struct key_choice *choices; /* KEY_CHOICE: ended by a NULL name */
    bool not_in_file;                 /* environment and options only */
    const char *short_environment;    /* a fixed name besides LASTCALL_<KEY>, or NULL */
    const char *option, *argument;    /* "grace", "TIME" for --grace TIME; NULL: none */
    const char *help;                 /* one line: what it means */
    const char *example;              /* a value to show where the default is none; NULL: show the default */
};

extern const struct key keys[CONFIG_KEYS];

/* The row of that name, or NULL. */
const struct key *key_find(const char *name);

/* The row that a variable such as LASTCALL_GRACE or LASTCALL_GRACE_PERIOD sets, or NULL. */
const struct key *key_find_environment(const char *variable);

/* The row behind an option's name (without "--"), or NULL. */
const struct key *key_find_option(const char *option);

/* True when `name` is the first part of some key ("stop" of "stop.signals"). */
bool key_is_section(const char *name);

/* "LASTCALL_STOP_SIGNALS": into `at`, which needs 64 bytes. */
void key_environment_name(const struct key *key, char at[static 64]);

#endif
