/* Apps that become another user by themselves (setpriv, gosu): whether they could be held here, tried on a child of our
 * own; and what hides the app of a lastcall that runs here already. Touches no process but its own child. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/as_user.h"
#include "common/fd.h"
#include "common/process.h"
#include "common/text.h"

enum { SOMEBODY = 65534 };

static const struct doctor_remedy remedy = {
    .docker = "--cap-add SETUID --cap-add SETGID   or   --cap-add SYS_PTRACE",
    .compose = "cap_add: [SETUID, SETGID]   or   [SYS_PTRACE]",
    .kubernetes = "securityContext: {capabilities: {add: [SETUID, SETGID]}}   or   {add: [SYS_PTRACE]}",
    .systemd = "User=NAME   or   CapabilityBoundingSet=CAP_SETUID CAP_SETGID",
};

static void say_unseen(const struct doctor *doctor, struct doctor_row *row, const char *user)
{
    text_copy(row->consequence, sizeof row->consequence, "its connections are not seen: a stop cuts what is open, and "
              "the report's numbers are not known");
    doctor_cure(row, "environment", "LASTCALL_USER=%s", user);
    doctor_prescribe(doctor, row, &remedy);
}

/* ---- tried on a child ---- */

/* The child: another user, and dumpable, as after the execve(2) of setpriv. Says by its exit that it could not. */
static void live_as_somebody(int tell)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (syscall(SYS_setresgid, SOMEBODY, SOMEBODY, SOMEBODY) < 0 ||
        syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || write(tell, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* A pid, or 0: there can be no such process here. */
static pid_t start_somebody(void)
{
    char byte;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0)
        live_as_somebody(ends[1]);
    close(ends[1]);
    bool lives = pid > 0 && read(ends[0], &byte, 1) == 1;
    close(ends[0]);
    if (pid > 0 && !lives)
        waitpid(pid, NULL, 0);
    return lives ? pid : 0;
}

static bool can_look_at(pid_t pid, int fd, bool *as_user)
{
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid, AS_USER_TO_LOOK);
    *as_user = as.on;
    return process_socket_inode(pid, fd) != 0;
}

static void try_somebody(struct doctor *doctor)
{
    char why[160] = "it cannot be looked at";
    int fd _cleanup_close_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool as_user;
    prctl(PR_SET_DUMPABLE, 1);
    pid_t pid = start_somebody();
    if (pid == 0)
        return; /* neither could an app become another user */
    if (can_look_at(pid, fd, &as_user)) {
        doctor_add(doctor, DOCTOR_YES, "other user", "", "an app that becomes another user (setpriv, gosu) is seen%s",
                   as_user ? ": as that user, for a moment" : ", by CAP_SYS_PTRACE");
    } else {
        as_user_find_obstacle(pid, why, sizeof why);
        struct doctor_row *row = doctor_add(doctor, DOCTOR_PART, "other user", "",
                                            "an app that becomes another user (setpriv, gosu) is not seen: %s", why);
        say_unseen(doctor, row, "NAME");
    }
    doctor->rows[doctor->count - 1].needed = false; /* most do not */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- the app of a lastcall that runs here ---- */

static bool is_lastcall_of_ours(pid_t pid, uid_t *uid)
{
    struct process_stat stat;
    gid_t gid;
    return pid != getpid() && process_read_stat(pid, &stat) == 0 && strcmp(stat.name, "lastcall") == 0 &&
           as_user_read_ids(pid, uid, &gid) == 0 && *uid == geteuid();
}

static bool is_agent(pid_t pid)
{
    struct process_stat stat;
    return process_read_stat(pid, &stat) == 0 && strcmp(stat.name, "lastcall-agent") == 0;
}

/* True when it was worth a row. */
static bool judge_process(struct doctor *doctor, pid_t lastcall, pid_t pid, uid_t own)
{
    char why[160], user[24];
    uid_t uid;
    gid_t gid;
    if (is_agent(pid) || as_user_read_ids(pid, &uid, &gid) < 0)
        return false;
    snprintf(user, sizeof user, "%u:%u", uid, gid);
    bool hides = as_user_find_obstacle(pid, why, sizeof why);
    if (hides)
        say_unseen(doctor, doctor_add(doctor, DOCTOR_NO, "app", "", "of lastcall (pid %d): %s", lastcall, why), user);
    else if (uid != own)
        doctor_add(doctor, DOCTOR_YES, "app", "", "it runs as uid %u and lastcall (pid %d) as %u: seen as that user",
                   uid, lastcall, own);
    return hides || uid != own;
}

/* The first process of it that runs as another user, or hides. */
static bool judge_lastcall(struct doctor *doctor, pid_t lastcall, uid_t own)
{
    struct process_tree tree = {0};
    bool found = false;
    if (process_tree_read(&tree, lastcall, 0) == 0)
        for (size_t i = 0; i < tree.count && !found; i++)
            found = judge_process(doctor, lastcall, tree.pids[i], own);
    process_tree_finish(&tree);
    return found;
}

static void look_for_apps(struct doctor *doctor)
{
    uid_t uid;
    DIR *proc = opendir("/proc");
    bool found = false;
    for (struct dirent *e; proc && !found && (e = readdir(proc));) {
        pid_t pid = (pid_t)atoi(e->d_name);
        found = pid > 0 && is_lastcall_of_ours(pid, &uid) && judge_lastcall(doctor, pid, uid);
    }
    if (proc)
        closedir(proc);
}

void doctor_try_user(struct doctor *doctor)
{
    if (geteuid() == 0)
        try_somebody(doctor);
    look_for_apps(doctor);
}
