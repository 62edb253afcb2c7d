/* `user:`: who that is, by /etc/passwd and /etc/group, and becoming it for good.
 *
 * A static program has no name service: the files are read by fgetpwent(3), which parses and asks nobody. Nothing here
 * ever gives a privilege back to us: it is checked that it can't be done. */
#include "supervisor/app/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"

#define PASSWD "/etc/passwd"
#define GROUP "/etc/group"

enum { MOST_GROUPS = sizeof((struct user *)0)->groups / sizeof(gid_t) };

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}
#define _cleanup_file_ __attribute__((cleanup(close_file)))

/* Digits only, and not (uid_t)-1, which means "leave it" to the kernel. */
static bool parse_id(const char *text, unsigned *id)
{
    char *end;

    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || number >= 0xffffffffULL)
        return false;
    *id = (unsigned)number;
    return true;
}

static bool find_in_passwd(struct user *user, const char *text)
{
    FILE *file _cleanup_file_ = fopen(PASSWD, "re");
    unsigned id;
    const bool numeric = parse_id(text, &id);

    for (struct passwd *entry; file && (entry = fgetpwent(file));) {
        if (strcmp(entry->pw_name, text) != 0 && !(numeric && entry->pw_uid == id))
            continue;
        user->uid = entry->pw_uid;
        user->gid = entry->pw_gid;
        return text_copy(user->name, sizeof user->name, entry->pw_name) &&
               text_copy(user->home, sizeof user->home, *entry->pw_dir ? entry->pw_dir : "/");
    }
    return false;
}

static int look_up_user(struct user *user, const char *text, struct error *error)
{
    if (find_in_passwd(user, text))
        return 0;
    if (!parse_id(text, &user->uid))
        return error_set(error, "user \"%s\" is not in " PASSWD ": give a number, as in 1000 or 1000:1000", text);
    user->gid = user->uid;
    text_copy(user->name, sizeof user->name, text);
    text_copy(user->home, sizeof user->home, "/");
    return 0;
}

static int look_up_group(struct user *user, const char *text, struct error *error)
{
    FILE *file _cleanup_file_ = fopen(GROUP, "re");

    for (struct group *entry; file && (entry = fgetgrent(file));)
        if (strcmp(entry->gr_name, text) == 0) {
            user->gid = entry->gr_gid;
            return 0;
        }
    if (parse_id(text, &user->gid))
        return 0;
    return error_set(error, "group \"%s\" is not in " GROUP ": give a number, as in 1000:1000", text);
}

static int add_group(struct user *user, gid_t gid, struct error *error)
{
    for (int i = 0; i < user->group_count; i++)
        if (user->groups[i] == gid)
            return 0;
    if (user->group_count == MOST_GROUPS)
        return error_set(error, "user \"%s\" is in more than %d groups in " GROUP ": name the one it needs: %s:%u",
                         user->name, MOST_GROUPS, user->name, user->gid);
    user->groups[user->group_count++] = gid;
    return 0;
}

static bool is_member(const struct group *group, const char *name)
{
    for (char **member = group->gr_mem; *member; member++)
        if (strcmp(*member, name) == 0)
            return true;
    return false;
}

static int add_memberships(struct user *user, struct error *error)
{
    FILE *file _cleanup_file_ = fopen(GROUP, "re");

    for (struct group *entry; file && (entry = fgetgrent(file));)
        if (is_member(entry, user->name) && add_group(user, entry->gr_gid, error) == -1)
            return -1;
    return 0;
}

/* A group that is named is the only one (as in a container's "user: name:group"); else those of /etc/group too. */
int user_look_up(struct user *user, const char *text, struct error *error)
{
    char name[sizeof user->name];
    const char *colon = strchr(text, ':');
    const size_t length = colon ? (size_t)(colon - text) : strlen(text);

    *user = (struct user){ 0 };
    if (length == 0 || length >= sizeof name || (colon && colon[1] == '\0'))
        return error_set(error, "user \"%s\" is not of the form name, name:group, uid or uid:gid", text);
    memcpy(name, text, length);
    name[length] = '\0';
    if (look_up_user(user, name, error) == -1)
        return -1;
    if (colon && look_up_group(user, colon + 1, error) == -1)
        return -1;
    if (add_group(user, user->gid, error) == -1)
        return -1;
    return colon ? 0 : add_memberships(user, error);
}

static bool are_already(const struct user *user)
{
    uid_t real, effective, saved;
    gid_t real_group, effective_group, saved_group;

    if (getresuid(&real, &effective, &saved) == -1 || getresgid(&real_group, &effective_group, &saved_group) == -1)
        return false;
    return real == user->uid && effective == user->uid && saved == user->uid && real_group == user->gid &&
           effective_group == user->gid && saved_group == user->gid;
}

/* A capability that survives (securebits, an inherited CAP_SETUID) would be a way back. */
static bool can_become_root_again(const struct user *user)
{
    if (user->uid == 0)
        return false;
    return setresuid(0, 0, 0) == 0 || seteuid(0) == 0 || (user->gid != 0 && setresgid(0, 0, 0) == 0) ||
           setgroups(0, NULL) == 0;
}

int user_become(const struct user *user, struct error *error)
{
    if (are_already(user))
        return 0;
    if (setgroups((size_t)user->group_count, user->groups) == -1 || setresgid(user->gid, user->gid, user->gid) == -1 ||
        setresuid(user->uid, user->uid, user->uid) == -1)
        return error_set(error, "lastcall runs as uid %u and can't become %s (uid %u, gid %u): %s: start it as root "
                         "with CAP_SETUID and CAP_SETGID, or as that user without user:", getuid(), user->name,
                         user->uid, user->gid, strerror(errno));
    if (!are_already(user) || can_become_root_again(user))
        return error_set(error, "lastcall became %s (uid %u) but could become root again: take its capabilities and "
                         "securebits away, or start it as that user without user:", user->name, user->uid);
    return 0;
}
