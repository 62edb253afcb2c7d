/* Every message between lastcall and lastcall-agent, and the structs they carry. The one list.
 *
 * Both programs are one build on one host, so messages are plain structs over a SOCK_SEQPACKET socketpair, one message
 * a packet. Each begins with a struct message_header; kind and size must fit the table in wire/message.c exactly, or
 * the packet is refused and costs its sender (the supervisor ends the agent; the agent exits).
 *
 *   who says what        when
 *   supervisor → agent   SETTINGS, TARGET × n, READY: once, in this order, before anything else
 *                        LOOK: at most one unanswered; a new one replaces an unanswered one
 *                        END: after LOOK's facts named the sessions; any time in a stop
 *                        PREDECESSOR: when a life of the app begins and sweep.predecessor asks for it
 *   agent → supervisor   ROWS × n (the last one closes the look), answering LOOK
 *                        TARGET_STATE × targets: before the ROWS of each look
 *                        INBOUND: one before the ROWS of a look that asked for it
 *                        ENDED: one for each END
 *                        PREDECESSOR_ENDED: one a target for each PREDECESSOR
 *
 * `lastcall-agent --probe` (for `lastcall doctor`) gets SETTINGS, TARGET × n, READY, answers by FOUND × n, and ends.
 * `--wait NAME…` (wait_for) hears the same, and says FOUND_REACHED of those targets, no and no and at last yes; it ends
 * when all have answered. `--call "METHOD URL"` (a hook) hears nothing, and says FOUND_CALLED once.
 *
 * The agent states facts and decides nothing about the app. Times are microseconds of CLOCK_MONOTONIC on this host
 * unless a name says otherwise; -1 means "not known" in every signed field. */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/endpoint.h"
#include "common/process.h"

enum message_kind {
    MESSAGE_SETTINGS = 1,
    MESSAGE_TARGET,
    MESSAGE_READY,
    MESSAGE_LOOK,
    MESSAGE_END,
    MESSAGE_TARGET_STATE,
    MESSAGE_ROWS,
    MESSAGE_ENDED,
    MESSAGE_FOUND,
    MESSAGE_INBOUND,
    MESSAGE_PREDECESSOR,
    MESSAGE_PREDECESSOR_ENDED,
    MESSAGE_KINDS /* their number plus one */
};

enum {
    WIRE_TARGETS = 16,     /* targets at most */
    WIRE_NAME = 64,        /* bytes of a target's name, NUL included */
    WIRE_QUERY = 128,      /* bytes of a query's beginning, NUL included */
    WIRE_PARAMS = 4096,    /* bytes of a target's connection parameters */
    WIRE_ROWS = 64,        /* rows in one packet at most */
    WIRE_SESSIONS = 64,    /* sessions in one END at most */
    WIRE_INBOUND = 512,    /* rows in one INBOUND at most */
    WIRE_PACKET = 65536    /* bytes of a packet at most */
};

struct message_header {
    uint32_t size; /* of the whole message, this header included */
    uint16_t kind; /* enum message_kind */
    uint16_t count; /* of the rows or sessions that follow; else 0 */
};

enum target_kind { TARGET_POSTGRES = 1, TARGET_PGBOUNCER, TARGET_REDIS };

/* What the agent needs besides the targets. */
struct message_settings {
    struct message_header header;
    int64_t sample_interval_us;  /* of looks the agent makes by itself; 0: only when asked */
    int32_t supervisor_pid;      /* its descendants, without the agent, are the app tree */
    int32_t log_level;           /* enum log_level */
    uint8_t query_text;          /* 0: no query text may leave the agent */
    uint8_t reserved[7];
    char application_name[64];   /* "lastcall/<instance>": for joins by name; matched as a prefix */
};

/* One target. `params` holds NUL-ended "keyword=value" strings, one behind the other, ended by an empty one. For
 * postgres and pgbouncer: libpq's keywords (PQconndefaults), one host and one port each; for redis: host, port, path,
 * user, password, db. No network byte was needed to make them. Passwords are in here: never log one. */
struct message_target {
    struct message_header header;
    uint16_t index;      /* 0, 1, …: in the order of the messages */
    uint8_t kind;        /* enum target_kind */
    uint8_t look_only;   /* 1: the app does not use it by itself (the direct URL beside a pooler) */
    int16_t server;      /* pgbouncer: index of the postgres target behind it, or -1 */
    int16_t reserved;
    char name[WIRE_NAME];
    char params[WIRE_PARAMS];
};

