/* A target in the making: what url.c, url_postgres.c, url_conninfo.c and url_redis.c share. Not for others. */
#ifndef CONFIG_URL_DRAFT_H
#define CONFIG_URL_DRAFT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"
#include "config/url.h"

/* A stretch of the URL, as it was written. at == NULL: not there. */
struct url_piece {
    const char *at;
    size_t length;
};

struct url_parts {
    struct url_piece user, password, host, port, path, query; /* path begins with '/' */
    bool bracketed;                                           /* host stood in [ ] */
};

enum { URL_KEYWORDS = 40 };

struct url_draft {
    const char *text;               /* the whole URL, for columns */
    struct url_target *target;
    struct error *error;
    enum url_verdict verdict;       /* what a failure is */
    const char *const *keywords;    /* in the order of the parameters, NULL at the end */
    const char *values[URL_KEYWORDS]; /* by keyword; into `arena` or literals; NULL: not set */
    bool secure;                    /* r2dbcs: */
    struct text stripped;
    size_t used;
    char arena[2 * URL_LONGEST + 256];
};

/* "column N: …" for the place `at` in the URL. Always returns -1. */
int url_draft_fail(struct url_draft *draft, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A copy that lives as long as the draft, percent-decoded or as it is. NULL after a failure was told. */
const char *url_draft_decode(struct url_draft *draft, struct url_piece piece);
const char *url_draft_copy(struct url_draft *draft, struct url_piece piece);

/* Sets a keyword of draft->keywords; an empty value unsets it. */
void url_draft_set(struct url_draft *draft, const char *keyword, const char *value);
const char *url_draft_get(const struct url_draft *draft, const char *keyword);

/* Notes a parameter that is left out. */
void url_draft_strip(struct url_draft *draft, const char *name);

/* Writes the values into the target's params. Returns 0, or -1 when they do not fit. */
int url_draft_emit(struct url_draft *draft);

/* Splits "//user:password@host:port/path?query", which begins at `at`. Returns 0, or -1 after a failure was told. */
int url_split(struct url_draft *draft, const char *at, struct url_parts *parts);

/* Cuts the next "name=value" off *query. False at its end. Without '=' the value is an empty piece. */
bool url_next_parameter(struct url_piece *query, struct url_piece *name, struct url_piece *value);

/* Checks one decoded host (a name, an address or a socket's directory) or port. Return 0, or -1 after a failure was
 * told; `at` is where it stood. */
int url_check_host(struct url_draft *draft, const char *at, const char *host);
int url_check_port(struct url_draft *draft, const char *at, const char *port);

/* Decodes and sets host and port of the authority, when they are there. Return 0, or -1 after a failure was told. */
int url_set_host(struct url_draft *draft, const struct url_parts *parts);
int url_set_decoded(struct url_draft *draft, const char *keyword, struct url_piece piece);

/* A whole number from 0 to `most` into *number. Returns 0, or -1 (nothing is told). */
int url_parse_number(const char *text, long most, long *number);

/* The readers: `rest` is what follows the scheme's colon. Return 0, or -1 after a failure was told. */
int url_read_postgres(struct url_draft *draft, const char *rest);
int url_read_jdbc(struct url_draft *draft, const char *rest);
int url_read_r2dbc(struct url_draft *draft, const char *rest);
int url_read_r2dbcs(struct url_draft *draft, const char *rest);
int url_read_conninfo(struct url_draft *draft, const char *text);
int url_read_redis(struct url_draft *draft, const char *rest);
int url_read_redis_unix(struct url_draft *draft, const char *rest);

/* One parameter of a PostgreSQL URL or conninfo string, and what is to be done when all are taken. */
int url_take_postgres(struct url_draft *draft, const char *name, const char *value, const char *at, bool conninfo);
int url_finish_postgres(struct url_draft *draft, bool conninfo);
void url_begin_postgres(struct url_draft *draft);

#endif
