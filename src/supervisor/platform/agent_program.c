/* The file that lastcall-agent is run from: finding it, and looking whether it could be run. Runs nothing. */
#include "supervisor/platform/agent_program.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* execvpe(3), when there is no PATH */

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

/* 0: yes; else errno. */
static int why_not_executable(const char *path)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EACCES; /* as execve(2) says it */
    return access(path, X_OK) == -1 ? errno : 0;
}

/* One that is there but may not be executed tells more than all that are not. */
static int why_not_in_path(const char *name)
{
    const char *path = getenv("PATH");
    int telling = ENOENT;
    for (const char *from = path ? path : DEFAULT_PATH, *end;; from = end + 1) {
        char candidate[PATH_MAX];
        struct text text = text_in(candidate, sizeof candidate);
        end = strchrnul(from, ':');
        text_add(&text, "%.*s%s%s", (int)(end - from), from, end > from ? "/" : "", name);
        int why = why_not_executable(candidate);
        if (why == EACCES)
            telling = EACCES;
        if (why == 0 || *end == 0)
            return why == 0 ? 0 : telling;
    }
}

int agent_program_check(const char *path, struct error *error)
{
    int why = strchr(path, '/') ? why_not_executable(path) : why_not_in_path(path);
    if (why == 0)
        return 0;
    return error_set(error, "the agent %s cannot be executed: %s: put lastcall-agent beside lastcall, or let "
                     "LASTCALL_AGENT name it; without it no connection is watched", path, strerror(why));
}
