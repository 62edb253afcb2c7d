/* One end of a connection: an address and a port. IPv4 and v4-mapped IPv6 are one and the same thing here. */
#ifndef COMMON_ENDPOINT_H
#define COMMON_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct text;

enum endpoint_family { ENDPOINT_NONE, ENDPOINT_INET, ENDPOINT_INET6, ENDPOINT_UNIX };

struct endpoint {
    uint8_t address[16]; /* network order; IPv4 in the first four bytes; UNIX: zero */
    uint16_t port;       /* host order */
    uint8_t family;      /* enum endpoint_family */
    uint8_t reserved;    /* zero, so that memcmp compares */
};
_Static_assert(sizeof(struct endpoint) == 20, "the wire depends on it");

/* From raw kernel data: family AF_INET or AF_INET6, address in network order. v4-mapped becomes IPv4. */
struct endpoint endpoint_from_bytes(int family, const void *address, uint16_t port);

/* From text such as "10.0.0.5" or "::1" (a zone "%eth0" is dropped). Returns 0, or -1 when it is no address. */
int endpoint_parse(struct endpoint *endpoint, const char *address, uint16_t port);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
bool endpoint_same_address(const struct endpoint *a, const struct endpoint *b);

/* "10.0.0.5:5432", "[::1]:5432", "unix", or "unknown" for ENDPOINT_NONE. */
void endpoint_format(const struct endpoint *endpoint, struct text *text);

#endif
