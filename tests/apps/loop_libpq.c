/* One event loop in C: THREADS lanes, each a libpq connection in non-blocking mode and, with REDIS_URL, a hiredis one;
 * transactions of 5-50 ms of several statements, then MULTI/EXEC; quiet together 20 % of the time by the same
 * clock and with the same journal as the Python apps (journal.py says both). HANDLER=good: on SIGTERM finish,
 * close and exit with 0.
 *
 * Never blocks but in poll(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <libpq-fe.h>

enum { LANES = 64, STEPS = 5 };
enum doing { WAITS_FOR_TURN, PAUSES, ASKS_POSTGRES, ASKS_REDIS, ENDED };

struct lane {
    PGconn *pg;
    redisContext *redis;
    enum doing doing;
    int step, turn, number, redis_replies;
    double at_ms;       /* PAUSES, WAITS_FOR_TURN: until when */
    double pause_ms;    /* between two statements of this transaction */
    char id[64];
};

static volatile sig_atomic_t stopping;
static int journal = -1;
static double period, quiet, longest, shortest;

static void on_term(int signo)
{
    stopping = signo;
}

static double setting(const char *name, double fallback)
{
    const char *value = getenv(name);
    return value ? atof(value) : fallback;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length] = '\n';
    if (journal >= 0 && write(journal, line, (size_t)length + 1) < 0)
        abort();
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "loop_libpq: %s: %s\n", what, why);
    exit(2);
}

static void see_error(struct lane *lane, const char *why)
{
    say("E %s %.*s", lane->id, (int)strcspn(why, "\n"), why);
    lane->doing = ENDED;
}

static double next_turn(double now)
{
    double at = now - period * (double)(long long)(now / period);
    return quiet <= 0 || at < period - quiet - longest ? now : now + period - at;
}

static void pause_until(struct lane *lane, enum doing doing, double at_ms)
{
    lane->doing = doing;
    lane->at_ms = at_ms;
}

static void send_step(struct lane *lane)
{
    char text[160];
    const char *steps[STEPS] = {"BEGIN", NULL, "SELECT sum(hits) FROM tally WHERE n < 50",
                                "UPDATE tally SET hits = hits + 1 WHERE n = (random() * 99)::int", "COMMIT"};
    snprintf(text, sizeof text, "INSERT INTO work(id) VALUES ('%s')", lane->id);
    if (!PQsendQuery(lane->pg, steps[lane->step] ? steps[lane->step] : text))
        see_error(lane, PQerrorMessage(lane->pg));
    else
        lane->doing = ASKS_POSTGRES;
}

static void begin_transaction(struct lane *lane)
{
    double length = shortest + (longest - shortest) * (double)(rand() % 1000) / 1000;
    snprintf(lane->id, sizeof lane->id, "%d.%d.%d", getpid(), lane->number, ++lane->turn);
    lane->pause_ms = length * 0.8 / (STEPS - 1);
    lane->step = 0;
    say("I %s", lane->id);
    send_step(lane);
}

static void send_to_redis(struct lane *lane)
{
    redisAppendCommand(lane->redis, "MULTI");
    redisAppendCommand(lane->redis, "INCR count");
    redisAppendCommand(lane->redis, "RPUSH work %s", lane->id);
    redisAppendCommand(lane->redis, "EXEC");
    lane->redis_replies = 4;
    lane->doing = ASKS_REDIS;
}

static void step_is_done(struct lane *lane)
{
    if (++lane->step < STEPS) {
        pause_until(lane, PAUSES, now_ms() + lane->pause_ms);
        return;
    }
    say("C %s", lane->id);
    if (lane->redis)
        send_to_redis(lane);
    else
        pause_until(lane, WAITS_FOR_TURN, next_turn(now_ms() + 1));
}

