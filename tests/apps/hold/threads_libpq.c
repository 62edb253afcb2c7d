/* LANES threads over a small pool of libpq connections, one transaction after the other without a pause between them, 3
 * or STATEMENTS statements in SHORTEST_MS to LONGEST_MS. With REDIS_URL: MULTI, two commands, EXEC after each COMMIT,
 * each of them a round trip of hiredis' blocking API.
 *
 * SIZE=bytes: what each INSERT carries. COPY=rows: the transaction is one COPY IN that takes that long. ONLY_REDIS=1:
 * no PostgreSQL at all. The journal's `M id`: the reply to MULTI was seen.
 * HANDLER: none; good (finishes, closes, exits); exit (a sigaction handler that calls _exit, as php-fpm's workers do);
 * sigwait, signalfd (SIGTERM blocked everywhere, the main thread waits for it, then as good); ignore. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

#include <hiredis/hiredis.h>

#include "lane.h"

enum { LANES_MAX = 64, STATEMENTS_MAX = 16 };

static volatile sig_atomic_t stopping;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static PGconn *pool[LANES_MAX];
static int pooled;
static double shortest, longest;
static int statements, size, copy_rows;
static bool only_redis;
static const char *handler;

static PGconn *pool_take(void)
{
    pthread_mutex_lock(&pool_lock);
    PGconn *connection = pool[--pooled];
    pthread_mutex_unlock(&pool_lock);
    return connection;
}

static void pool_give(PGconn *connection)
{
    pthread_mutex_lock(&pool_lock);
    pool[pooled++] = connection;
    pthread_mutex_unlock(&pool_lock);
}

static bool ran(PGconn *pg, PGresult *result, const char *id)
{
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN;
    if (!good)
        lane_see_error(id, PQerrorMessage(pg));
    PQclear(result);
    return good;
}

static bool run(PGconn *pg, const char *id, const char *sql)
{
    return ran(pg, PQexec(pg, sql), id);
}

static bool insert(PGconn *pg, const char *id)
{
    size_t length = strlen(id);
    char *text = malloc(length + (size_t)size + 2);
    memcpy(text, id, length);
    text[length] = ' ';
    memset(text + length + 1, 'x', (size_t)size);
    text[length + 1 + (size_t)size] = '\0';
    PGresult *result = PQexecParams(pg, "INSERT INTO work(id) VALUES (split_part($1, ' ', 1))", 1, NULL,
                                    (const char *const[]){text}, NULL, NULL, 0);
    free(text);
    return ran(pg, result, id);
}

static bool transaction(PGconn *pg, const char *id, int lane)
{
    double gap = (shortest + drand48() * (longest - shortest)) / statements;
    char update[96];
    snprintf(update, sizeof update, "UPDATE tally SET hits = hits + 1 WHERE n = %d", lane);
    if (!run(pg, id, "BEGIN") || !insert(pg, id))
        return false;
    lane_pause_ms(gap);
    for (int more = statements - 2; more > 0; more--) {
        if (!run(pg, id, "SELECT sum(hits) FROM tally WHERE n < 10"))
            return false;
        lane_pause_ms(gap);
    }
    if (!run(pg, id, update))
        return false;
    lane_pause_ms(gap);
    return run(pg, id, "COMMIT");
}

/* Its rows are sent in several writes, with a pause before each; all of them are there or none. */
static bool copy(PGconn *pg, const char *id)
{
    double gap = (shortest + drand48() * (longest - shortest)) / copy_rows;
    if (!run(pg, id, "COPY work(id) FROM STDIN"))
        return false;
    for (int row = 0; row < copy_rows; row++) {
        char line[96];
        int length = row ? snprintf(line, sizeof line, "%s/%d\n", id, row) : snprintf(line, sizeof line, "%s\n", id);
        lane_pause_ms(gap);
        if (PQputCopyData(pg, line, length) != 1 || PQflush(pg) < 0)
            return lane_see_error(id, PQerrorMessage(pg)), false;
    }
    if (PQputCopyEnd(pg, NULL) != 1)
        return lane_see_error(id, PQerrorMessage(pg)), false;
    bool good = ran(pg, PQgetResult(pg), id);
    PQclear(PQgetResult(pg));
    return good;
}

static void confirm_copy(const char *id, double began)
{
    char lines[4096];
    size_t at = 0;
    for (int row = 1; row < copy_rows && at < sizeof lines - 100; row++)
        at += (size_t)snprintf(lines + at, sizeof lines - at, "C %s/%d\n", id, row);
    lane_say("%sC %s\nT %s %.1f %.1f", lines, id, id, began, lane_now_ms());
}

static bool redis_run(redisContext *redis, const char *id, const char *command)
{
    redisReply *reply = redisCommand(redis, command, id);
    bool good = reply && reply->type != REDIS_REPLY_ERROR;
    if (!good)
        lane_see_error(id, reply ? reply->str : redis->errstr);
    freeReplyObject(reply);
    return good;
}

