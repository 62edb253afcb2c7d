/* Reading and writing durations. Whole numbers with units, largest unit first, each once: exact, never a float. */
#include "config/duration.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "common/clock.h"

static const struct unit {
    const char *name;
    int64_t us;
} units[] = {
    {"h", 3600 * US_PER_SECOND},
    {"m", 60 * US_PER_SECOND},
    {"s", US_PER_SECOND},
    {"ms", US_PER_MS},
};
enum { UNITS = sizeof units / sizeof *units };

static int read_number(const char **at, int64_t *number)
{
    if (!isdigit((unsigned char)**at))
        return -1;
    for (*number = 0; isdigit((unsigned char)**at); (*at)++) {
        if (*number > INT64_C(100000000000))
            return -1;
        *number = *number * 10 + (**at - '0');
    }
    return 0;
}

/* The row of the unit that starts at *at, which is moved behind it; `from` is the first row allowed. */
static size_t read_unit(const char **at, size_t from)
{
    size_t length = strspn(*at, "hms");
    for (size_t i = from; i < UNITS; i++)
        if (strlen(units[i].name) == length && strncmp(*at, units[i].name, length) == 0) {
            *at += length;
            return i;
        }
    return UNITS;
}

int duration_parse(const char *text, int64_t *us)
{
    int64_t sum = 0, number, part;
    size_t next = 0;
    const char *at = text;
    do {
        if (read_number(&at, &number) == -1)
            return -1;
        bool bare = *at == '\0' && next == 0;
        size_t row = bare ? 2 : read_unit(&at, next);
        if (row == UNITS || __builtin_mul_overflow(number, units[row].us, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return -1;
        next = row + 1;
    } while (*at != '\0');
    *us = sum;
    return 0;
}

void duration_format(int64_t us, struct text *text)
{
    if (us < US_PER_MS) {
        text_add(text, "0s");
        return;
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (us >= units[i].us)
            text_add(text, "%lld%s", (long long)(us / units[i].us), units[i].name);
        us %= units[i].us;
    }
}
