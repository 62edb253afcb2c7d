/* The command line: one table of options for all verbs, from which --help is made, too. Options of keys (--grace …)
 * come from config/keys.h. Parsing stops at the first operand or "--", as tini's does. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum verb { VERB_RUN = 1, VERB_DRAIN = 2, VERB_RESUME = 4, VERB_STATUS = 8, VERB_CHECK = 16, VERB_DOCTOR = 32 };

enum { EXIT_USAGE = 2, EXIT_START_FAILURE = 125, OPTIONS_MOST = 64 };

struct options {
    enum verb verb;
    struct config_option config[OPTIONS_MOST]; /* run, check, doctor: what sets keys */
    size_t config_count;
    int verbosity;          /* of -v and -q, while parsing */
    const char *name;       /* drain, resume, status: the NAME operand; NULL: none given */
    bool now;               /* drain --now */
    bool ready;             /* status --ready */
    bool json;              /* -o json */
    bool example, reference; /* check, hidden */
    bool end_of_options;    /* "--" was seen */
    char **command;         /* run: the operands, NULL-ended; points into argv */
    int exit_code;          /* when options_parse() returned false */
};

/* Parses what follows the verb: argv[0] is the verb itself (or the program, for run), argv[argc] NULL. True: go on.
 * False: everything was said (--help, --version, or one line about what is wrong); exit with options->exit_code, which
 * is 0, EXIT_USAGE, or for run EXIT_START_FAILURE. */
bool options_parse(struct options *options, enum verb verb, int argc, char **argv);

/* Goes on parsing into the same struct: for "lastcall -v run --grace 5s -- command". */
bool options_parse_more(struct options *options, int argc, char **argv);

/* "lastcall: …" to standard error, one line. Returns the exit code for it: EXIT_START_FAILURE
 * for run, else EXIT_USAGE. */
int options_complain(enum verb verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The verb of that name, or 0. */
enum verb options_find_verb(const char *name);

/* The verb nearest to a mistyped one, or NULL. */
const char *options_nearest_verb(const char *name);

#endif
