/* Signal numbers and names: see common/signals.h. */
#include "common/signals.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const names[] = {
    [SIGHUP] = "SIGHUP", [SIGINT] = "SIGINT", [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL", [SIGTRAP] = "SIGTRAP",
    [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS", [SIGFPE] = "SIGFPE", [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1",
    [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2", [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [SIGTERM] = "SIGTERM",
    [SIGSTKFLT] = "SIGSTKFLT", [SIGCHLD] = "SIGCHLD", [SIGCONT] = "SIGCONT", [SIGSTOP] = "SIGSTOP",
    [SIGTSTP] = "SIGTSTP", [SIGTTIN] = "SIGTTIN", [SIGTTOU] = "SIGTTOU", [SIGURG] = "SIGURG", [SIGXCPU] = "SIGXCPU",
    [SIGXFSZ] = "SIGXFSZ", [SIGVTALRM] = "SIGVTALRM", [SIGPROF] = "SIGPROF", [SIGWINCH] = "SIGWINCH",
    [SIGIO] = "SIGIO", [SIGPWR] = "SIGPWR", [SIGSYS] = "SIGSYS"};
enum { NAMED = sizeof names / sizeof *names, REALTIME_FIRST = 34 };

const char *signal_name(int signo)
{
    static char other[SIGNAL_LAST + 1][16];
    if (signo > 0 && signo < NAMED && names[signo])
        return names[signo];
    if (signo < 1 || signo > SIGNAL_LAST)
        return "signal ?";
    if (signo >= REALTIME_FIRST)
        snprintf(other[signo], sizeof other[signo], "SIGRTMIN+%d", signo - REALTIME_FIRST);
    else
        snprintf(other[signo], sizeof other[signo], "signal %d", signo);
    return other[signo];
}

static int number_between(const char *text, int first, int last)
{
    char *end;
    long n = strtol(text, &end, 10);
    return *text && !*end && n >= first && n <= last ? (int)n : -1;
}

int signal_parse(const char *text)
{
    if (*text >= '0' && *text <= '9')
        return number_between(text, 1, SIGNAL_LAST);
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < NAMED; i++)
        if (names[i] && strcasecmp(text, names[i] + 3) == 0)
            return i;
    if (strcasecmp(text, "POLL") == 0)
        return SIGIO;
    if (strcasecmp(text, "RTMAX") == 0)
        return SIGNAL_LAST;
    if (strcasecmp(text, "RTMIN") == 0)
        return REALTIME_FIRST;
    if (strncasecmp(text, "RTMIN+", 6) == 0 && text[6] >= '0' && text[6] <= '9') {
        int n = number_between(text + 6, 0, SIGNAL_LAST - REALTIME_FIRST);
        return n < 0 ? -1 : REALTIME_FIRST + n;
    }
    return -1;
}
