/* --help, made from the tables of verbs, options and keys: at most 24 lines. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/options.h"

/* A row of the one table of options. `take` returns false when all was said and options->exit_code is set. */
struct option_row {
    const char *name;     /* without "--", or NULL */
    char letter;          /* 0: none */
    const char *argument; /* what it wants, for people; NULL: nothing */
    unsigned verbs;       /* which verbs have it: bits of enum verb */
    bool (*take)(struct options *options, const struct option_row *row, const char *written, const char *value);
    const char *key, *value; /* set_key(): what it sets; else the handler's own */
    const char *help;     /* NULL: not in a list of its own */
};
extern const struct option_row option_rows[];
extern const size_t option_row_count;

void help_print(enum verb verb, FILE *stream);

#endif
