/* The few options of the verbs that ask a running supervisor. */
#include "cli/verb_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_FLAG = 256 };

static int wrong_usage(const struct verb_options *options)
{
    fprintf(stderr, "usage: lastcall %s\n", options->usage);
    return 2;
}

static int read_output(struct verb_options *options, const char *value)
{
    options->json = strcmp(value, "json") == 0;
    if (options->json || strcmp(value, "text") == 0)
        return -1;
    fprintf(stderr, "lastcall %s: -o %s: the output is json or text\n", options->verb, value);
    return 2;
}

static int take_option(struct verb_options *options, int option)
{
    switch (option) {
    case 'h':
        printf("usage: lastcall %s\n", options->usage);
        return 0;
    case 'o':
        return read_output(options, optarg);
    case OPTION_FLAG:
        options->flag_given = true;
        return -1;
    default:
        return wrong_usage(options);
    }
}

int verb_options_read(struct verb_options *options, int argc, char **argv)
{
    const struct option known[] = {
        {"help", no_argument, NULL, 'h'},
        {"output", required_argument, NULL, 'o'},
        {options->flag, no_argument, NULL, OPTION_FLAG}, /* without a flag the table ends here */
        {NULL, 0, NULL, 0},
    };
    static char program[64]; /* argv keeps it */
    snprintf(program, sizeof program, "lastcall %s", options->verb);
    argv[0] = program; /* getopt's messages begin with it */
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, "ho:", known, NULL)) != -1;) {
        int code = take_option(options, option);
        if (code != -1)
            return code;
    }
    if (argc - optind > 1)
        return wrong_usage(options);
    options->name = optind < argc ? argv[optind] : NULL;
    return -1;
}
