/* An error with a story: what failed, where (file:line:column, option, URL column), and what to do about it.
 *
 * Functions that have such a story take a `struct error *` as their last argument and return -1; the caller owns the
 * struct. Text is bounded and may be cut; it never holds a password. */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

struct error {
    char text[512];
};

/* Formats the story into `error` (NULL is fine: then nothing is kept). Always returns -1, so it can be returned. */
int error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
