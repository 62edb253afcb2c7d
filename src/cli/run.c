/* `lastcall run`: all of it is the supervisor's. */
#include "cli/verbs.h"
#include "supervisor/supervisor.h"

int verb_run(const struct config *config)
{
    return supervisor_start(config);
}
