/* Bounded text: appended to, never overflowing, always ended with NUL, and knowing whether it was cut. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *at;      /* the caller's memory */
    size_t size;   /* of that memory, the NUL included */
    size_t length; /* of the text, the NUL not included */
    bool cut;      /* something did not fit */
};

/* An empty text in `at`; size must be at least 1. */
struct text text_in(char *at, size_t size);

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *text, const char *bytes, size_t length);

/* Appends bytes that came from a server, an app or a user: printable UTF-8 stays, C0, DEL, C1, ESC, line and
 * paragraph separators, bidirectional controls and invalid UTF-8 become \xNN. What is appended is always valid UTF-8
 * on one line. Stops at `length` or at a NUL. */
void text_add_escaped(struct text *text, const char *bytes, size_t length);

/* Appends microseconds as people write them: "850us", "61 ms", "4.2 s", "4m12s", "3h05m". Negative: "unknown". */
void text_add_duration(struct text *text, long long us);

/* Copies a string into a fixed array, cutting it; true when all of it fitted. */
bool text_copy(char *at, size_t size, const char *from);

#endif
