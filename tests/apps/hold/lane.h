/* What the C apps of the hold rows share: parameters, and the journal (../journal.py, lane.py: what its lines mean). */
#ifndef TESTS_APPS_HOLD_LANE_H
#define TESTS_APPS_HOLD_LANE_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

static int lane_journal = -1;

static inline double lane_setting(const char *name, double otherwise)
{
    const char *value = getenv(name);
    return value ? atof(value) : otherwise;
}

static inline double lane_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline void lane_pause_ms(double ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1e3)};
    time.tv_nsec = (long)((ms - (double)time.tv_sec * 1e3) * 1e6);
    nanosleep(&time, NULL);
}

/* One write for the whole text, so that a kill leaves whole lines. */
__attribute__((format(printf, 1, 2))) static inline void lane_say(const char *format, ...)
{
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof text - 2)
        length = (int)sizeof text - 2;
    text[length] = '\n';
    if (lane_journal >= 0 && write(lane_journal, text, (size_t)length + 1) < 0)
        abort();
}

static inline void lane_confirm(const char *id, double began)
{
    lane_say("C %s\nT %s %.1f %.1f", id, id, began, lane_now_ms());
}

static inline void lane_see_error(const char *id, const char *why)
{
    lane_say("E %s %.*s", id, (int)strcspn(why, "\n"), why);
}

static inline void lane_open_journal(void)
{
    const char *path = getenv("JOURNAL");
    lane_journal = open(path ? path : "/dev/null", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
}

static inline void lane_die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(2);
}

/* DATABASE_URL without what libpq does not know. */
static inline PGconn *lane_connect(void)
{
    const char *url = getenv("DATABASE_URL");
    char *copy = strdup(url ? url : "");
    char *foreign = strstr(copy, "?pgbouncer=true");
    if (foreign)
        *foreign = '\0';
    PGconn *connection = PQconnectdb(copy);
    free(copy);
    if (PQstatus(connection) != CONNECTION_OK)
        lane_die("connect", PQerrorMessage(connection));
    return connection;
}

#endif
