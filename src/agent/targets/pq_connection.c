/* One asynchronous libpq connection: see agent/targets/pq_connection.h. It must never wait and never print.
 *
 * While it connects, libpq may close its socket and open another one with the same number (TLS refused, next try): the
 * watcher is stopped before each PQconnectPoll() and set anew after it, so that the kernel is told again. */
#include "agent/targets/pq_connection.h"

#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"

enum pq_state { PQ_CONNECTING, PQ_IDLE, PQ_ASKED };
enum { PQ_KEYWORDS = 64, PQ_WHY = 240 };

struct pq_connection {
    struct ev_loop *loop;
    PGconn *conn;
    ev_io io;
    enum pq_state state;
    bool reached;        /* the server accepted the connection */
    PGresult *result;    /* of what was asked: the last one so far, or the first error */
    char farewell[PQ_WHY]; /* the FATAL that came while nothing was asked: why the server ends the connection */
    const struct pq_handlers *handlers;
    void *context;
};

/* Notices are printed nowhere. To libpq the server's last word to an idle connection is one, too. */
static void pq_notice(void *context, const char *message)
{
    struct pq_connection *c = context;
    if (strncmp(message, "FATAL", 5) == 0 || strncmp(message, "PANIC", 5) == 0)
        text_copy(c->farewell, sizeof c->farewell, message);
}

/* One line of libpq's message without the prefix that names the place; empty: advice, or nothing. */
static const char *pq_line_start(const char *line, size_t *length)
{
    static const char prefix[] = "connection to server", failed[] = " failed: ";
    while (*length && strchr(" \t\r", line[*length - 1]))
        --*length;
    if (*length == 0 || *line == '\t' || *line == ' ')
        return *length = 0, line;
    const char *end = *length > sizeof prefix && memcmp(line, prefix, sizeof prefix - 1) == 0
                          ? memmem(line, *length, failed, sizeof failed - 1) : NULL;
    const char *start = end ? end + sizeof failed - 1 : line;
    *length -= (size_t)(start - line);
    return start;
}

/* "FATAL:  …": libpq puts two spaces there. */
static void pq_add_line(const char *line, size_t length, struct text *text)
{
    const char *gap = memmem(line, length, ":  ", 3);
    size_t head = gap ? (size_t)(gap - line) + 2 : length;
    if (text->length)
        text_add(text, "; ");
    text_add_escaped(text, line, head);
    if (gap)
        text_add_escaped(text, gap + 3, length - head - 1);
}

void pq_format_why(const char *message, struct text *text)
{
    const char *said = NULL;
    size_t said_length = 0;
    for (const char *next; *message; message = next) {
        size_t length = strcspn(message, "\n");
        next = message + length + (message[length] == '\n');
        const char *line = pq_line_start(message, &length);
        bool again = said && said_length == length && memcmp(said, line, length) == 0;
        if (length == 0 || again)
            continue;
        pq_add_line(line, length, text);
        said = line;
        said_length = length;
    }
    if (!text->length)
        text_add(text, "the connection was closed");
}

static void pq_lost(struct pq_connection *c)
{
    char why[PQ_WHY];
    struct text text = text_in(why, sizeof why);
    ev_io_stop(c->loop, &c->io);
    pq_format_why(*c->farewell ? c->farewell : PQerrorMessage(c->conn), &text);
    c->handlers->lost(c->context, c->reached, why);
}

