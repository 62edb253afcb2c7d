/* Listening and connected sockets on loopback for the tests of the agent's eyes. */
#ifndef TESTS_SOCKETS_HELP_H
#define TESTS_SOCKETS_HELP_H

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct listener {
    int fd;
    uint16_t port;
};

union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* On [::]:0 with v4 too, so that one listener serves every kind of client. */
static inline struct listener listen_anywhere(void)
{
    int off = 0;
    union any_address at = {.in6 = {.sin6_family = AF_INET6}};
    socklen_t size = sizeof at;
    struct listener listener = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ck_assert_int_eq(setsockopt(listener.fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    ck_assert_int_eq(bind(listener.fd, &at.any, sizeof at.in6), 0);
    ck_assert_int_eq(listen(listener.fd, 512), 0);
    ck_assert_int_eq(getsockname(listener.fd, &at.any, &size), 0);
    listener.port = ntohs(at.in6.sin6_port);
    return listener;
}

/* A client by "127.0.0.1", "::1", or "::ffff:127.0.0.1"; -1 when it cannot connect. */
static inline int connect_to(const char *address, uint16_t port)
{
    union any_address at = {.any = {.sa_family = 0}};
    socklen_t size = sizeof at.in;
    if (inet_pton(AF_INET, address, &at.in.sin_addr) == 1) {
        at.in.sin_family = AF_INET;
        at.in.sin_port = htons(port);
    } else {
        size = sizeof at.in6;
        inet_pton(AF_INET6, address, &at.in6.sin6_addr);
        at.in6.sin6_family = AF_INET6;
        at.in6.sin6_port = htons(port);
    }
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &at.any, size) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

#endif
