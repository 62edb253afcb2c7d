/* Before the app: become the user, take all signals, find the agent. What fails here ends lastcall with 125 and one
 * clear line; after it nothing does. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "config/print.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/user.h"
#include "supervisor/platform/agent_program.h"
#include "supervisor/state.h"

enum { EXIT_OWN_FAILURE = 125 };

static int become_user(const struct config *config, struct error *error)
{
    struct user user;
    if (!config->user[0])
        return 0;
    if (user_look_up(&user, config->user, error) < 0 || user_become(&user, error) < 0)
        return -1;
    /* A change of uid hides /proc/self/fd from the agent, which looks for the app's last sockets there (prctl(2)). */
    if (prctl(PR_SET_DUMPABLE, 1) < 0)
        log_debug("PR_SET_DUMPABLE: %m");
    return setenv("HOME", user.home, 1);
}

/* A duplicate for each connection of a large pool: as many as we are allowed. The app's own limit stays as it was. */
static void raise_descriptors(struct supervisor_start *start)
{
    if (getrlimit(RLIMIT_NOFILE, &start->descriptors) < 0)
        start->descriptors = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit most = {start->descriptors.rlim_max, start->descriptors.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &most) < 0)
        log_debug("RLIMIT_NOFILE: %m");
}

/* As tini's -p. After any change of uid, which clears it, and once the signal is blocked (prctl(2)). A parent that
 * ended before is told by its child's new one. */
static void follow_parent(const struct config *config, pid_t parent)
{
    int signo = config->parent_death_signal;
    if (!signo)
        return;
    if (prctl(PR_SET_PDEATHSIG, signo) < 0)
        log_warning("parent_death_signal: %m: the end of the parent is not noticed");
    else if (getppid() != parent)
        kill(getpid(), signo);
}

static int refuse(const struct config *config, const char *key, const char *story)
{
    char where[320];
    struct text text = text_in(where, sizeof where);
    print_origin(config, key_find(key), &text);
    log_error("%s: %s", where, story);
    return EXIT_OWN_FAILURE;
}

int supervisor_start(const struct config *config)
{
    struct error error = {""};
    pid_t parent = getppid();
    char agent_path[4096] = "";
    struct supervisor_start start = {.config = config, .agent_path = agent_path};
    if (supervisor_check_sequence(config, &error) < 0)
        return refuse(config, "stop.sequence", error.text);
    agent_program_find(agent_path, sizeof agent_path); /* before any change of uid: /proc/self/exe */
    if (become_user(config, &error) < 0)
        return refuse(config, "user", error.text);
    if (config->http_listen[0])
        log_warning("http.listen %s: nothing is served there yet", config->http_listen);
    raise_descriptors(&start);
    start.signal_fd = signals_open(&start.ignored);
    if (start.signal_fd < 0) {
        log_error("cannot take signals: %m");
        return EXIT_OWN_FAILURE;
    }
    follow_parent(config, parent);
    return supervisor_run(&start);
}