static void read_postgres(struct lane *lane)
{
    if (!PQconsumeInput(lane->pg)) {
        see_error(lane, PQerrorMessage(lane->pg));
        return;
    }
    while (!PQisBusy(lane->pg)) {
        PGresult *result = PQgetResult(lane->pg);
        if (!result) {
            step_is_done(lane);
            return;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            see_error(lane, PQresultErrorMessage(result));
        PQclear(result);
        if (lane->doing == ENDED)
            return;
    }
}

static void read_redis(struct lane *lane)
{
    void *reply = NULL;
    if (redisBufferRead(lane->redis) != REDIS_OK) {
        see_error(lane, lane->redis->errstr);
        return;
    }
    while (redisGetReplyFromReader(lane->redis, &reply) == REDIS_OK && reply) {
        freeReplyObject(reply);
        reply = NULL;
        if (--lane->redis_replies > 0)
            continue;
        say("R %s", lane->id);
        pause_until(lane, WAITS_FOR_TURN, next_turn(now_ms() + 1));
        return;
    }
}

/* What this lane waits for, into `at`; how long, at most, is returned (milliseconds from `now`). */
static double lane_wait(struct lane *lane, struct pollfd *at, double now)
{
    int done = 0;
    at->fd = -1;
    at->events = POLLIN;
    switch (lane->doing) {
    case ASKS_POSTGRES:
        at->fd = PQsocket(lane->pg);
        if (PQflush(lane->pg) > 0)
            at->events |= POLLOUT;
        return 1000;
    case ASKS_REDIS:
        at->fd = lane->redis->fd;
        if (redisBufferWrite(lane->redis, &done) == REDIS_OK && !done)
            at->events |= POLLOUT;
        return 1000;
    case ENDED:
        return 1000;
    default:
        return lane->at_ms > now ? lane->at_ms - now : 0;
    }
}

static void lane_go_on(struct lane *lane, short events, double now)
{
    bool due = lane->at_ms <= now;
    if (lane->doing == ASKS_POSTGRES && (events & (POLLIN | POLLHUP | POLLERR)))
        read_postgres(lane);
    else if (lane->doing == ASKS_REDIS && (events & (POLLIN | POLLHUP | POLLERR)))
        read_redis(lane);
    else if (lane->doing == PAUSES && due)
        send_step(lane);
    else if (lane->doing == WAITS_FOR_TURN && due && stopping)
        lane->doing = ENDED;
    else if (lane->doing == WAITS_FOR_TURN && due && next_turn(now) > now)
        pause_until(lane, WAITS_FOR_TURN, next_turn(now));
    else if (lane->doing == WAITS_FOR_TURN && due)
        begin_transaction(lane);
}

static void loop(struct lane *lanes, int count)
{
    struct pollfd set[LANES];
    for (int ended = 0; ended < count || !stopping;) {
        double now = now_ms(), wait = 1000;
        for (int i = 0; i < count; i++) {
            double lane_ms = lane_wait(&lanes[i], &set[i], now);
            wait = lane_ms < wait ? lane_ms : wait;
        }
        if (poll(set, (nfds_t)count, (int)wait + (wait > 0)) < 0 && errno != EINTR)
            die("poll", strerror(errno));
        now = now_ms();
        ended = 0;
        for (int i = 0; i < count; i++) {
            lane_go_on(&lanes[i], set[i].fd >= 0 ? set[i].revents : 0, now);
            ended += lanes[i].doing == ENDED;
        }
    }
}

/* libpq does not know `pgbouncer=true`: cut out of the URL, in place. */
static char *libpq_url(void)
{
    char *url = strdup(getenv("DATABASE_URL") ? getenv("DATABASE_URL") : "");
    char *parameter = strstr(url, "pgbouncer=true");
    if (parameter) {
        size_t length = strlen("pgbouncer=true") + (parameter[strlen("pgbouncer=true")] == '&');
        memmove(parameter, parameter + length, strlen(parameter + length) + 1);
        if (url[strlen(url) - 1] == '?' || url[strlen(url) - 1] == '&')
            url[strlen(url) - 1] = '\0';
    }
    return url;
}

static redisContext *connect_redis(const char *url)
{
    char host[64] = "";
    int port = 0, db = 0;
    if (sscanf(url, "redis://%63[^:]:%d/%d", host, &port, &db) < 2)
        die("REDIS_URL", "want redis://host:port/db");
    redisContext *redis = redisConnect(host, port);
    if (!redis || redis->err)
        die("redis", redis ? redis->errstr : "no memory");
    freeReplyObject(redisCommand(redis, "SELECT %d", db));
    fcntl(redis->fd, F_SETFL, fcntl(redis->fd, F_GETFL) | O_NONBLOCK);
    redis->flags &= ~0x1; /* REDIS_BLOCK: from here on the loop says when */
    return redis;
}

static void open_lane(struct lane *lane, int number, const char *url)
{
    lane->number = number;
    lane->pg = PQconnectdb(url);
    if (PQstatus(lane->pg) != CONNECTION_OK)
        die("postgres", PQerrorMessage(lane->pg));
    PQsetnonblocking(lane->pg, 1);
    if (getenv("REDIS_URL"))
        lane->redis = connect_redis(getenv("REDIS_URL"));
    pause_until(lane, WAITS_FOR_TURN, next_turn(now_ms()));
}

int main(void)
{
    static struct lane lanes[LANES];
    int count = (int)setting("THREADS", 8);
    char *url = libpq_url();
    const char *handler = getenv("HANDLER"), *file = getenv("JOURNAL");
    period = setting("PERIOD_MS", 300), quiet = setting("QUIET_MS", 60);
    longest = setting("LONGEST_MS", 50), shortest = setting("SHORTEST_MS", 5);
    srand((unsigned)getpid());
    journal = file ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (handler && strcmp(handler, "good") == 0)
        signal(SIGTERM, on_term);
    for (int i = 0; i < count && i < LANES; i++)
        open_lane(&lanes[i], i, url);
    free(url);
    say("O ready %d", getpid());
    loop(lanes, count);
    for (int i = 0; i < count; i++) {
        PQfinish(lanes[i].pg);
        if (lanes[i].redis)
            redisFree(lanes[i].redis);
    }
    say("O closed");
    poll(NULL, 0, 100); /* as journal.wind_up() */
    say("O end");
    return 0;
}
