/* The control socket's protocol: what `lastcall drain`, `resume` and `status` say to a running supervisor.
 *
 * AF_UNIX SOCK_SEQPACKET, path by control_socket_path(), mode 0600, peers of the same uid or root only (SO_PEERCRED,
 * unix(7)). One request, then lines of progress, then one end. Both sides may be different builds: a request begins
 * with magic and version, and a supervisor that does not know them answers CONTROL_REFUSED. */
#ifndef WIRE_CONTROL_H
#define WIRE_CONTROL_H

#include <stdint.h>
#include <sys/types.h>

enum { CONTROL_MAGIC = 0x4c435331, CONTROL_VERSION = 1 };

enum control_verb { CONTROL_DRAIN = 1, CONTROL_RESUME, CONTROL_STATUS };
enum control_flag { CONTROL_NOW = 1 }; /* drain: skip to the next phase */

struct control_request {
    uint32_t magic, version;
    uint16_t verb, flags;
};

enum control_reply_kind { CONTROL_PROGRESS = 1, CONTROL_DONE, CONTROL_REFUSED };

/* The state of the supervisor, with every reply. -1: not known. */
struct control_state {
    char phase[16];
    char instance[64];
    int32_t app_pid;
    int32_t handles, in_flight;
    int32_t restarts;       /* of the app */
    int64_t since_stop_us;  /* since the stop began; -1: none */
    int64_t left_us;        /* of the grace period; -1: none */
};

struct control_reply {
    uint32_t magic;
    uint16_t kind;          /* enum control_reply_kind */
    uint16_t exit_code;     /* DONE, REFUSED: what the verb exits with */
    struct control_state state;
    char text[256];         /* one line for people, escaped */
};

/* The directory for sockets of this uid and mount namespace, by preference: $LASTCALL_SOCKET is a whole path and goes
 * before it; else /run, else /dev/shm, + "/lastcall-<uid>-<mount namespace inode>". Writes the n-th (0, 1) choice into
 * `at`. Returns 0, or -1 when there is no such choice. The inode is that of /proc/self/ns/mnt: a pod's containers share
 * /dev/shm and the network namespace, but not the mount namespace. */
int control_socket_directory(unsigned choice, uid_t uid, char *at, unsigned size);

#endif
