/* Another process's user for a moment: see common/as_user.h. Changes the calling thread only, by the system calls
 * themselves (those of the C library change all threads), and never leaves it changed. */
#include "common/as_user.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { UNCHANGED = -1, TRIES = 100 };

#ifdef SYS_setresuid32 /* where the plain ones take 16 bits */
enum { SET_UID = SYS_setresuid32, SET_GID = SYS_setresgid32, SET_FS_UID = SYS_setfsuid32, SET_FS_GID = SYS_setfsgid32 };
#else
enum { SET_UID = SYS_setresuid, SET_GID = SYS_setresgid, SET_FS_UID = SYS_setfsuid, SET_FS_GID = SYS_setfsgid };
#endif

/* -- who is who ---------------------------------------------------------------------------------------------------- */

static int read_owner(pid_t pid, const char *file, struct stat *st)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d%s", pid, file);
    return stat(path, st);
}

/* The directory belongs to the effective ids whatever the process is; what lies in it, to root when the process is not
 * dumpable (proc(5); fs/proc/base.c, task_dump_owner()). */
int as_user_read_ids(pid_t pid, uid_t *uid, gid_t *gid)
{
    struct stat st;
    if (read_owner(pid, "", &st) < 0)
        return -1;
    *uid = st.st_uid;
    *gid = st.st_gid;
    return 0;
}

static bool is_dumpable(pid_t pid, uid_t uid)
{
    struct stat st;
    return uid == 0 || read_owner(pid, "/status", &st) < 0 || st.st_uid == uid;
}

static const unsigned long long to_touch = 1ULL << CAP_SYS_PTRACE, to_signal = 1ULL << CAP_KILL;
static const unsigned long long to_change = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID;

static bool has_capabilities(unsigned long long wanted)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &head, data) < 0)
        return false;
    unsigned long long effective = (unsigned long long)data[1].effective << 32 | data[0].effective;
    return (effective & wanted) == wanted;
}

static bool must_change(enum as_user_for what)
{
    return !has_capabilities(what == AS_USER_TO_SIGNAL ? to_signal : to_touch) && has_capabilities(to_change);
}

/* The thread is somebody else already: another one's turn comes after that. */
static _Thread_local bool is_changed;

/* -- the change ---------------------------------------------------------------------------------------------------- */

static long set_real(long call, unsigned real, unsigned others)
{
    return syscall(call, real, others, others);
}

/* They tell the former id, and no error: asked with one that there is not, they tell only. */
static bool set_fs(long call, unsigned id)
{
    syscall(call, id);
    return (unsigned)syscall(call, UNCHANGED) == id;
}

/* The kernel takes both away from who changes his ids (commit_creds()). Whoever looks at us must still be able to. */
static void restore_attributes(const struct as_user *as)
{
    if (as->dumpable)
        prctl(PR_SET_DUMPABLE, 1);
    if (as->death_signal)
        prctl(PR_SET_PDEATHSIG, as->death_signal);
}

/* The ids of files last: with them go capabilities. */
static bool take(const struct as_user *as)
{
    if (as->what != AS_USER_TO_LOOK && (set_real(SET_GID, as->gid, as->own_gid) < 0 ||
                                        set_real(SET_UID, as->uid, as->own_uid) < 0))
        return false;
    return set_fs(SET_FS_GID, as->gid) && set_fs(SET_FS_UID, as->uid);
}

/* The ids of files first: setresuid(2) would set them as well, and not raise the capabilities again that went with
 * them. */
static bool give_back(const struct as_user *as)
{
    unsigned lacking = !set_fs(SET_FS_UID, as->own_uid) + !set_fs(SET_FS_GID, as->own_gid);
    if (as->what != AS_USER_TO_LOOK)
        lacking += (set_real(SET_UID, as->own_uid, as->own_uid) < 0) +
                   (set_real(SET_GID, as->own_gid, as->own_gid) < 0);
    return lacking == 0;
}

/* Memory for the credentials is all that it can lack. */
static void finish(struct as_user *as)
{
    for (int i = 0; i < TRIES && !give_back(as); i++)
        continue;
    restore_attributes(as);
    as->on = is_changed = false;
}

static void begin(struct as_user *as)
{
    as->dumpable = prctl(PR_GET_DUMPABLE) == 1;
    as->death_signal = 0;
    prctl(PR_GET_PDEATHSIG, &as->death_signal);
    is_changed = true;
    if (take(as)) {
        as->on = true;
        restore_attributes(as);
    } else {
        finish(as);
    }
}

static void change_to(struct as_user *as, uid_t uid, gid_t gid, enum as_user_for what)
{
    if (as->on && as->uid == uid && as->gid == gid && as->what == what)
        return;
    if (as->on)
        finish(as);
    as->own_uid = geteuid();
    as->own_gid = getegid();
    if (is_changed || (uid == as->own_uid && gid == as->own_gid))
        return;
    as->uid = uid;
    as->gid = gid;
    as->what = what;
    begin(as);
}

void as_user_of(struct as_user *as, pid_t pid, enum as_user_for what)
{
    int error = errno;
    uid_t uid;
    gid_t gid;
    bool asked = as->pid == pid && !(as->on && as->what != what);
    if (!asked && (as->on || must_change(what)) && as_user_read_ids(pid, &uid, &gid) == 0) {
        change_to(as, uid, gid, what);
        as->pid = pid;
    }
    errno = error;
}

void as_user_end(struct as_user *as)
{
    int error = errno;
    if (as->on)
        finish(as);
    as->pid = 0;
    errno = error;
}

int as_user_kill(pid_t pid, int signo)
{
    int done = kill(pid, signo);
    if (done == 0 || errno != EPERM)
        return done;
    struct as_user as _cleanup_as_user_ = {0};
    as_user_of(&as, pid < 0 ? -pid : pid, AS_USER_TO_SIGNAL);
    return kill(pid, signo);
}

/* -- what is in the way -------------------------------------------------------------------------------------------- */

static void say_not_dumpable(pid_t pid, uid_t uid, uid_t own, char *text, size_t size)
{
    if (uid == own)
        snprintf(text, size, "process %d is not dumpable (prctl(2); or nobody may read its program); cure: "
                 "add SYS_PTRACE", pid);
    else
        snprintf(text, size, "process %d became uid %u and has executed nothing since, lastcall runs as %u; cure: "
                 "user: %u, or change it with setpriv, or add SYS_PTRACE", pid, uid, own, uid);
}

bool as_user_find_obstacle(pid_t pid, char *text, size_t size)
{
    uid_t uid, own = geteuid();
    gid_t gid, own_gid = getegid();
    if (as_user_read_ids(pid, &uid, &gid) < 0 || has_capabilities(to_touch))
        return false;
    bool hidden = !is_dumpable(pid, uid), other = uid != own || gid != own_gid;
    if (hidden)
        say_not_dumpable(pid, uid, own, text, size);
    else if (other && !has_capabilities(to_change))
        snprintf(text, size, "process %d runs as %u:%u, lastcall as %u:%u without SETUID and SETGID; cure: "
                 "user: %u:%u, or add these, or SYS_PTRACE", pid, uid, gid, own, own_gid, uid, gid);
    return hidden || (other && !has_capabilities(to_change));
}
