/* What a round looks for among the sockets: the targets' ports and paths. Never waits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/sampler_state.h"
#include "agent/targets/params.h"
#include "common/text.h"

enum { PATH_BYTES = 128 };

static uint16_t default_port(unsigned kind)
{
    return kind == TARGET_REDIS ? 6379 : kind == TARGET_PGBOUNCER ? 6432 : 5432;
}

uint16_t probe_port(const struct probe *probe)
{
    const char *port = params_get(probe->message->params, "port");
    int number = port ? atoi(port) : 0;
    return number > 0 && number <= UINT16_MAX ? (uint16_t)number : default_port(probe->message->kind);
}

static void add_port(struct sockets_question *question, uint16_t port)
{
    for (size_t i = 0; i < question->port_count; i++)
        if (question->ports[i] == port)
            return;
    if (port && question->port_count < DIAG_PORTS)
        question->ports[question->port_count++] = port;
}

/* Where the socket's peer is rewritten on connect (Cilium), the address behind a name has another port too. */
size_t probe_addresses(const struct probe *probe, struct endpoint addresses[LEDGER_ADDRESSES])
{
    size_t count = probe->target ? target_addresses(probe->target, addresses, LEDGER_ADDRESSES) : 0;
    return count < LEDGER_ADDRESSES ? count : LEDGER_ADDRESSES;
}

/* libpq takes a directory and finds ".s.PGSQL.PORT" in it; Redis names the socket itself. */
static bool path_of(const struct probe *probe, char path[PATH_BYTES])
{
    const char *at = probe->target ? target_unix_path(probe->target) : NULL;
    if (!at)
        return false;
    struct text text = text_in(path, PATH_BYTES);
    text_add(&text, "%s", at);
    if (probe->message->kind != TARGET_REDIS && !strstr(at, "/.s.PGSQL."))
        text_add(&text, "/.s.PGSQL.%u", probe_port(probe));
    return !text.cut;
}

static int16_t add_path(struct sockets_question *question, char paths[][PATH_BYTES], const struct probe *probe)
{
    char path[PATH_BYTES];
    if (!path_of(probe, path))
        return -1;
    for (size_t i = 0; i < question->path_count; i++)
        if (strcmp(question->paths[i], path) == 0)
            return (int16_t)i;
    memcpy(paths[question->path_count], path, sizeof path);
    question->paths[question->path_count] = paths[question->path_count];
    return (int16_t)question->path_count++;
}

static void add_ports(struct sockets_question *question, const struct probe *probe)
{
    struct endpoint addresses[LEDGER_ADDRESSES];
    size_t count = probe_addresses(probe, addresses);
    add_port(question, probe_port(probe));
    for (size_t i = 0; i < count; i++)
        add_port(question, addresses[i].port);
}

void sampler_look_at_sockets(struct sampler *sampler)
{
    struct round *round = &sampler->round;
    char paths[WIRE_TARGETS][PATH_BYTES];
    struct sockets_question question = {
        .root = sampler->settings.supervisor_pid, .except = getpid(), .want_epoll = round->want_text,
        .with_root = round->with_own, .want_whole = round->whole};
    for (size_t i = 0; i < sampler->probe_count; i++) {
        round->path_of[i] = add_path(&question, paths, &sampler->probes[i]);
        if (round->path_of[i] < 0)
            add_ports(&question, &sampler->probes[i]);
    }
    round->sockets = sockets_look(sampler->sockets, &question);
}
