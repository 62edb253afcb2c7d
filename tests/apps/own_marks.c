/* THREADS threads with a PostgreSQL connection each, transactions of SHORTEST_MS to LONGEST_MS without a pause
 * between them; and one more thread that reads back, every millisecond, the options of the app's own sockets that
 * lastcall changes.
 *
 * Journal, beside what journal.py says: a line for each change of what is seen,
 *   M microseconds corked braked muted nodelay
 * how many sockets have TCP_CORK on, SO_RCVLOWAT raised, IP_MINTTL set, TCP_NODELAY other than the app gave it. The
 * clock is CLOCK_MONOTONIC. Every third socket has TCP_NODELAY off, every fifth an SO_RCVLOWAT of its own.
 *
 * The protocol is spoken by hand, so that it is known in which call a thread waits: BLOCKING=1: recv(2) on a blocking
 * socket; else poll(2). HANDLER=good: on SIGTERM each thread finishes and closes; with LINGER_MS it leaves its
 * connections open and lives on for so long. IDLE=1: one transaction each, and nothing more. LONG_QUERY=seconds: one
 * more connection that sleeps in the server. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

enum { LANES = 64, OWN_LOWAT = 3 };

struct lane {
    PGconn *pg;
    int fd, number, nodelay, lowat;
    bool open;
    pthread_t thread;
};

static struct lane lanes[LANES];
static int count;
static volatile sig_atomic_t stopping;
static int journal = -1;
static bool blocking;

static double setting(const char *name, double fallback)
{
    const char *value = getenv(name);
    return value ? atof(value) : fallback;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
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

static void on_term(int signo)
{
    (void)signo;
    stopping = 1;
}

static void pause_ms(double ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* -- the watcher --------------------------------------------------------------------------------------------------- */

struct seen {
    int corked, braked, muted, nodelay;
};

static int option_of(int fd, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, option, &value, &length) < 0 ? -1 : value;
}

static struct seen look(void)
{
    struct seen seen = {0};
    for (int i = 0; i < count; i++) {
        const struct lane *lane = &lanes[i];
        if (!lane->open)
            continue;
        seen.corked += option_of(lane->fd, IPPROTO_TCP, TCP_CORK) != 0;
        seen.braked += option_of(lane->fd, SOL_SOCKET, SO_RCVLOWAT) != lane->lowat;
        seen.muted += option_of(lane->fd, IPPROTO_IP, IP_MINTTL) != 0;
        seen.nodelay += (option_of(lane->fd, IPPROTO_TCP, TCP_NODELAY) != 0) != lane->nodelay;
    }
    return seen;
}

static void *watch(void *unused)
{
    struct seen last = {-1, -1, -1, -1};
    for (;;) {
        struct seen seen = look();
        if (memcmp(&seen, &last, sizeof seen) != 0)
            say("M %lld %d %d %d %d", (long long)now_us(), seen.corked, seen.braked, seen.muted, seen.nodelay);
        last = seen;
        pause_ms(1);
    }
    return unused;
}

/* -- the protocol -------------------------------------------------------------------------------------------------- */

