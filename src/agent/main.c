/* lastcall-agent: the eyes of lastcall. Looks at the app's sockets, asks the servers, tells the supervisor.
 *
 * One loop, nothing waits. It decides nothing, touches no socket of the app, and lives as long as the channel on
 * descriptor 3 does: no signal but SIGKILL ends it, since a signal to the process group (^C, `docker stop`) comes when
 * the supervisor needs it most. With a mode (agent/probe.h,
 * agent/call.h, agent/wait.h) it does that one thing, tells what it found, and ends. */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/link.h"
#include "agent/predecessor.h"
#include "agent/probe.h"
#include "agent/sampler.h"
#include "agent/wait.h"
#include "common/fd.h"
#include "common/log.h"

#ifndef LASTCALL_VERSION
#define LASTCALL_VERSION "unknown"
#endif

enum { CHANNEL_FD = 3, EXIT_LOST = 1, EXIT_USAGE = 2, OOM_SCORE_MORE = 200, OOM_SCORE_MOST = 1000 };

struct agent {
    struct ev_loop *loop;
    struct link *link;
    struct sampler *sampler; /* NULL before SETTINGS */
    int exit_code;
};

static void agent_stop(struct agent *agent, int exit_code)
{
    agent->exit_code = exit_code;
    ev_break(agent->loop, EVBREAK_ALL);
}

static void agent_send(void *context, const void *message)
{
    struct agent *agent = context;
    link_send(agent->link, message);
}

static void take_settings(void *context, const void *message)
{
    const struct message_settings *settings = message;
    struct agent *agent = context;
    log_set_level((enum log_level)settings->log_level);
    agent->sampler = sampler_create(agent->loop, settings, agent_send, agent);
    if (agent->sampler)
        return;
    log_error("out of memory");
    _exit(EXIT_LOST); /* the supervisor starts another; nothing here is worth an orderly end */
}

static void take_target(void *context, const void *message)
{
    struct agent *agent = context;
    if (sampler_add_target(agent->sampler, message) == 0)
        return;
    log_error("no room for target %s", ((const struct message_target *)message)->name);
    agent_stop(agent, EXIT_LOST);
}

static void take_ready(void *context, const void *message)
{
    (void)message;
    sampler_start(((struct agent *)context)->sampler);
}

static void take_look(void *context, const void *message)
{
    sampler_look(((struct agent *)context)->sampler, message);
}

static void take_end(void *context, const void *message)
{
    sampler_end(((struct agent *)context)->sampler, message);
}

static void take_predecessor(void *context, const void *message)
{
    predecessor_begin(((struct agent *)context)->sampler, message);
}

static void channel_lost(void *context, int failed, const char *why)
{
    if (failed)
        log_error("the channel to the supervisor is lost: %s", why);
    else
        log_debug("%s", why);
    agent_stop(context, failed ? EXIT_LOST : 0);
}

/* Every signal whose default would end or stop the agent and that may come to a whole process group. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                  SIGPIPE, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

/* The agent can be had again, the app cannot: when memory runs out the agent goes first (proc(5), oom_score_adj). */
static void offer_to_oom_killer(void)
{
    char text[16];
    int fd _cleanup_close_ = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_file(AT_FDCWD, "/proc/self/oom_score_adj", text, sizeof text) < 0)
        return;
    int score = atoi(text) + OOM_SCORE_MORE;
    int length = snprintf(text, sizeof text, "%d", score < OOM_SCORE_MOST ? score : OOM_SCORE_MOST);
    if (fd_write_all(fd, text, (size_t)length) < 0)
        log_debug("/proc/self/oom_score_adj: %s", strerror(errno));
}

static bool has_channel(void)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    return getsockopt(CHANNEL_FD, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

static int run(void)
{
    struct agent agent = {.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV)};
    const struct link_handlers handlers = {
        .of = {[MESSAGE_SETTINGS] = take_settings,
               [MESSAGE_TARGET] = take_target,
               [MESSAGE_READY] = take_ready,
               [MESSAGE_LOOK] = take_look,
               [MESSAGE_END] = take_end,
               [MESSAGE_PREDECESSOR] = take_predecessor},
        .lost = channel_lost,
        .context = &agent,
    };
    agent.link = agent.loop ? link_create(agent.loop, CHANNEL_FD, LINK_STUCK_SECONDS, &handlers) : NULL;
    if (!agent.link) {
        log_error("no event loop: %s", strerror(errno));
        return EXIT_LOST;
    }
    ev_run(agent.loop, 0);
    sampler_destroy(agent.sampler);
    link_destroy(agent.link);
    ev_loop_destroy(agent.loop);
    return agent.exit_code;
}

static int run_probe(char *const *words)
{
    (void)words;
    return probe_run(CHANNEL_FD);
}

static int run_call(char *const *words)
{
    return call_run(CHANNEL_FD, words[0]);
}

static int run_wait(char *const *words)
{
    return wait_run(CHANNEL_FD, words);
}

static const struct mode {
    const char *word;
    int least, most; /* words that follow */
    int (*run)(char *const *words);
} modes[] = {{"--probe", 0, 0, run_probe}, {"--call", 1, 1, run_call}, {"--wait", 1, WIRE_TARGETS, run_wait}};

static const struct mode *mode_of(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].word) == 0 && argc - 2 >= modes[i].least && argc - 2 <= modes[i].most)
            return &modes[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("lastcall-agent %s\n", LASTCALL_VERSION) < 0;
    const struct mode *mode = mode_of(argc, argv);
    if ((argc > 1 && !mode) || !has_channel()) {
        fprintf(stderr, "lastcall-agent: started by lastcall only, its channel on descriptor 3;"
                        " takes --version, --probe, --call URL and --wait NAME…\n");
        return EXIT_USAGE;
    }
    fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    log_init("lastcall-agent", LOG_LEVEL_INFO);
    signal(SIGPIPE, SIG_IGN);
    if (mode)
        return mode->run(argv + 2);
    ignore_signals();
    offer_to_oom_killer();
    return run();
}
