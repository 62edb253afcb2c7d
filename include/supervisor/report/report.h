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

/* The same, at most `size` bytes with the NUL: for /dev/termination-log (1 KiB). What does not fit is left
 * out and named in "left_out": the connections first, then the details (command, phases, keys that are not
 * fixed), then the targets and the texts of "unknown". NULL when even that does not fit, or without memory.
 * Heap; the caller frees it. */
char *report_json_short(const struct record *record, unsigned long size);

/* The human form: at most about 60 lines, each ended by a newline; 32 KiB are always enough, hostile texts included. */
void report_human(const struct record *record, struct text *text);

/* Writes `json` and a newline to path: a temporary file beside it, then rename(2), 0644; symbolic links are followed. A
 * path that cannot be replaced (a pipe, a device, /dev/stderr, a bind-mounted file, a file in a directory that is not
 * ours) is written in place without blocking; standard output and error are appended to. Returns 0, or -1 and why: a
 * file is then as it was, or empty. */
int report_write_file(const char *path, const char *json, struct error *error);

#endif
