/* To count as another process's user for a moment. Root without CAP_SYS_PTRACE (a container's root, as most runtimes
 * make it) may neither look at nor touch a process of another user: an app that dropped its uid by itself (setpriv,
 * gosu, su-exec). With CAP_SETUID and CAP_SETGID, which that root has, the calling thread takes the process's uid and
 * gid where the kernel compares them (ptrace(2), "Ptrace access mode checking"), and gives them back.
 *
 * Only the calling thread changes, and its effective uid never does: it keeps its capabilities, but those over files
 * (CAP_CHOWN and others, setfsuid(2)). So nothing belongs between the two calls but what needs them; no log line, no
 * file of our own, and no second one: within the one nothing is taken by another. Meant for a program whose real,
 * effective and saved ids are one and the same. */
#ifndef COMMON_AS_USER_H
#define COMMON_AS_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum as_user_for {
    AS_USER_TO_LOOK,  /* PTRACE_MODE_READ_FSCREDS: /proc/PID/fd, fdinfo, syscall */
    AS_USER_TO_TOUCH, /* and PTRACE_MODE_ATTACH_REALCREDS: ptrace(2), pidfd_getfd(2), process_vm_readv(2). The process
                       * may signal us meanwhile: our real uid is its own. */
    AS_USER_TO_SIGNAL /* the same, where CAP_KILL is what is missing */
};

/* struct as_user as _cleanup_as_user_ = {0}: given back when it goes out of scope. */
struct as_user {
    bool on;
    enum as_user_for what;
    uid_t uid, own_uid;
    gid_t gid, own_gid;
    pid_t pid; /* whom it was asked for last */
    int death_signal;
    bool dumpable;
};
#define _cleanup_as_user_ __attribute__((cleanup(as_user_end)))

/* Counts as the user of process or thread `pid` from here on; of one after another, as often as wanted. Where that is
 * not needed (the same user, CAP_SYS_PTRACE, CAP_KILL) or cannot be done, nothing changes, and what follows is refused
 * as it would have been. Costs at most a stat(2) then (2 us); some 15 calls when it is needed (20 us). Keeps errno. */
void as_user_of(struct as_user *as, pid_t pid, enum as_user_for what);

/* Gives it back; when nothing was taken, does nothing. Keeps errno. */
void as_user_end(struct as_user *as);

/* kill(2), as the user of `pid` when it is refused else: root without CAP_KILL ("cap_drop: ALL", and SETUID and SETGID
 * for gosu) may not signal another user's process either. */
int as_user_kill(pid_t pid, int signo);

/* Whether something is known that keeps us from looking at `pid`, as_user_of() or not: then it stands in text, with
 * what helps, in at most 160 bytes. Else text stays as it was. Not to be asked while we count as somebody else. */
bool as_user_find_obstacle(pid_t pid, char *text, size_t size);

/* The effective uid and gid of a process or thread. Returns 0, or -1 and errno. */
int as_user_read_ids(pid_t pid, uid_t *uid, gid_t *gid);

#endif
