/* The exit report: a finished record as one JSON object (schema "lastcall.report/1", in the README) and for people. */
#ifndef SUPERVISOR_REPORT_REPORT_H
#define SUPERVISOR_REPORT_REPORT_H

#include "common/error.h"
#include "common/text.h"
#include "supervisor/report/record.h"

/* Sets each leaked handle's kind from its last row: transaction open before half closed before over the limit before
 * stale before left open. Call once, when the outcomes are set. */
void report_classify(struct record *record);

/* The JSON, one line without a newline, on the heap; the caller frees it. NULL and errno ENOMEM. */
char *report_json(const struct record *record);

/* The same, at most `size` bytes with the NUL, leaving out connections when they do not fit, then targets: for
 * /dev/termination-log (1 KiB). NULL when even that does not fit. Heap; the caller frees it. */
char *report_json_short(const struct record *record, unsigned long size);

/* The human form: some lines, each ended by a newline. */
void report_human(const struct record *record, struct text *text);

/* Writes `json` and a newline to path: a temporary file beside it, then rename(2), 0644; a path that is no regular file
 * (a pipe, /dev/stderr, a bind-mounted file) is written in place without blocking. Returns 0, or -1 and why. */
int report_write_file(const char *path, const char *json, struct error *error);

#endif
