/* `user:`: lastcall itself becomes that user, before it starts anything. Reads /etc/passwd and /etc/group by itself (a
 * static program has no name service): users of LDAP and the like must be given as numbers. */
#ifndef SUPERVISOR_APP_USER_H
#define SUPERVISOR_APP_USER_H

#include <sys/types.h>

#include "common/error.h"

struct user {
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    int group_count;
    char name[64], home[256];
};

/* "name", "name:group", "uid", "uid:gid". A number without an entry: gid the same, home "/".
 * Returns 0, or -1 and why. */
int user_look_up(struct user *user, const char *text, struct error *error);

/* setgroups, setresgid, setresuid, for good; checks that there is no way back. Nothing to do when we are that user.
 * Returns 0, or -1 and why. The caller sets HOME. */
int user_become(const struct user *user, struct error *error);

#endif
