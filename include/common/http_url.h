/* An http:// URL that a hook calls: taken apart, or refused with what to write instead. Pure. */
#ifndef COMMON_HTTP_URL_H
#define COMMON_HTTP_URL_H

#include <stdbool.h>

#include "common/error.h"

struct http_url {
    char method[8];  /* "GET", "POST" */
    char host[256];  /* a name or an address, without brackets */
    char port[8];    /* digits */
    char path[768];  /* "/…", with the query */
};

/* Does the text mean a URL ("http://…", "https://…", "POST http://…"), and not a shell's command? */
bool http_url_is_meant(const char *text);

/* RFC 3986, of it: http://HOST[:PORT][/PATH][?QUERY], a method and a blank before it if it is not GET. No user, no
 * password, no fragment. Returns 0, or -1 and what is wrong with it. */
int http_url_parse(struct http_url *url, const char *text, struct error *error);

#endif
