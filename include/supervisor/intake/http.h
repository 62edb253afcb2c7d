/* Is it plain HTTP/1.x? Pure. The one place where lastcall looks at a byte that a client sent: only at what it is, to
 * answer that nobody will; nothing in it is followed. */
#ifndef SUPERVISOR_INTAKE_HTTP_H
#define SUPERVISOR_INTAKE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* True when the bytes begin with a whole request line (RFC 9112, 3): METHOD SP target SP HTTP/1.0 or 1.1 CRLF. */
bool http_is_request(const char *bytes, size_t length);

/* "503 Service Unavailable", to be closed. */
extern const char http_unavailable[];

#endif
