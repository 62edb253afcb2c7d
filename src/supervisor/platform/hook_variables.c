/* The environment of hooks: see supervisor/platform/hook_variables.h. Copies no value of ours: it points to them. */
#include "supervisor/platform/hook_variables.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "config/config.h"
#include "supervisor/app/spawn.h"

static const char *const names[VARIABLES] = {
    [VARIABLE_HOOK] = "LASTCALL_HOOK=",           [VARIABLE_INSTANCE] = "LASTCALL_INSTANCE=",
    [VARIABLE_REASON] = "LASTCALL_REASON=",       [VARIABLE_EXIT_CODE] = "LASTCALL_EXIT_CODE=",
    [VARIABLE_REPORT] = "LASTCALL_REPORT=",       [VARIABLE_ABORTED] = "LASTCALL_ABORTED=",
    [VARIABLE_LEAKED] = "LASTCALL_LEAKED=",
};

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Sockets that systemd hands on are the app's (sd_listen_fds(3)); so is the watchdog. Ours are set anew. */
static bool is_for_hooks(const char *variable)
{
    if (begins_with(variable, "LISTEN_") || begins_with(variable, "WATCHDOG_"))
        return false;
    for (int i = 0; i < VARIABLES; i++)
        if (begins_with(variable, names[i]))
            return false;
    return true;
}

int hook_variables_init(struct hook_variables *variables, char *const *environment)
{
    size_t count = 0;
    while (environment[count])
        count++;
    *variables = (struct hook_variables){.base = calloc(count + 1, sizeof(char *)),
                                         .envp = calloc(VARIABLES + count + 1, sizeof(char *)),
                                         .room = calloc(SPAWN_ROOM(VARIABLES + count, COMMAND_ARGUMENTS + WIRE_TARGETS),
                                                        sizeof(char *))};
    if (!variables->base || !variables->envp || !variables->room) {
        hook_variables_finish(variables);
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        if (is_for_hooks(environment[i]))
            variables->base[variables->base_count++] = environment[i];
    return 0;
}

void hook_variables_finish(struct hook_variables *variables)
{
    free(variables->base);
    free(variables->envp);
    free(variables->room);
    *variables = (struct hook_variables){.base_count = 0};
}

void hook_variables_set(struct hook_variables *variables, enum hook_variable which, const char *format, ...)
{
    char value[280];
    va_list arguments;
    struct text text = text_in(variables->text[which], sizeof variables->text[which]);
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    text_add(&text, "%s%s", names[which], value);
}

char *const *hook_variables_list(struct hook_variables *variables)
{
    size_t count = 0;
    for (int i = 0; i < VARIABLES; i++)
        if (variables->text[i][0])
            variables->envp[count++] = variables->text[i];
    memcpy(variables->envp + count, variables->base, variables->base_count * sizeof(char *));
    variables->envp[count + variables->base_count] = NULL;
    return variables->envp;
}
