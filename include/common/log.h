/* The log: one line a record to standard error, which must never block the program.
 *
 * Standard error may be a full pipe, a stopped terminal or a socket. O_NONBLOCK on descriptor 2 would be the app's too,
 * so the log writes through a description of its own (/proc/self/fd/2 opened again), by send(MSG_DONTWAIT) to a socket,
 * or by pwritev2(RWF_NOWAIT). A line that cannot be written at once is dropped and counted; the count is said in the
 * next line that gets through. Under journald (JOURNAL_STREAM names descriptor 2) lines carry "<N>" priorities. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `program` is the prefix of each line ("lastcall", "lastcall-agent"); must outlive the log. May be called again. */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_level(void);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Writes `text` (whole lines, without prefix) by the same rules: for the report. Never blocks; drops what does not fit
 * and returns how many bytes were written. */
unsigned long log_raw(const char *text, unsigned long length);

#endif
