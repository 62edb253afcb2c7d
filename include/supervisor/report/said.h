/* Texts of the app, its servers and its user on their way into a report: one line, printable, bounded, and without what
 * looks like a password. */
#ifndef SUPERVISOR_REPORT_SAID_H
#define SUPERVISOR_REPORT_SAID_H

#include <stddef.h>

#include "common/text.h"
#include "wire/message.h"

enum { SAID_ROOM = 4096 }; /* bytes that hold any text of this module */

/* A query's beginning: white space becomes single spaces; what follows the word "password" is left out, and so are
 * passwords in URLs; "…" when it was cut. */
void said_query(struct text *text, const char query[static WIRE_QUERY]);

/* One argument of a command, at most 512 bytes of it. Left out, and written as "****": passwords in URLs, and what
 * follows "=" in an argument that names a password, a secret or a token. `previous` is the argument before it, or NULL:
 * behind an option of such a name ("--password", "x") all of the argument is left out. */
void said_argument(struct text *text, const char *argument, const char *previous);

/* How many columns of a terminal the text takes: its code points. */
size_t said_width(const char *text);

#endif
