/* Connection URLs as applications write them, into the parameters that lastcall-agent connects with.
 *
 * PostgreSQL: libpq's URIs and "key=value" strings, Prisma's, SQLAlchemy's (postgresql+driver://), Django's
 * (postgis://), Ecto's, JDBC's and R2DBC's. Redis: redis://, valkey://, unix://. Nothing is passed on that is not
 * understood: libpq takes an unknown scheme, password included, for a database name. Reads text only: no file, no name
 * service. */
#ifndef CONFIG_URL_H
#define CONFIG_URL_H

#include "common/error.h"
#include "wire/message.h"

enum { URL_LONGEST = 4000 }; /* bytes of a URL */

struct url_target {
    enum target_kind kind;    /* TARGET_PGBOUNCER only when the URL says pgbouncer=true */
    int limit;                /* connection_limit and its like; -1: not declared */
    char params[WIRE_PARAMS]; /* as in struct message_target */
    char stripped[256];       /* names of the parameters that were left out, ", " between; escaped */
};

enum url_verdict {
    URL_OK,
    URL_BROKEN,  /* meant for lastcall, but wrong or not supported: error says "column 17: …" */
    URL_FOREIGN, /* another database's (mysql://, sqlite:…): error says so, too */
};

/* Reads a URL. Columns count bytes from 1. Neither `error` nor `stripped` ever holds a part of the URL that could be of
 * its password: only the scheme and names of parameters are quoted. */
enum url_verdict url_read(struct url_target *target, const char *text, struct error *error);

/* The value of `keyword` in params, or NULL. */
const char *url_param(const char *params, const char *keyword);

/* True for the keywords whose values must never be shown. */
_Bool url_param_is_secret(const char *keyword);

#endif
