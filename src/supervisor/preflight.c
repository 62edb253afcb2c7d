/* What would be missing if lastcall were started here, for `lastcall check`: a row each. Starts nothing, connects
 * nowhere and writes nothing; but it becomes the user, since that one must be able to. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/signals.h"
#include "common/text.h"
#include "config/hook.h"
#include "supervisor/app/program.h"
#include "supervisor/app/user.h"
#include "supervisor/platform/agent_program.h"
#include "supervisor/state.h"
#include "supervisor/supervisor.h"

struct preflight {
    const struct config *config;
    char agent_path[PATH_MAX];  /* empty: could not be found out */
    bool is_user;               /* we are who would do it */
};

/* Root becomes it, and whoever is that user already. Another one cannot try, but can see
 * whether there is such a user. */
static int check_user(struct preflight *preflight, struct error *error)
{
    struct user user;
    if (!preflight->config->user[0])
        return 0;
    preflight->is_user = false;
    if (user_look_up(&user, preflight->config->user, error) == -1)
        return -1;
    if (geteuid() != 0 && geteuid() != user.uid)
        return 0;
    preflight->is_user = true;
    return user_become(&user, error);
}

/* The directory of a file that is not there yet. */
static void directory_of(char directory[static PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    struct text text = text_in(directory, PATH_MAX);
    text_add(&text, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
}

/* As supervisor/report/write.c does it: a file of its own that replaces the former one, or written
 * in place. 0, or errno. */
static int why_not_writable(const char *path)
{
    char directory[PATH_MAX];
    struct stat st;
    int there = stat(path, &st);
    if (there == -1 && errno != ENOENT)
        return errno;
    if (there == 0 && S_ISDIR(st.st_mode))
        return EISDIR;
    if (there == 0 && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0)
        return 0;
    if (there == 0 && !S_ISREG(st.st_mode))
        return errno;
    directory_of(directory, path);
    return faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

static int check_report_file(struct preflight *preflight, struct error *error)
{
    const char *path = preflight->config->report_file;
    int why = path[0] && preflight->is_user ? why_not_writable(path) : 0;
    if (why == 0)
        return 0;
    return error_set(error, "the report cannot be written to %s by uid %u: %s: %s", path, (unsigned)geteuid(),
                     strerror(why),
                     why == ENOENT ? "create its directory, or name another file"
                                   : "name another file, or let this user write there");
}

/* A signal that comes as late as the stop deadline never comes: the app is held and killed then. A start that refuses
 * it says so on the desk; a signal left out would show in the one stop that needed it. */
int supervisor_check_sequence(const struct config *config, struct error *error)
{
    const struct config_sequence *sequence = &config->stop_sequence;
    int64_t first_us = config->stop_order == ORDER_SIGNAL_FIRST ? 0 : config->stop_settle_us;
    int64_t room_us = lifecycle_deadlines_of(0, config->grace_period_us, false).stop - first_us;
    char after[32] = "", room[32] = "";
    struct text after_text = text_in(after, sizeof after), room_text = text_in(room, sizeof room);
    unsigned i = 0;
    while (i < sequence->count && sequence->list[i].after_us < room_us)
        i++;
    if (i == sequence->count)
        return 0;
    text_add_duration(&after_text, sequence->list[i].after_us);
    text_add_duration(&room_text, room_us);
    return error_set(error, "stop.sequence: %s after %s would never be sent: of this grace_period the app has %s from "
                     "the first signal on, then it is killed: give it an earlier time, or a longer grace_period",
                     signal_name(sequence->list[i].signo), after, room_us > 0 ? room : "nothing");
}

static int check_sequence(struct preflight *preflight, struct error *error)
{
    return supervisor_check_sequence(preflight->config, error);
}

static int check_agent(struct preflight *preflight, struct error *error)
{
    if (preflight->config->target_count == 0 && !preflight->config->http_listen[0])
        return 0; /* none is started */
    return agent_program_check(preflight->agent_path, error);
}

/* As hooks_start() does it. */
static int check_hook(const struct preflight *preflight, enum config_hook_name which, struct error *error)
{
    const struct config_command *command = &preflight->config->hooks[which].command;
    const char *program = command->kind == COMMAND_SHELL ? "/bin/sh" : hook_argument(command, 0);
    if (command->kind == COMMAND_NONE)
        return 0;
    if (command->kind == COMMAND_URL)
        return agent_program_check(preflight->agent_path, error);
    int why = program_why_not(program);
    if (why == 0)
        return 0;
    return error_set(error, "%.200s cannot be executed: %s: %s", program, strerror(why),
                     command->kind == COMMAND_SHELL ? "write the hook as a list, which needs no shell"
                                                    : "name a program that is there, by its path if not in PATH");
}

static int check_pre_start(struct preflight *preflight, struct error *error)
{
    return check_hook(preflight, HOOK_PRE_START, error);
}

static int check_announce(struct preflight *preflight, struct error *error)
{
    return check_hook(preflight, HOOK_ANNOUNCE, error);
}

static int check_post_stop(struct preflight *preflight, struct error *error)
{
    return check_hook(preflight, HOOK_POST_STOP, error);
}

/* In this order: what comes after the user is judged as that user. */
static const struct {
    const char *key; /* that it is about, or NULL */
    int (*check)(struct preflight *preflight, struct error *error);
} rows[] = {
    {"stop.sequence", check_sequence},
    {"user", check_user},
    {"report.file", check_report_file},
    {NULL, check_agent},
    {"hooks.pre_start", check_pre_start},
    {"hooks.announce", check_announce},
    {"hooks.post_stop", check_post_stop},
};

unsigned supervisor_check(const struct config *config,
                          void (*say)(void *context, const char *key, const char *text), void *context)
{
    struct preflight preflight = {.config = config, .is_user = true};
    unsigned missing = 0;
    if (agent_program_find(preflight.agent_path, sizeof preflight.agent_path) == -1)
        snprintf(preflight.agent_path, sizeof preflight.agent_path, "lastcall-agent");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {""};
        if (rows[i].check(&preflight, &error) == 0)
            continue;
        say(context, rows[i].key, error.text);
        missing++;
    }
    return missing;
}
