/* The help texts. Lines of options come from their tables; what has to fit into 24 lines is put together here. */
#include "cli/help.h"

#include <string.h>

#include "config/keys.h"

static const struct verb_help {
    enum verb verb;
    const char *usage, *help;
} verb_helps[] = {
    {VERB_RUN, "lastcall [run] [options] -- command...", "start the command, supervise it, stop it at rest"},
    {VERB_DRAIN, "lastcall drain [NAME] [--now] [-o json]", "bring the app to rest and let it run on (preStop)"},
    {VERB_RESUME, "lastcall resume [NAME] [-o json]", "call a drain off"},
    {VERB_STATUS, "lastcall status [NAME] [--ready] [-o json]", "what a running lastcall sees and does"},
    {VERB_CHECK, "lastcall check [options] [-o json]", "check the configuration, print what is in force"},
    {VERB_DOCTOR, "lastcall doctor [options] [-o json]", "what works here, what does not, and what cures it"},
};

static void print_usage(FILE *stream)
{
    for (size_t i = 0; i < sizeof verb_helps / sizeof *verb_helps; i++)
        fprintf(stream, "%s %-41s %s\n", i == 0 ? "usage:" : "      ", verb_helps[i].usage, verb_helps[i].help);
}

static void print_key_options(FILE *stream)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (!keys[i].option)
            continue;
        int width = fprintf(stream, "  --%s %s", keys[i].option, keys[i].argument);
        fprintf(stream, "%*s%s\n", width < 25 ? 25 - width : 1, "", keys[i].help);
    }
}

static void print_own(enum verb verb, FILE *stream)
{
    for (size_t i = 0; i < sizeof verb_helps / sizeof *verb_helps; i++)
        if (verb_helps[i].verb == verb)
            fprintf(stream, "usage: %s\n%s\n", verb_helps[i].usage, verb_helps[i].help);
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(row->verbs & verb) || !row->help)
            continue;
        int width = row->letter ? fprintf(stream, "  -%c, --%s", row->letter, row->name)
                                : fprintf(stream, "  --%s", row->name);
        width += fprintf(stream, "%s%s", row->argument ? " " : "", row->argument ? row->argument : "");
        fprintf(stream, "%*s%s\n", width < 25 ? 25 - width : 1, "", row->help);
    }
}

void help_print(enum verb verb, FILE *stream)
{
    if (verb != VERB_RUN && verb != VERB_CHECK && verb != VERB_DOCTOR) {
        print_own(verb, stream);
        return;
    }
    print_usage(stream);
    fprintf(stream, "\noptions (each also LASTCALL_... in the environment and a key of the file, in this order):\n");
    print_key_options(stream);
    fprintf(stream, "  -g | -c                signal the app's process group | only its main process\n"
                    "  -p SIGNAL | -w         lastcall gets SIGNAL when its parent ends | warn of reaped orphans\n"
                    "  -v | -q                log more | less        -o json   a verb's JSON     --help, --version\n");
}
