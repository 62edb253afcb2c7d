/* Finding a running lastcall. Must never take a socket's file for a living supervisor, and never believe a socket that
 * another user put there. */
#include "cli/instance.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/text.h"
#include "wire/control.h"

enum { INSTANCES = 64, CONNECT_WITHIN_S = 5 };

struct search {
    const char *name;       /* NULL: any */
    struct instance found[INSTANCES];
    size_t count;
    int first_error;        /* of a socket that is there but could not be asked; 0: none */
    char first_path[108];
};

/* ---- connecting ---- */

/* Whoever listens there must be us, unless we are root: it will be believed. */
static int peer_is_trusted(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1)
        return 0;
    return geteuid() == 0 || peer.uid == geteuid();
}

/* Returns the connected socket, or -1 and errno; ECONNREFUSED: nobody listens there any more. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = CONNECT_WITHIN_S}; /* unix(7): connect(2) waits for room in a full backlog */
    if (!text_copy(address.sun_path, sizeof address.sun_path, path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == -1)
        return -1;
    if (connect(fd, (const void *)&address, sizeof address) == -1)
        return -1;
    if (!peer_is_trusted(fd)) {
        errno = EPERM;
        return -1;
    }
    int connected = fd;
    fd = -1;
    return connected;
}

/* ---- searching ---- */

static void try_socket(struct search *search, const char *path, const char *name, size_t name_length)
{
    if (search->count == INSTANCES)
        return;
    struct instance *instance = &search->found[search->count];
    struct text text = text_in(instance->name, sizeof instance->name);
    text_add_escaped(&text, name, name_length);
    instance->fd = connect_to(path);
    if (instance->fd != -1) {
        text_copy(instance->path, sizeof instance->path, path);
        search->count++;
    } else if (errno != ECONNREFUSED && errno != ENOENT && !search->first_error) {
        search->first_error = errno;
        text_copy(search->first_path, sizeof search->first_path, path);
    }
}

static void search_directory(struct search *search, const char *directory)
{
    static const char ending[] = ".sock";
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    if (!entries)
        return;
    while ((entry = readdir(entries)) != NULL) {
        size_t length = strlen(entry->d_name), stem = length - (sizeof ending - 1);
        if (length < sizeof ending || strcmp(entry->d_name + stem, ending) != 0)
            continue;
        if (search->name && (strlen(search->name) != stem || strncmp(search->name, entry->d_name, stem) != 0))
            continue;
        char path[512];
        struct text text = text_in(path, sizeof path);
        text_add(&text, "%s/%s", directory, entry->d_name);
        try_socket(search, path, entry->d_name, stem);
    }
    closedir(entries);
}

/* "lastcall-<any uid>-<our mount namespace>" beside our own directory. */
static void search_other_users(struct search *search, const char *own)
{
    const char *slash = strrchr(own, '/'), *suffix = strrchr(own, '-');
    char parent[256];
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - own), own);
    DIR *entries = opendir(parent);
    const struct dirent *entry;
    if (!entries)
        return;
    while ((entry = readdir(entries)) != NULL) {
        const char *dash = strrchr(entry->d_name, '-');
        if (strncmp(entry->d_name, "lastcall-", 9) != 0 || strcmp(dash, suffix) != 0 ||
            strcmp(entry->d_name, slash + 1) == 0)
            continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        search_directory(search, path);
    }
    closedir(entries);
}

static void search_everywhere(struct search *search)
{
    char directory[256];
    for (unsigned choice = 0; control_socket_directory(choice, geteuid(), directory, sizeof directory) == 0; choice++) {
        search_directory(search, directory);
        if (geteuid() == 0)
            search_other_users(search, directory);
    }
}

/* ---- the answer ---- */

static int by_name(const void *a, const void *b)
{
    const struct instance *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->path, right->path);
}

static int none_found(const struct search *search, struct error *error)
{
    if (search->first_error)
        error_set(error, "%s: cannot be asked: %s", search->first_path, strerror(search->first_error));
    else if (search->name)
        error_set(error, "no lastcall called \"%s\" is running here", search->name);
    else
        error_set(error, "no lastcall is running here (for uid %u, in this mount namespace)", (unsigned)geteuid());
    return 1;
}

/* With their paths: two may have one name, as another user's or in another place. */
static int several_found(struct search *search, struct error *error)
{
    qsort(search->found, search->count, sizeof search->found[0], by_name);
    char list[400];
    struct text text = text_in(list, sizeof list);
    for (size_t i = 0; i < search->count; i++)
        text_add(&text, "\n  %-20s %s", search->found[i].name, search->found[i].path);
    error_set(error, "several are running here; say which one:%s%s", list, text.cut ? "…" : "");
    return 2;
}

static int answer(struct search *search, struct instance *instance, struct error *error)
{
    if (search->count == 1) {
        *instance = search->found[0];
        return 0;
    }
    int code = search->count == 0 ? none_found(search, error) : several_found(search, error);
    for (size_t i = 0; i < search->count; i++)
        fd_close(&search->found[i].fd);
    return code;
}

/* One certain path: a dead socket there is said, too. */
static int find_path(struct instance *instance, const char *path, struct error *error)
{
    const char *slash = strrchr(path, '/');
    struct text text = text_in(instance->name, sizeof instance->name);
    text_add_escaped(&text, slash ? slash + 1 : path, strlen(slash ? slash + 1 : path));
    if (text.length > 5 && strcmp(instance->name + text.length - 5, ".sock") == 0)
        instance->name[text.length - 5] = 0;
    text_copy(instance->path, sizeof instance->path, path);
    instance->fd = connect_to(path);
    if (instance->fd != -1)
        return 0;
    error_set(error, "no lastcall answers at %s: %s", path, strerror(errno));
    return 1;
}

int instance_find(struct instance *instance, const char *name, struct error *error)
{
    const char *given = getenv("LASTCALL_SOCKET"), *named = getenv("LASTCALL_INSTANCE");
    if (!name && !(given && *given) && named && *named)
        name = named;
    instance->fd = -1;
    if (name && strchr(name, '/'))
        return find_path(instance, name, error);
    if (!name && given && *given)
        return find_path(instance, given, error);
    _cleanup_free_ struct search *search = calloc(1, sizeof *search);
    if (!search) {
        error_set(error, "%s", strerror(ENOMEM));
        return 1;
    }
    search->name = name;
    search_everywhere(search);
    return answer(search, instance, error);
}