struct message_ready {
    struct message_header header;
};

/* INBOUND_ALONE: only the inbound sockets are looked at, no server is asked; its ROWS has no rows. */
enum look_inbound { INBOUND_NOT, INBOUND_TOO, INBOUND_ALONE };

/* Look once at the sockets, then ask the servers, and answer with TARGET_STATE and ROWS of the same `look`. */
struct message_look {
    struct message_header header;
    uint32_t look;          /* a number that the answers repeat */
    uint32_t answer_ms;     /* servers that take longer than this are reported as not asked; the answer comes then */
    uint8_t want_text;      /* 1: rows carry the query text */
    uint8_t with_own;       /* 1: sockets that only the supervisor still holds (its duplicates) have rows, too */
    uint8_t whole;          /* 1: all sockets are looked at, however long that takes: no handle is missed */
    uint8_t inbound;        /* enum look_inbound */
    int32_t left_out;       /* a child of the supervisor that is not the app's, nor what descends from it; 0: none */
};

/* Where a target stands. One for each target with each look. */
enum target_up { TARGET_UNKNOWN, TARGET_CONNECTING, TARGET_UP, TARGET_DOWN };
struct message_target_state {
    struct message_header header;
    uint32_t look;
    uint16_t target;
    uint8_t up;              /* enum target_up */
    uint8_t answered;        /* 1: the server answered within this look */
    int64_t asked_at_us;     /* when the question of this look was sent; after the sockets were looked at */
    int64_t answer_us;       /* how long it took; -1 */
    int32_t server_sessions; /* all sessions the server has; -1 */
    int32_t server_max;      /* its limit; -1 */
    uint8_t translated;      /* 1: addresses change on the way: exact joins are impossible */
    uint8_t kind;            /* enum target_kind: what it is (a postgres target may be a PgBouncer); 0: as told */
    uint8_t reserved[6];
    char why[128];           /* up != TARGET_UP or !answered: the reason, one line, no password; else empty */
};

enum known_by { KNOWN_SOCKET_ONLY, KNOWN_BY_NAME, KNOWN_EXACT };

/* A session as the server sees it. The order is not a rank. */
enum session_state {
    SESSION_UNKNOWN,      /* not asked, no answer, no right to see it, track_activities off */
    SESSION_ABSENT,       /* the server answered and has no such session */
    SESSION_STARTING,     /* authenticating, or not ready for a query yet */
    SESSION_IDLE,
    SESSION_ACTIVE,       /* executing (also "fastpath function call"; PgBouncer transaction mode: linked) */
    SESSION_IN_TRANSACTION, /* idle in transaction; Redis: between MULTI and EXEC */
    SESSION_IN_FAILED_TRANSACTION, /* idle in transaction (aborted) */
    SESSION_WAITING,      /* PgBouncer: waits for a server connection */
    SESSION_BLOCKED,      /* Redis: BLPOP and the like (flags=b) */
    SESSION_SUBSCRIBED,   /* Redis: SUBSCRIBE (flags=P) */
    SESSION_MONITORING,   /* Redis: MONITOR (flags=O) */
    SESSION_REPLICATION   /* PostgreSQL: walsender */
};

