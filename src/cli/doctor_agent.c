/* Runs `lastcall-agent --probe` and hears what it found. Waits for it, with a limit; what it has not said by then is
 * not known. Passwords go through here to the agent, and are never shown. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/param.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/clock.h"
#include "common/fd.h"
#include "supervisor/app/spawn.h"
#include "supervisor/platform/agent_say.h"
#include "wire/channel.h"

/* Its own limit is 4 s after it heard READY (agent/probe.c). */
#define LISTEN_US (4300 * US_PER_MS)
enum { AGENT_CHANNEL = 3 };

/* The program is known by path, or looked up in PATH as run does it. */
static pid_t start(const char *program, int channel, struct error *error)
{
    char *argv[] = {(char *)program, "--probe", NULL};
    struct spawn_request request = {.argv = argv, .envp = environ, .terminal = -1, .own_group = true,
                                    .keep_fd = channel, .keep_as = AGENT_CHANNEL, .death_signal = SIGKILL};
    struct spawn_failure failure = {SPAWN_OK, 0};
    pid_t pid = spawn_process(&request, &failure);
    if (pid == -1)
        error_set(error, "%s cannot be started: %s: %s: put lastcall-agent beside lastcall, or let LASTCALL_AGENT name "
                  "it", program, spawn_step_name(failure.step), strerror(failure.error));
    return pid;
}

static void note(const struct message_found *found, struct doctor_facts *facts)
{
    size_t target = found->target < 0 ? WIRE_TARGETS : (size_t)found->target;
    facts->of[target][found->what].found = true;
    facts->of[target][found->what].message = *found;
}

/* Until the agent has ended, or time is over. */
static void listen_to(int fd, struct doctor_facts *facts)
{
    static union channel_packet packet;
    int64_t until_us = clock_now_us() + LISTEN_US;
    for (int64_t left_us; (left_us = until_us - clock_now_us()) > 0;) {
        struct pollfd ready = {fd, POLLIN, 0};
        long size = channel_receive(fd, &packet);
        if (size == 0 || (size < 0 && errno != EAGAIN))
            return;
        const struct message_header *header = (const void *)packet.bytes;
        if (size > 0 && header->kind == MESSAGE_FOUND)
            note((const void *)packet.bytes, facts);
        else if (size < 0)
            poll(&ready, 1, (int)(left_us / US_PER_MS) + 1);
    }
}

int doctor_ask_agent(const char *program, const struct config *config, struct doctor_facts *facts, struct error *error)
{
    int ends[2];
    if (channel_open_pair(ends) == -1)
        return error_set(error, "no channel to the agent: %s", strerror(errno));
    int ours _cleanup_close_ = ends[0], theirs _cleanup_close_ = ends[1];
    pid_t pid = start(program, theirs, error);
    if (pid == -1)
        return -1;
    fd_close(&theirs);
    int said = agent_say_hello(ours, config), why = errno;
    if (said == 0)
        listen_to(ours, facts);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return said == 0 ? 0 : error_set(error, "the agent takes no message: %s", strerror(why));
}