static bool send_all(struct lane *lane, const char *bytes, size_t size)
{
    while (size > 0) {
        struct pollfd at = {.fd = lane->fd, .events = POLLOUT};
        ssize_t n = send(lane->fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            poll(&at, 1, -1);
        else if (n < 0 && errno != EINTR)
            return false;
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static ssize_t receive(struct lane *lane, char *at, size_t size)
{
    for (;;) {
        struct pollfd readable = {.fd = lane->fd, .events = POLLIN};
        ssize_t n = recv(lane->fd, at, size, 0);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        if (!blocking && poll(&readable, 1, -1) < 0 && errno != EINTR)
            return -1;
    }
}

/* One statement, to its ReadyForQuery. False: the connection broke, or the server said an error. */
static bool ask(struct lane *lane, const char *sql)
{
    char packet[512], reply[4096];
    uint32_t length = htonl((uint32_t)strlen(sql) + 5);
    size_t have = 0;
    packet[0] = 'Q';
    memcpy(packet + 1, &length, 4);
    memcpy(packet + 5, sql, strlen(sql) + 1);
    if (!send_all(lane, packet, strlen(sql) + 6))
        return false;
    for (;;) {
        ssize_t n = receive(lane, reply + have, sizeof reply - have);
        if (n <= 0 || reply[0] == 'E')
            return false;
        have += (size_t)n;
        if (have >= 6 && reply[have - 6] == 'Z')
            return true;
    }
}

static bool transaction(struct lane *lane, const char *id)
{
    char insert[160];
    double shortest = setting("SHORTEST_MS", 2), longest = setting("LONGEST_MS", 15);
    double ms = shortest + (longest - shortest) * (rand() % 1000) / 1000;
    snprintf(insert, sizeof insert, "INSERT INTO work(id) VALUES ('%s')", id);
    say("I %s", id);
    if (!ask(lane, "BEGIN") || !ask(lane, insert))
        return false;
    pause_ms(ms / 2);
    if (!ask(lane, "SELECT sum(hits) FROM tally"))
        return false;
    pause_ms(ms / 2);
    return ask(lane, "COMMIT");
}

static void close_lane(struct lane *lane)
{
    lane->open = false;
    send_all(lane, "X\0\0\0\4", 5);
    close(lane->fd);
}

static void *work(void *at)
{
    struct lane *lane = at;
    for (int turn = 0; !stopping; turn++) {
        char id[64];
        snprintf(id, sizeof id, "%d.%d.%d", getpid(), lane->number, turn);
        if (!transaction(lane, id)) {
            say("E %s %s", id, strerror(errno));
            return NULL;
        }
        say("C %s", id);
        while (setting("IDLE", 0) && !stopping)
            pause_ms(1);
    }
    if (setting("LINGER_MS", 0) == 0)
        close_lane(lane);
    return NULL;
}

static void *sleep_in_the_server(void *at)
{
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT pg_sleep(%g)", setting("LONG_QUERY", 0));
    ask(at, sql);
    return NULL;
}

/* -- starting ------------------------------------------------------------------------------------------------------ */

/* libpq does not know `pgbouncer=true`: cut off with all that follows. */
static const char *libpq_url(void)
{
    static char url[1024];
    snprintf(url, sizeof url, "%s", getenv("DATABASE_URL") ? getenv("DATABASE_URL") : "");
    char *parameter = strstr(url, "?pgbouncer=true");
    if (parameter)
        *parameter = 0;
    return url;
}

static void open_lane(int number)
{
    struct lane *lane = &lanes[number];
    int nodelay = number % 3 != 0, lowat = number % 5 == 4 ? OWN_LOWAT : 1;
    lane->pg = PQconnectdb(libpq_url());
    if (PQstatus(lane->pg) != CONNECTION_OK) {
        fprintf(stderr, "own_marks: %s\n", PQerrorMessage(lane->pg));
        exit(2);
    }
    lane->fd = PQsocket(lane->pg);
    lane->number = number;
    lane->nodelay = nodelay;
    lane->lowat = lowat;
    setsockopt(lane->fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof nodelay);
    setsockopt(lane->fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof lowat);
    if (blocking)
        fcntl(lane->fd, F_SETFL, fcntl(lane->fd, F_GETFL) & ~O_NONBLOCK);
    lane->open = true;
}

int main(void)
{
    const char *handler = getenv("HANDLER"), *file = getenv("JOURNAL");
    int threads = (int)setting("THREADS", 8);
    pthread_t watcher, sleeper;
    blocking = setting("BLOCKING", 0) != 0;
    journal = file ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    count = threads + (getenv("LONG_QUERY") != NULL);
    if (handler && strcmp(handler, "good") == 0)
        signal(SIGTERM, on_term);
    for (int i = 0; i < count; i++)
        open_lane(i);
    pthread_create(&watcher, NULL, watch, NULL);
    for (int i = 0; i < threads; i++)
        pthread_create(&lanes[i].thread, NULL, work, &lanes[i]);
    if (count > threads)
        pthread_create(&sleeper, NULL, sleep_in_the_server, &lanes[threads]);
    say("O ready %d", getpid());
    while (!stopping)
        pause_ms(1);
    say("O SIGTERM %lld", (long long)now_us());
    for (int i = 0; i < threads; i++)
        pthread_join(lanes[i].thread, NULL);
    say("O finished %lld", (long long)now_us());
    pause_ms(setting("LINGER_MS", 0));
    say("O end %lld", (long long)now_us());
    return 0;
}
