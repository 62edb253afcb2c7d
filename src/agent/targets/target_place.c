/* Where a target is: its place as the parameters say, the addresses it is known by, the ends of the agent's own
 * sockets. This file never connects and never looks a name up. */
#include <stdlib.h>
#include <string.h>

#include "agent/targets/params.h"
#include "agent/targets/target_state.h"
#include "common/text.h"

void target_note_address(struct target *target, const struct endpoint *address)
{
    for (size_t i = 0; i < target->known_count; i++)
        if (endpoint_equal(&target->known[i], address))
            return;
    if (target->known_count == TARGET_KNOWN_ADDRESSES) /* the oldest one goes */
        memmove(target->known, target->known + 1, --target->known_count * sizeof *target->known);
    target->known[target->known_count++] = *address;
}

const char *target_numeric_host(const struct target *target)
{
    struct endpoint ignored;
    const char *hostaddr = params_get(target->message.params, "hostaddr");
    if (hostaddr)
        return hostaddr;
    return *target->host && endpoint_parse(&ignored, target->host, target->port) == 0 ? target->host : NULL;
}

static struct endpoint endpoint_from_socket(const struct sockaddr_storage *at)
{
    const struct sockaddr_in *in = (const void *)at;
    const struct sockaddr_in6 *in6 = (const void *)at;
    if (at->ss_family == AF_INET)
        return endpoint_from_bytes(AF_INET, &in->sin_addr, ntohs(in->sin_port));
    if (at->ss_family == AF_INET6)
        return endpoint_from_bytes(AF_INET6, &in6->sin6_addr, ntohs(in6->sin6_port));
    return (struct endpoint){0};
}

void target_note_peer(struct target *target, int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t length = sizeof at;
    if (getpeername(fd, (struct sockaddr *)&at, &length) < 0)
        return;
    struct endpoint peer = endpoint_from_socket(&at);
    if (peer.family != ENDPOINT_NONE)
        target_note_address(target, &peer);
}

bool probe_local_endpoint(int fd, struct endpoint *local)
{
    struct sockaddr_storage at = {0};
    socklen_t length = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        return false;
    *local = endpoint_from_socket(&at);
    return local->family != ENDPOINT_NONE;
}

void target_probe_unix_path(struct target *target, const char *path)
{
    text_copy(target->unix_path_found, sizeof target->unix_path_found, path);
    target->unix_path = target->unix_path_found;
}

static void target_name_place(struct target *target)
{
    struct text text = text_in(target->place, sizeof target->place);
    if (target->unix_path && target->message.kind == TARGET_REDIS)
        text_add(&text, "%s", target->unix_path);
    else if (strchr(target->host, ':'))
        text_add(&text, "[%s]:%u", target->host, target->port);
    else
        text_add(&text, "%s:%u", *target->host ? target->host : "(default host)", target->port);
}

void target_read_place(struct target *target)
{
    const char *params = target->message.params, *port = params_get(params, "port"), *host = params_get(params, "host");
    unsigned long number = strtoul(port ? port : target->ops->default_port, NULL, 10);
    struct endpoint e;
    if (!host)
        host = params_get(params, "hostaddr");
    text_copy(target->host, sizeof target->host, host ? host : "");
    target->port = number <= 65535 ? (uint16_t)number : 0;
    target->unix_path = target->ops->unix_path(params);
    target_name_place(target);
    const char *numeric = target_numeric_host(target);
    if (numeric && !target->unix_path && endpoint_parse(&e, numeric, target->port) == 0)
        target_note_address(target, &e);
}
