/* The file that lastcall-agent is run from: finding it, and looking whether it could be run. Runs nothing. */
#include "supervisor/platform/agent_program.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "supervisor/app/program.h"

int agent_program_find(char *path, size_t size)
{
    const char *given = getenv("LASTCALL_AGENT");
    char self[PATH_MAX];
    if (given && *given)
        return text_copy(path, size, given) ? 0 : (errno = ENAMETOOLONG, -1);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length == -1)
        return -1;
    self[length] = 0;
    char *name = strrchr(self, '/');
    if (name)
        name[1] = 0;
    struct text text = text_in(path, size);
    text_add(&text, "%slastcall-agent", name ? self : "");
    return text.cut ? (errno = ENAMETOOLONG, -1) : 0;
}

int agent_program_check(const char *path, struct error *error)
{
    int why = program_why_not(path);
    if (why == 0)
        return 0;
    return error_set(error, "the agent %s cannot be executed: %s: put lastcall-agent beside lastcall, or let "
                     "LASTCALL_AGENT name it; without it no connection is watched", path, strerror(why));
}