/* One handle: a socket of the app tree, connected to a target, joined with its session. */
struct handle_row {
    uint64_t inode;           /* names the handle together with `local` */
    int32_t pid, fd;          /* one holder of it */
    struct endpoint local, remote;
    uint16_t target;
    uint8_t known_by;         /* enum known_by */
    uint8_t state;            /* enum session_state */
    uint8_t tcp_state;        /* as in <netinet/tcp.h>; 0 for AF_UNIX */
    uint8_t tls;              /* 1 yes, 0 no, 255 not known */
    uint8_t has_info;         /* 1: the fields up to `timer` come from INET_DIAG_INFO */
    uint8_t holders;          /* processes that hold the socket, 255 at most */
    uint8_t descriptors;      /* of it, in all of them together, 255 at most: more than are named when there are many */
    uint8_t reserved_holders[3];
    struct socket_holder others[SOCKET_OTHERS]; /* as last read, beside pid and fd; then none */
    uint32_t unread_bytes;    /* received, not read by the app */
    uint32_t unacked_bytes;   /* written by the app and not acknowledged, unsent ones included */
    uint32_t unsent_bytes;    /* of these, not sent yet: tcpi_notsent_bytes */
    uint32_t last_sent_ms;    /* age of the last data segment out: tcpi_last_data_sent (jiffies) */
    uint32_t last_received_ms; /* age of the last data segment in: tcpi_last_data_recv (jiffies) */
    uint32_t rtt_us;
    uint64_t bytes_sent;      /* tcpi_bytes_sent less tcpi_bytes_retrans: each byte once */
    uint64_t bytes_acked;     /* tcpi_bytes_acked */
    uint64_t bytes_received;  /* tcpi_bytes_received */
    uint32_t data_segments_out, data_segments_in;
    uint8_t timer;            /* idiag_timer; 4: the cork's (sch: zero window or cork) */
    uint8_t epoll;            /* 1: registered in an epoll set of `pid`; 0: not; 255: not known */
    uint8_t waits_for_client; /* 1: the server waits for the app's next message (ClientRead); 0: not; 255: not known */
    uint8_t told_apart;       /* not KNOWN_EXACT. 1: this very session, by what moved together; 0: one of several, if
                               * any; 255: the same, and to be told apart when it moves */
    uint32_t timer_ms;        /* idiag_expires: until that timer fires */
    int64_t looked_at_us;     /* when the socket was looked at: before the server was asked */
    uint64_t session;         /* backend pid; Redis client id; PgBouncer's ptr; 0: not known */
    uint64_t server_session;  /* PgBouncer: the linked server connection's backend pid; else 0 */
    int64_t session_start;    /* PostgreSQL: backend_start, microseconds of the server's clock; else 0 */
    int64_t state_change;     /* PostgreSQL: the same for state_change; else 0 */
    int64_t state_age_us;     /* time in this state by the server's own clock; -1 */
    int64_t transaction_age_us; /* since xact_start; -1: none, or not known */
    int64_t transaction_start; /* PostgreSQL: xact_start as state_change is; 0: none, or not known */
    char query[WIRE_QUERY];   /* the beginning of the last query, or empty */
};

struct message_rows {
    struct message_header header; /* count rows follow */
    uint32_t look;
    uint8_t last;             /* 1: no more packets for this look */
    uint8_t sockets_seen;     /* 1: sock_diag; 2: by /proc/net; 0: sockets could not be seen */
    uint8_t owners_seen;      /* 1: every process of the tree could be read; 0: some could not */
    uint8_t alone;            /* 1: the look was INBOUND_ALONE: no row, and nothing is said of any */
    int64_t took_us;          /* the whole look */
    struct handle_row rows[];
};

/* One listening socket of the app tree, or one connection to the port of one (established, or closed by the client
 * only). What the fields mean they mean in struct handle_row. */
struct inbound_row {
    uint64_t inode;           /* names the socket */
    int32_t pid, fd;          /* one holder of it */
    uint16_t port;            /* the app's own */
    uint8_t tcp_state;        /* TCP_LISTEN, TCP_ESTABLISHED, TCP_CLOSE_WAIT */
    uint8_t has_info;
    uint8_t holders;
    uint8_t reserved[7];
    uint32_t unread_bytes;    /* of a moment before what follows; listening: connections that are not accepted yet */
    uint32_t unacked_segments; /* sent and not acknowledged: tcpi_unacked, of the same instant as ages and counters */
    uint32_t last_sent_ms, last_received_ms;
    uint32_t last_ack_ms;     /* age of the last segment in that acknowledged anything: tcpi_last_ack_recv (jiffies) */
    uint64_t bytes_sent, bytes_received;
};

/* The listening sockets first, then connections in the order of their inodes: the same ones each time, as long as they
 * are there, so that thousands of them do not flood the channel and those in front are dealt with. */
struct message_inbound {
    struct message_header header; /* count rows follow */
    uint32_t look;
    uint32_t left_out;        /* connections (and listening sockets) that are there and have no row */
    uint8_t sockets_seen;     /* 1: by sock_diag; 0: they could not be seen */
    uint8_t owners_seen;      /* as in struct message_rows */
    uint8_t reserved[6];
    struct inbound_row rows[];
};

