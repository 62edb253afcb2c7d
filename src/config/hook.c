/* Hooks as they are written: see config/hook.h. Runs nothing, and does not look whether what is named is there. */
#include "config/hook.h"

#include <string.h>

#include "common/http_url.h"
#include "config/print.h"

void hook_clear(struct config_command *command)
{
    *command = (struct config_command){.kind = COMMAND_NONE};
}

/* A line end in a shell's command is fine; other control characters are mistakes. */
static int check_characters(const char *value, struct error *error)
{
    for (const char *at = value; *at; at++)
        if (((unsigned char)*at < ' ' && *at != '\n' && *at != '\t') || *at == 0x7f)
            return error_set(error, "holds a control character");
    return 0;
}

static int append(struct config_command *command, const char *value, struct error *error)
{
    size_t size = strlen(value) + 1;
    if (check_characters(value, error) == -1)
        return -1;
    if (size > sizeof command->text - command->used || command->count == COMMAND_ARGUMENTS)
        return error_set(error, "is too long: at most %u arguments and %zu bytes; put it into a script",
                         COMMAND_ARGUMENTS, sizeof command->text - 1);
    memcpy(command->text + command->used, value, size);
    command->used += size;
    command->count++;
    return 0;
}

int hook_set(struct config_command *command, const char *value, struct error *error)
{
    struct http_url url;
    struct config_command made = {.kind = COMMAND_NONE};
    bool is_url = http_url_is_meant(value);
    if (is_url && http_url_parse(&url, value, error) == -1)
        return -1;
    if (value[strspn(value, " \t\n")] != '\0') {
        made.kind = is_url ? COMMAND_URL : COMMAND_SHELL;
        if (append(&made, value, error) == -1)
            return -1;
    }
    *command = made;
    return 0;
}

int hook_add(struct config_command *command, const char *argument, struct error *error)
{
    if (command->count == 0 && http_url_is_meant(argument))
        return error_set(error, "is a URL and stands in a list: write it without the [ ]");
    if (command->count == 0 && *argument == '\0')
        return error_set(error, "names no command");
    command->kind = COMMAND_LIST;
    return append(command, argument, error);
}

const char *hook_argument(const struct config_command *command, unsigned n)
{
    const char *at = command->text;
    while (n-- > 0)
        at += strlen(at) + 1;
    return at;
}

void hook_format(const struct config_command *command, struct text *text)
{
    if (command->kind != COMMAND_LIST) {
        text_add(text, "%s", command->text);
        return;
    }
    for (unsigned i = 0; i < command->count; i++) {
        text_add(text, i == 0 ? "[" : ", ");
        print_scalar(hook_argument(command, i), text);
    }
    text_add(text, "]");
}