static bool redis_transaction(redisContext *redis, const char *id)
{
    double gap = only_redis ? (shortest + drand48() * (longest - shortest)) / 2 : 0;
    if (!redis_run(redis, id, "MULTI"))
        return false;
    lane_say("M %s", id);
    if (!redis_run(redis, id, "INCR count"))
        return false;
    lane_pause_ms(gap);
    if (!redis_run(redis, id, "RPUSH work %s"))
        return false;
    lane_pause_ms(gap);
    if (!redis_run(redis, id, "EXEC"))
        return false;
    lane_say("R %s", id);
    return true;
}

static redisContext *redis_connect(void)
{
    char host[128];
    int port, db;
    if (!getenv("REDIS_URL"))
        return NULL;
    if (sscanf(getenv("REDIS_URL"), "redis://%127[^:]:%d/%d", host, &port, &db) != 3)
        lane_die("REDIS_URL", "not redis://host:port/db");
    redisContext *redis = redisConnect(host, port);
    if (!redis || redis->err)
        lane_die("redis", redis ? redis->errstr : "no memory");
    freeReplyObject(redisCommand(redis, "SELECT %d", db));
    return redis;
}

static bool turn(redisContext *redis, const char *id, int lane)
{
    double began = lane_now_ms();
    lane_say("I %s", id);
    if (!only_redis) {
        PGconn *pg = pool_take();
        bool good = copy_rows ? copy(pg, id) : transaction(pg, id, lane);
        if (!good)
            return false;
        if (copy_rows)
            confirm_copy(id, began);
        else
            lane_confirm(id, began);
        pool_give(pg);
    }
    if (!redis)
        return true;
    bool good = redis_transaction(redis, id);
    if (good && only_redis)
        lane_confirm(id, began);
    return good;
}

static void *work(void *argument)
{
    int lane = (int)(intptr_t)argument;
    redisContext *redis = redis_connect();
    char id[64];
    for (int number = 1; !stopping; number++) {
        snprintf(id, sizeof id, "%d.%d.%d", getpid(), lane, number);
        if (!turn(redis, id, lane))
            return NULL;
    }
    if (redis)
        redisFree(redis);
    return NULL;
}

static void on_term(int signo)
{
    stopping = signo;
}

static void on_term_exit(int signo)
{
    (void)signo;
    _exit(0);
}

/* Before any thread: a blocked mask is inherited. */
static void prepare_handler(sigset_t *term)
{
    struct sigaction action = {0};
    sigemptyset(term);
    sigaddset(term, SIGTERM);
    if (!strcmp(handler, "sigwait") || !strcmp(handler, "signalfd"))
        sigprocmask(SIG_BLOCK, term, NULL);
    action.sa_handler = !strcmp(handler, "good") ? on_term : !strcmp(handler, "exit") ? on_term_exit
                        : !strcmp(handler, "ignore") ? SIG_IGN : SIG_DFL;
    sigaction(SIGTERM, &action, NULL);
}

static void wait_for_stop(const sigset_t *term)
{
    int signo;
    struct signalfd_siginfo info;
    if (!strcmp(handler, "sigwait")) {
        sigwait(term, &signo);
    } else if (!strcmp(handler, "signalfd")) {
        int fd = signalfd(-1, term, SFD_CLOEXEC);
        if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
            lane_die("signalfd", "short read");
        close(fd);
    } else {
        while (!stopping)
            pause();
    }
    stopping = 1;
    lane_say("O SIGTERM");
}

int main(void)
{
    static pthread_t threads[LANES_MAX];
    sigset_t term;
    int lanes = (int)lane_setting("LANES", 8);
    handler = getenv("HANDLER") ? getenv("HANDLER") : "none";
    shortest = lane_setting("SHORTEST_MS", 5), longest = lane_setting("LONGEST_MS", 50);
    statements = (int)lane_setting("STATEMENTS", 3);
    size = (int)lane_setting("SIZE", 0), copy_rows = (int)lane_setting("COPY", 0);
    only_redis = lane_setting("ONLY_REDIS", 0) != 0;
    lane_open_journal();
    prepare_handler(&term);
    for (; !only_redis && pooled < lanes; pooled++)
        pool[pooled] = lane_connect();
    for (int lane = 0; lane < lanes; lane++)
        pthread_create(&threads[lane], NULL, work, (void *)(intptr_t)lane);
    lane_say("O ready %d", getpid());
    wait_for_stop(&term);
    for (int lane = 0; lane < lanes; lane++)
        pthread_join(threads[lane], NULL);
    while (pooled > 0)
        PQfinish(pool[--pooled]);
    lane_say("O end");
    return 0;
}
