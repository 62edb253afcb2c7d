/* The errors of one file, gathered by the YAML reader, the table of keys and the targets, told in the file's order. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "config/yaml.h"

void yaml_errors_add(struct yaml_errors *errors, struct yaml_place at, const char *format, ...)
{
    va_list arguments;
    size_t row = errors->count++;
    if (row >= sizeof errors->list / sizeof *errors->list)
        return;
    struct yaml_error *error = &errors->list[row];
    error->at = at;
    va_start(arguments, format);
    vsnprintf(error->error.text, sizeof error->error.text, format, arguments);
    va_end(arguments);
}

static bool is_before(struct yaml_place a, struct yaml_place b)
{
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

/* By insertion: stable, and they are few and nearly in order. */
void yaml_errors_sort(struct yaml_errors *errors)
{
    size_t room = sizeof errors->list / sizeof *errors->list;
    size_t count = errors->count < room ? errors->count : room;
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && is_before(errors->list[j].at, errors->list[j - 1].at); j--) {
            struct yaml_error moved = errors->list[j];
            errors->list[j] = errors->list[j - 1];
            errors->list[j - 1] = moved;
        }
}
