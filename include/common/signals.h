/* Signal numbers and names (signal(7)). */
#ifndef COMMON_SIGNALS_H
#define COMMON_SIGNALS_H

#include <stdint.h>

#define SIGNAL_BIT(n) (UINT64_C(1) << ((n) - 1))
enum { SIGNAL_LAST = 64 };

/* "SIGTERM", "SIGRTMIN+3", "signal 32": into a static table, never NULL. Unknown numbers: "signal ?". */
const char *signal_name(int signo);

/* "TERM", "SIGTERM", "term", "15", "RTMIN+3" → the number, or -1. */
int signal_parse(const char *text);

#endif
