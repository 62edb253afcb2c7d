/* The options that the verbs of the control socket share: [NAME] [-o json|text] [--now] [--ready] [-h]. */
#ifndef CLI_VERB_OPTIONS_H
#define CLI_VERB_OPTIONS_H

#include <stdbool.h>

struct verb_options {
    const char *verb;       /* argv[0] */
    const char *usage;      /* one line, and lines of help */
    const char *flag;       /* the long option without a value that this verb takes besides, or NULL */
    const char *name;       /* out: the instance, or NULL */
    bool json, flag_given;  /* out */
};

/* Reads argv by getopt_long(3). Returns -1 when the verb may go on, else the exit code: 0 after --help, 2 after wrong usage
 * (said on standard error). */
int verb_options_read(struct verb_options *options, int argc, char **argv);

#endif
