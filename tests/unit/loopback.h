/* A connection over loopback as the hands see one: the app's end, the server's end, and the row that the agent would
 * make. */
#ifndef TESTS_UNIT_LOOPBACK_H
#define TESTS_UNIT_LOOPBACK_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "waiting.h"
#include "wire/message.h"

struct link {
    int app, server; /* both non-blocking */
    uint64_t inode;  /* of the app's end */
    struct endpoint local;
};

static inline uint64_t inode_of(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

static inline struct link link_open(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    struct link link;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &length), 0);
    link.app = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(link.app, (struct sockaddr *)&at, sizeof at), 0);
    link.server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(link.server, 0);
    ck_assert_int_eq(close(listener), 0);
    ck_assert_int_eq(fcntl(link.app, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(getsockname(link.app, (struct sockaddr *)&at, &length), 0);
    link.local = endpoint_from_bytes(AF_INET, &at.sin_addr, ntohs(at.sin_port));
    link.inode = inode_of(link.app);
    return link;
}

static inline struct handle_row link_row(const struct link *link, pid_t pid)
{
    return (struct handle_row){.inode = link->inode, .pid = pid, .fd = link->app, .local = link->local, .holders = 1,
                               .tcp_state = TCP_ESTABLISHED, .has_info = 1};
}

static inline int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;

    ck_assert_int_eq(getsockopt(fd, level, option, &value, &length), 0);
    return value;
}

static inline void set_option_of(int fd, int level, int option, int value)
{
    ck_assert_int_eq(setsockopt(fd, level, option, &value, sizeof value), 0);
}

static inline int cork_of(int fd)
{
    return option_of(fd, IPPROTO_TCP, TCP_CORK) != 0;
}

static inline int nodelay_of(int fd)
{
    return option_of(fd, IPPROTO_TCP, TCP_NODELAY) != 0;
}

static inline int lowat_of(int fd)
{
    return option_of(fd, SOL_SOCKET, SO_RCVLOWAT);
}

static inline void write_text(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What has arrived at this end, waited for up to `ms`; "" when nothing came. */
static inline const char *read_text(int fd, int ms)
{
    static char text[4096];
    struct pollfd at = {.fd = fd, .events = POLLIN};
    ssize_t n = poll(&at, 1, ms) > 0 ? recv(fd, text, sizeof text - 1, MSG_DONTWAIT) : 0;

    text[n > 0 ? n : 0] = 0;
    return text;
}

/* Would poll(2) wake up whoever waits for it to be readable, within `ms`? */
static inline bool wakes(int fd, int ms)
{
    struct pollfd at = {.fd = fd, .events = POLLIN};

    return poll(&at, 1, ms) > 0;
}

/* The peer's stream has ended: nothing but the end can be read. */
static inline bool stream_ended(int fd)
{
    char byte;
    struct pollfd at = {.fd = fd, .events = POLLIN};

    return poll(&at, 1, 1000) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static inline bool stream_reset(int fd)
{
    char byte;
    struct pollfd at = {.fd = fd, .events = POLLIN};

    return poll(&at, 1, 1000) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

/* A process that has what we have, and does nothing until it is told to: one byte each, by the descriptor returned in
 * `tell`. */
static inline pid_t fork_app(int *tell, void (*told)(void *context, char what), void *context)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char what;
        close(pair[0]);
        while (read(pair[1], &what, 1) == 1) {
            told(context, what);
            if (write(pair[1], &what, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(pair[1]);
    *tell = pair[0];
    return pid;
}

/* Tells it, and waits until it is done. */
static inline void tell_app(int tell, char what)
{
    char back = 0;

    ck_assert_int_eq(write(tell, &what, 1), 1);
    ck_assert_int_eq(read(tell, &back, 1), 1);
}

static inline void end_app(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

#endif
