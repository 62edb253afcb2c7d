/* An HTTP server in C: one thread, epoll, sockets that never block, and a transaction on libpq for each request, named
 * by its path. PORT: where it listens, else anywhere; PORT_FILE: where that is written. No handler for SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../hold/lane.h"

enum { ROOM = 4096, CLIENTS_MOST = 1024 };

struct client {
    char bytes[ROOM];
    size_t length;
};
static struct client *clients[CLIENTS_MOST];
static int epoll_fd;
static PGconn *database;

static void run(const char *name, const char *sql)
{
    PGresult *result = PQexec(database, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        lane_see_error(name, PQerrorMessage(database));
    PQclear(result);
}

static void transaction(const char *name)
{
    char insert[128];
    snprintf(insert, sizeof insert, "INSERT INTO work(id) VALUES ('%.60s')", name);
    lane_say("I %s", name);
    run(name, "BEGIN");
    run(name, insert);
    run(name, "SELECT sum(hits) FROM tally WHERE n < 10");
    run(name, "COMMIT");
    lane_say("C %s", name);
}

static void watch(int fd, int how)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll_fd, how, fd, &event);
}

static void end(int fd)
{
    watch(fd, EPOLL_CTL_DEL);
    free(clients[fd]);
    clients[fd] = NULL;
    close(fd);
}

/* "GET /name HTTP/1.1 …" */
static void answer(int fd, struct client *client)
{
    static const char done[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n";
    char name[64] = "";
    sscanf(client->bytes, "GET /%63[a-z0-9.]", name);
    client->length = 0;
    transaction(name);
    if (write(fd, done, sizeof done - 1) < 0)
        end(fd);
}

static void readable(int fd)
{
    struct client *client = clients[fd];
    ssize_t length = read(fd, client->bytes + client->length, ROOM - 1 - client->length);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        end(fd);
        return;
    }
    client->length += (size_t)length;
    client->bytes[client->length] = '\0';
    if (strstr(client->bytes, "\r\n\r\n"))
        answer(fd, client);
}

static void welcome(int listening)
{
    int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= CLIENTS_MOST) {
        close(fd);
        return;
    }
    clients[fd] = calloc(1, sizeof **clients);
    watch(fd, EPOLL_CTL_ADD);
}

static void write_port(const struct sockaddr_in *at)
{
    const char *path = getenv("PORT_FILE");
    char new[512];
    snprintf(new, sizeof new, "%s.new", path ? path : "/dev/null");
    FILE *file = path ? fopen(new, "w") : NULL;
    if (!file)
        lane_die("PORT_FILE", "cannot be written");
    fprintf(file, "%d", ntohs(at->sin_port));
    fclose(file);
    rename(new, path);
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)lane_setting("PORT", 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 128) < 0)
        lane_die("listen", strerror(errno));
    getsockname(fd, (struct sockaddr *)&at, &length);
    write_port(&at);
    return fd;
}

int main(void)
{
    struct epoll_event events[64];
    lane_open_journal();
    database = lane_connect();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listening = listen_somewhere();
    watch(listening, EPOLL_CTL_ADD);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listening)
                welcome(listening);
            else if (clients[events[i].data.fd])
                readable(events[i].data.fd);
        }
    }
}
