/* Whether a program could be executed, by looking only: runs nothing. */
#include "supervisor/app/program.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* execvpe(3), when there is no PATH */

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

int program_why_not(const char *program)
{
    return strchr(program, '/') ? why_not_executable(program) : why_not_in_path(program);
}