/* End sessions by server command. PostgreSQL: pg_cancel_backend first when `cancel`, then pg_terminate_backend, only
 * while pid and backend_start are the named ones. PgBouncer: KILL_CLIENT where it exists. Redis: CLIENT KILL ID.
 * Answered when the sessions are gone, or after wait_ms. */
struct end_session {
    uint64_t session;
    int64_t session_start; /* 0: do not compare */
};
struct message_end {
    struct message_header header; /* count sessions follow */
    uint32_t request;       /* a number that ENDED repeats */
    uint16_t target;
    uint8_t only_if_still_there; /* 1: first wait up to `linger_ms` for the session to end by itself */
    uint8_t spare_busy;          /* 1: with it; what is then at work is told when it has done it, in time or never */
    uint32_t linger_ms, wait_ms;
    struct end_session sessions[];
};

enum ended_how {
    ENDED_UNKNOWN, ENDED_BY_ITSELF, ENDED_BY_COMMAND, ENDED_REFUSED, ENDED_STILL_THERE,
    ENDED_WHEN_IDLE, ENDED_IN_TRANSACTION /* by command, where spare_busy was asked for: what it was at right before */
};
struct message_ended {
    struct message_header header; /* count bytes of `how` follow, in the order of END's sessions */
    uint32_t request;
    uint16_t target;
    uint16_t reserved;
    char why[128];            /* of the first one that is not ended; else empty */
    uint8_t how[];            /* enum ended_how */
};

/* End what a predecessor of the same application_name has left on the servers: sessions of our role and our client
 * address that began before `started_us` and whose client socket is not here any more. What cannot be told so is left
 * alone, and said to be not known. A new one replaces an unanswered one. */
struct message_predecessor {
    struct message_header header;
    uint32_t request;         /* a number that PREDECESSOR_ENDED repeats */
    uint32_t reserved;
    int64_t started_us;
};
struct message_predecessor_ended {
    struct message_header header;
    uint32_t request;
    uint16_t target;
    uint8_t known;            /* 0: it could not be told which sessions those are, or not ended; nothing was */
    uint8_t reserved;
    uint32_t ended, left;     /* left: told to end, and still there */
    char why[128];            /* !known, or left: the reason, one line, no password; else empty */
};

/* One thing that was tried, and what came of it. What is not told is not known. */
enum found_what {
    FOUND_SOCKETS,     /* can sockets be looked at by sock_diag? no: text says by what else, or why not at all */
    FOUND_REACHED,     /* did the target answer a look? no: why not; took_us: how long the look's answer took */
    FOUND_VERSION,     /* text: what the server calls itself */
    FOUND_UNCHANGED,   /* does it see the address that our socket has? */
    FOUND_TRACKS,      /* postgres: track_activities; the states of sessions are told */
    FOUND_SEES_OTHERS, /* postgres: other roles' sessions, too; text: our role, as SQL writes it */
    FOUND_ENDS_OTHERS, /* postgres: the same for ending them; pgbouncer: an admin; redis: CLIENT KILL */
    FOUND_CALLED,      /* of `lastcall-agent --call`: did the URL answer with a code of success? no: text says why */
    FOUND_KINDS
};
enum found_answer { FOUND_UNKNOWN, FOUND_NO, FOUND_YES };
struct message_found {
    struct message_header header;
    int16_t target;           /* its index; -1: of no target */
    uint8_t what;             /* enum found_what */
    uint8_t answer;           /* enum found_answer */
    uint8_t kind;             /* enum target_kind: what the target turned out to be; 0: not known, or none */
    uint8_t reserved[3];
    int64_t took_us;          /* -1: not told */
    char text[256];           /* one line, escaped, no password; may be empty */
};

/* True when `size` bytes at `packet` are one whole message of a known kind, of exactly its size, with counts and
 * strings in bounds. Looks at nothing before it has checked that it is there. */
_Bool message_is_valid(const void *packet, size_t size);

/* "LOOK" and so on; never NULL. */
const char *message_kind_name(unsigned kind);
const char *session_state_name(unsigned state);
const char *known_by_name(unsigned known_by);
const char *target_kind_name(unsigned kind);

#endif
