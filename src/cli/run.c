/* `lastcall run`: becomes the user, takes all signals, and hands over to the supervisor. What fails before the app was
 * started ends lastcall with 125 and one clear line. */
#include <stdlib.h>

#include "cli/verbs.h"
#include "common/log.h"
#include "supervisor/app/signals.h"
#include "supervisor/app/user.h"
#include "supervisor/platform/agent_keeper.h"
#include "supervisor/supervisor.h"

enum { EXIT_OWN_FAILURE = 125 };

static int become_user(const struct config *config, struct error *error)
{
    struct user user;
    if (!config->user[0])
        return 0;
    if (user_look_up(&user, config->user, error) < 0 || user_become(&user, error) < 0)
        return -1;
    return setenv("HOME", user.home, 1);
}

int verb_run(const struct config *config)
{
    struct error error = {""};
    char agent_path[4096] = "";
    struct supervisor_start start = {.config = config, .agent_path = agent_path};
    agent_keeper_find(agent_path, sizeof agent_path);
    if (become_user(config, &error) < 0) {
        log_error("user %s: %s", config->user, error.text);
        return EXIT_OWN_FAILURE;
    }
    start.signal_fd = signals_open(&start.ignored);
    if (start.signal_fd < 0) {
        log_error("cannot take signals: %m");
        return EXIT_OWN_FAILURE;
    }
    return supervisor_run(&start);
}