static void pq_watch(struct pq_connection *c, int events)
{
    if (ev_is_active(&c->io) && c->io.fd == PQsocket(c->conn) && (c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(c->loop, &c->io);
    ev_io_set(&c->io, PQsocket(c->conn), events);
    ev_io_start(c->loop, &c->io);
}

static void pq_connected(struct pq_connection *c)
{
    c->state = PQ_IDLE;
    PQsetnonblocking(c->conn, 1);
    pq_watch(c, EV_READ);
    c->handlers->ready(c->context);
}

static void pq_connect_step(struct pq_connection *c)
{
    ev_io_stop(c->loop, &c->io);
    PostgresPollingStatusType status = PQconnectPoll(c->conn);
    /* While it waits for connect(2) libpq stays at CONNECTION_STARTED. */
    c->reached |= PQstatus(c->conn) != CONNECTION_STARTED && PQstatus(c->conn) != CONNECTION_BAD;
    if (status == PGRES_POLLING_OK)
        pq_connected(c);
    else if (status == PGRES_POLLING_FAILED || PQsocket(c->conn) < 0)
        pq_lost(c);
    else
        pq_watch(c, status == PGRES_POLLING_READING ? EV_READ : EV_WRITE);
}

static void pq_take_result(struct pq_connection *c, PGresult *result)
{
    bool failed = c->result && PQresultStatus(c->result) == PGRES_FATAL_ERROR;
    if (!failed) {
        PGresult *swap = c->result;
        c->result = result;
        result = swap;
    }
    PQclear(result);
}

static void pq_answered(struct pq_connection *c)
{
    PGresult *result = c->result;
    c->result = NULL;
    c->state = PQ_IDLE;
    pq_watch(c, EV_READ);
    c->handlers->answered(c->context, result); /* may close us */
    PQclear(result);
}

/* Takes what has come. While nothing is asked that is a notice, or the server's end. */
static void pq_read_step(struct pq_connection *c)
{
    if (!PQconsumeInput(c->conn)) {
        pq_lost(c);
        return;
    }
    while (!PQisBusy(c->conn)) {
        PGresult *result = PQgetResult(c->conn);
        if (result) {
            pq_take_result(c, result);
            continue;
        }
        if (PQstatus(c->conn) == CONNECTION_BAD)
            pq_lost(c);
        else if (c->state == PQ_ASKED)
            pq_answered(c);
        return;
    }
}

/* Sends what is left of the question. False: the connection is lost, and that was told. */
static bool pq_flush(struct pq_connection *c)
{
    int left = PQflush(c->conn);
    if (left < 0) {
        pq_lost(c);
        return false;
    }
    pq_watch(c, left ? EV_READ | EV_WRITE : EV_READ);
    return true;
}

static void pq_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct pq_connection *c = watcher->data;
    (void)loop;
    if (c->state == PQ_CONNECTING)
        pq_connect_step(c);
    else if (events & EV_WRITE && !pq_flush(c))
        return;
    else if (events & EV_READ)
        pq_read_step(c);
}

/* Ours, or nothing that a look at the server should take over from the app. */
static bool pq_keyword_is_dropped(const char *keyword, bool console)
{
    static const char *const dropped[] = {"connect_timeout", "application_name", "fallback_application_name",
                                          "client_encoding", "target_session_attrs", "replication", "hostaddr"};
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (strcmp(keyword, dropped[i]) == 0)
            return true;
    return console && strcmp(keyword, "options") == 0;
}

struct pq_arguments {
    char names[PQ_KEYWORDS][40];
    const char *keywords[PQ_KEYWORDS + 1], *values[PQ_KEYWORDS + 1];
    size_t count;
};

/* A later one of the same name counts (libpq takes the last). */
static void pq_argument(struct pq_arguments *a, const char *keyword, const char *value)
{
    if (a->count == PQ_KEYWORDS || !value)
        return;
    text_copy(a->names[a->count], sizeof a->names[0], keyword);
    a->keywords[a->count] = a->names[a->count];
    a->values[a->count++] = value;
}

static void pq_collect_arguments(struct pq_arguments *a, const struct pq_start *start)
{
    char keyword[40];
    const char *at = start->params;
    pq_argument(a, "gssencmode", "disable"); /* asking a KDC would block; the params may say otherwise */
    pq_argument(a, "port", start->port);
    for (const char *value; (value = params_next(&at, keyword, sizeof keyword));)
        if (*value && !pq_keyword_is_dropped(keyword, start->console))
            pq_argument(a, keyword, value);
    pq_argument(a, "hostaddr", start->address);
    pq_argument(a, "dbname", start->dbname);
    pq_argument(a, "application_name", start->application_name);
    pq_argument(a, "client_encoding", "UTF8");
    pq_argument(a, "target_session_attrs", "any");
}

static PGconn *pq_begin(const struct pq_start *start)
{
    struct pq_arguments arguments = {0};
    unsetenv("PGOPTIONS"); /* the app's; a pooler refuses it, and a look needs none of it */
    pq_collect_arguments(&arguments, start);
    return PQconnectStartParams(arguments.keywords, arguments.values, 0);
}

struct pq_connection *pq_connection_open(struct ev_loop *loop, const struct pq_start *start,
                                         const struct pq_handlers *handlers, void *context, char *why, size_t why_size)
{
    struct pq_connection *c = calloc(1, sizeof *c);
    struct text text = text_in(why, why_size);
    PGconn *conn = c ? pq_begin(start) : NULL;
    if (!conn || PQstatus(conn) == CONNECTION_BAD) {
        pq_format_why(conn ? PQerrorMessage(conn) : "no memory", &text);
        PQfinish(conn);
        free(c);
        return NULL;
    }
    *c = (struct pq_connection){.loop = loop, .conn = conn, .handlers = handlers, .context = context};
    PQsetNoticeProcessor(conn, pq_notice, c);
    ev_io_init(&c->io, pq_ready, PQsocket(conn), EV_WRITE); /* as after PGRES_POLLING_WRITING */
    c->io.data = c;
    ev_io_start(loop, &c->io);
    return c;
}

void pq_connection_close(struct pq_connection *connection)
{
    if (!connection)
        return;
    ev_io_stop(connection->loop, &connection->io);
    PQclear(connection->result);
    PQfinish(connection->conn);
    free(connection);
}

static void pq_sent(struct pq_connection *c, int sent)
{
    if (!sent) {
        pq_lost(c);
        return;
    }
    c->state = PQ_ASKED;
    (void)pq_flush(c);
}

void pq_connection_query(struct pq_connection *connection, const char *sql)
{
    pq_sent(connection, PQsendQuery(connection->conn, sql));
}

void pq_connection_execute(struct pq_connection *connection, const char *statement, int count,
                           const char *const *values)
{
    pq_sent(connection, PQsendQueryPrepared(connection->conn, statement, count, values, NULL, NULL, 0));
}

PGconn *pq_connection_handle(const struct pq_connection *connection)
{
    return connection->conn;
}

bool pq_first_value(const PGresult *result, char *at, size_t size)
{
    struct text text = text_in(at, size);
    bool rows = PQresultStatus(result) == PGRES_TUPLES_OK;
    const char *value = rows && PQntuples(result) > 0 ? pq_value(result, 0, 0) : NULL;
    if (rows || PQresultStatus(result) == PGRES_COMMAND_OK)
        text_add_escaped(&text, value ? value : "", value ? strlen(value) : 0);
    else
        pq_format_why(result ? PQresultErrorMessage(result) : "no answer", &text);
    return rows || PQresultStatus(result) == PGRES_COMMAND_OK;
}

const char *pq_value(const PGresult *result, int row, int column)
{
    return column < 0 || PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}
