/* lastcall: which verb, and for `run` the configuration and the command. Nothing else is decided here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/verbs.h"
#include "config/errors.h"

static int run(const struct options *options)
{
    static struct config config;
    static struct config_errors errors;
    size_t room = sizeof errors.list / sizeof *errors.list;
    if (!options->command || !*options->command)
        return options_complain(VERB_RUN, "no command: write lastcall [options] -- command [args...]");
    int failed = config_load(&config, options->config, options->config_count, &errors);
    for (size_t i = 0; i < MIN(errors.count, room); i++)
        log_error("%s", errors.list[i].text);
    if (errors.count > room)
        log_error("... and %zu more", errors.count - room);
    if (failed)
        return EXIT_START_FAILURE;
    config.command = options->command;
    return verb_run(&config);
}

static int run_from_verb(int argc, char **argv)
{
    struct options options;
    return options_parse(&options, VERB_RUN, argc, argv) ? run(&options) : options.exit_code;
}

static const struct verb_row {
    enum verb verb;
    int (*call)(int argc, char **argv);
} verb_rows[] = {
    {VERB_RUN, run_from_verb}, {VERB_DRAIN, verb_drain}, {VERB_RESUME, verb_resume}, {VERB_STATUS, verb_status},
    {VERB_CHECK, verb_check}, {VERB_DOCTOR, verb_doctor},
};

static int call_verb(enum verb verb, int argc, char **argv)
{
    size_t i = 0;
    while (verb_rows[i].verb != verb)
        i++;
    return verb_rows[i].call(argc, argv);
}

/* Is there a command of that name in PATH? Asked only about what may be a mistyped verb. */
static bool is_command(const char *name)
{
    const char *path = getenv("PATH");
    char file[512];
    for (const char *at = path ? path : "/usr/local/bin:/usr/bin:/bin"; *at;) {
        size_t length = strcspn(at, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)length, length ? at : ".", name);
        if (access(file, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* "lastcall drian": an operand that is no verb is a command, unless it is none and nearly a verb. */
static int check_mistyped(const char *name)
{
    char shown[100];
    const char *nearest = options_nearest_verb(name);
    if (!nearest || strchr(name, '/') || is_command(name))
        return 0;
    config_show_key(shown, sizeof shown, name);
    fprintf(stderr, "lastcall: '%s' is neither a verb nor a command: did you mean %s?\n", shown, nearest);
    return EXIT_USAGE;
}

/* "lastcall [options] [--] command…", "lastcall [options] run …". */
static int run_without_verb(int argc, char **argv)
{
    struct options options;
    if (!options_parse(&options, VERB_RUN, argc, argv))
        return options.exit_code;
    char **command = options.command;
    if (!command || !*command || options.end_of_options)
        return run(&options);
    enum verb verb = options_find_verb(*command);
    if (verb == VERB_RUN)
        return options_parse_more(&options, argc - (int)(command - argv), command) ? run(&options) : options.exit_code;
    if (verb)
        return options_complain(verb, "options stand behind the verb: lastcall %s [options]", *command);
    int mistyped = check_mistyped(*command);
    return mistyped ? mistyped : run(&options);
}

int main(int argc, char **argv)
{
    log_init("lastcall", LOG_LEVEL_INFO);
    enum verb verb = argc > 1 ? options_find_verb(argv[1]) : 0;
    return verb ? call_verb(verb, argc - 1, argv + 1) : run_without_verb(argc, argv);
}
