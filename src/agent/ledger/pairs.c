/* What moves together: see agent/ledger/pairs.h. Pure: no I/O. Never takes a session for a socket's because it is the
 * likeliest one. */
#include "agent/ledger/pairs.h"

#include <stdlib.h>
#include <string.h>

enum { LOOKS = 3 }; /* the last ones, the newest first */
enum { ALONE_MOST = 5 }; /* one request makes fewer changes of state */
enum { AGREED_LEAST = 4, AGREED_LEAST_OF_SOME = 10 }; /* how often two must have moved together */
enum { NOBODY = -1 };

struct moving_socket {
    uint64_t inode; /* 0: a free place */
    bool seen;
    uint8_t looks;
    int16_t told;   /* the place of its session; NOBODY: not told apart */
    struct {
        uint64_t sent, received;
        bool answered;
    } at[LOOKS];
    uint32_t answered_look, answered_before; /* the last look at which all was answered, the one before; 0: none */
    uint64_t answered_sent, sent_before;     /* what had left by then */
};

struct moving_session {
    uint64_t id; /* 0: a free place */
    int64_t start, change;
    uint8_t state;
    bool seen;
    uint32_t since;        /* the first look of those in a row that showed it */
    uint32_t changed_look, changed_before; /* the last one that showed something new, and the one before it; 0: none */
    int16_t told;          /* the place of its socket */
};

struct pairs {
    bool all_there;
    uint32_t look; /* the number of the newest one; a break takes some, so that none is next to one before it */
    struct moving_socket sockets[PAIRS_MOST];
    struct moving_session sessions[PAIRS_MOST];
    bool ruled_out[PAIRS_MOST][PAIRS_MOST]; /* by the places of socket and session */
    uint8_t alone[PAIRS_MOST][PAIRS_MOST];  /* changes of the session since a byte of the socket has moved */
    uint8_t agreed[PAIRS_MOST][PAIRS_MOST]; /* how often they could have been ruled out, and were not */
};

struct pairs *pairs_create(void)
{
    return calloc(1, sizeof(struct pairs));
}

void pairs_destroy(struct pairs *pairs)
{
    free(pairs);
}

/* Places. */

static struct moving_socket *socket_place(struct pairs *pairs, uint64_t inode)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        if (pairs->sockets[i].inode == inode)
            return &pairs->sockets[i];
    return NULL;
}

static struct moving_session *session_place(struct pairs *pairs, uint64_t id, int64_t start)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        if (pairs->sessions[i].id == id && (id == 0 || pairs->sessions[i].start == start))
            return &pairs->sessions[i];
    return NULL;
}

static void untell(struct pairs *pairs, struct moving_socket *socket)
{
    if (socket->told == NOBODY)
        return;
    pairs->sessions[socket->told].told = NOBODY;
    socket->told = NOBODY;
}

static void forget_socket(struct pairs *pairs, struct moving_socket *socket)
{
    untell(pairs, socket);
    memset(pairs->ruled_out[socket - pairs->sockets], 0, sizeof pairs->ruled_out[0]);
    memset(pairs->agreed[socket - pairs->sockets], 0, sizeof pairs->agreed[0]);
    memset(pairs->alone[socket - pairs->sockets], 0, sizeof pairs->alone[0]);
    *socket = (struct moving_socket){0};
}

static void forget_session(struct pairs *pairs, struct moving_session *session)
{
    size_t place = (size_t)(session - pairs->sessions);
    if (session->told != NOBODY)
        untell(pairs, &pairs->sockets[session->told]);
    for (size_t i = 0; i < PAIRS_MOST; i++) {
        pairs->ruled_out[i][place] = false;
        pairs->agreed[i][place] = pairs->alone[i][place] = 0;
    }
    *session = (struct moving_session){0};
}

/* What one look shows. */

/* A byte came in after the last one had left, by the kernel's ages, by the counters, or by the app, which has written
 * more since: it does so when it has its reply, unless it pipelines. */
static bool is_answered(const struct moving_socket *socket, const struct socket_fact *fact)
{
    bool on_the_way = fact->unacked_bytes > fact->unsent_bytes, known = socket->looks > 0;
    bool more_left = !known || fact->bytes_sent != socket->at[0].sent;
    bool more_came = known && fact->bytes_received != socket->at[0].received;
    if (!fact->has_info || on_the_way)
        return false;
    if (fact->last_received_ms < fact->last_sent_ms)
        return true;
    return more_left ? more_came && fact->unsent_bytes > 0 : more_came || socket->at[0].answered;
}

static void note_socket(struct pairs *pairs, const struct socket_fact *fact)
{
    struct moving_socket *socket = socket_place(pairs, fact->inode);
    if (!socket)
        socket = socket_place(pairs, 0);
    if (!socket)
        return;
    if (!socket->inode)
        *socket = (struct moving_socket){.inode = fact->inode, .told = NOBODY};
    bool answered = is_answered(socket, fact);
    memmove(&socket->at[1], &socket->at[0], (LOOKS - 1) * sizeof socket->at[0]);
    socket->seen = true;
    socket->looks = !fact->has_info ? 0 : socket->looks < LOOKS ? socket->looks + 1 : LOOKS;
    socket->at[0].sent = fact->bytes_sent;
    socket->at[0].received = fact->bytes_received;
    socket->at[0].answered = answered;
    if (!answered)
        return;
    socket->answered_before = socket->answered_look;
    socket->sent_before = socket->answered_sent;
    socket->answered_look = pairs->look;
    socket->answered_sent = fact->bytes_sent;
}

static void note_session(struct pairs *pairs, const struct pair_session *fact)
{
    struct moving_session *session = session_place(pairs, fact->id, fact->start);
    bool known = session != NULL;
    if (!session)
        session = session_place(pairs, 0, 0);
    if (!session)
        return;
    if (!known || !session->since) {
        int16_t told = known ? session->told : NOBODY;
        *session = (struct moving_session){.id = fact->id, .start = fact->start, .since = pairs->look, .told = told};
    } else if (session->change != fact->change || session->state != fact->state) {
        session->changed_before = session->changed_look;
        session->changed_look = pairs->look;
    }
    session->change = fact->change;
    session->state = fact->state;
    session->seen = true;
}

/* Forgets who was not seen before new ones take the places. */
static void forget_missing(struct pairs *pairs, const struct socket_fact *const *sockets, size_t socket_count,
                           const struct pair_session *sessions, size_t session_count)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        pairs->sockets[i].seen = pairs->sessions[i].seen = false;
    for (size_t i = 0; i < socket_count; i++) {
        struct moving_socket *socket = socket_place(pairs, sockets[i]->inode);
        if (socket)
            socket->seen = true;
    }
    for (size_t i = 0; i < session_count; i++) {
        struct moving_session *session = session_place(pairs, sessions[i].id, sessions[i].start);
        if (session)
            session->seen = true;
    }
    for (size_t i = 0; i < PAIRS_MOST; i++) {
        if (pairs->sockets[i].inode && !pairs->sockets[i].seen)
            forget_socket(pairs, &pairs->sockets[i]);
        if (pairs->sessions[i].id && !pairs->sessions[i].seen)
            forget_session(pairs, &pairs->sessions[i]);
    }
}

/* Ruling out. Each look is first at the sockets, then at the sessions. */

enum verdict { SAYS_NOTHING, AGREES, RULES_OUT };

/* Between the sessions of the last two looks but this one it did something: between the sockets of the first of them
 * and of this one something must have left. */
static enum verdict by_session(const struct pairs *pairs, const struct moving_socket *socket,
                               const struct moving_session *session)
{
    uint32_t last = pairs->look - 1;
    bool moved = last && (session->changed_look == last || session->changed_before == last);
    if (!moved || socket->looks < LOOKS || !socket->at[2].answered)
        return SAYS_NOTHING;
    return socket->at[0].sent == socket->at[2].sent ? RULES_OUT : AGREES;
}

/* Since it was answered before, it has asked, and is answered now: from the sessions of the look before that one to
 * these its own must have done something. Without times two changes may look like none. */
static enum verdict by_socket(const struct pairs *pairs, const struct moving_socket *socket,
                              const struct moving_session *session)
{
    uint32_t before = socket->answered_before;
    bool asked = before && socket->answered_look == pairs->look && socket->answered_sent > socket->sent_before;
    if (!asked || !session->change || session->since >= before)
        return SAYS_NOTHING;
    return session->changed_look >= before ? AGREES : RULES_OUT;
}

/* Whether it was answered or not: something would have come or gone. */
static bool has_stood_still(struct pairs *pairs, size_t i, size_t k)
{
    const struct moving_socket *socket = &pairs->sockets[i];
    bool moved = socket->looks < 2 || socket->at[0].sent != socket->at[1].sent ||
                 socket->at[0].received != socket->at[1].received;
    if (moved)
        pairs->alone[i][k] = 0;
    else if (pairs->sessions[k].changed_look == pairs->look)
        pairs->alone[i][k] += pairs->alone[i][k] < UINT8_MAX;
    return pairs->alone[i][k] > ALONE_MOST;
}

static void compare(struct pairs *pairs, size_t i, size_t k)
{
    enum verdict first = by_session(pairs, &pairs->sockets[i], &pairs->sessions[k]);
    enum verdict second = by_socket(pairs, &pairs->sockets[i], &pairs->sessions[k]);
    pairs->ruled_out[i][k] |= first == RULES_OUT || second == RULES_OUT || has_stood_still(pairs, i, k);
    pairs->agreed[i][k] += (first == AGREES || second == AGREES) && pairs->agreed[i][k] < UINT8_MAX;
}

static void compare_all(struct pairs *pairs)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        for (size_t k = 0; pairs->sockets[i].inode && k < PAIRS_MOST; k++)
            if (pairs->sessions[k].id)
                compare(pairs, i, k);
}

/* Telling apart. */

/* The place of the only session that is left for a socket, or NOBODY. */
static int only_session(const struct pairs *pairs, size_t socket)
{
    int only = NOBODY;
    for (size_t k = 0; k < PAIRS_MOST; k++) {
        const struct moving_session *session = &pairs->sessions[k];
        if (!session->id || session->told != NOBODY || pairs->ruled_out[socket][k])
            continue;
        if (only != NOBODY)
            return NOBODY;
        only = (int)k;
    }
    return only;
}

/* When each socket has its session there, the only one that is left is it, also while other sockets, which never move,
 * may be anybody's. Else the session must be nobody else's, too. */
static bool is_proven(const struct pairs *pairs, size_t socket, int session)
{
    if (pairs->all_there)
        return pairs->agreed[socket][session] >= AGREED_LEAST;
    for (size_t i = 0; i < PAIRS_MOST; i++)
        if (i != socket && pairs->sockets[i].inode && pairs->sockets[i].told == NOBODY && !pairs->ruled_out[i][session])
            return false;
    return pairs->agreed[socket][session] >= AGREED_LEAST_OF_SOME;
}

/* What was told stays so, also when others come that may be anybody's, unless it is ruled out. */
static void tell(struct pairs *pairs)
{
    for (size_t i = 0; i < PAIRS_MOST; i++) {
        struct moving_socket *socket = &pairs->sockets[i];
        if (socket->inode && socket->told != NOBODY && pairs->ruled_out[i][socket->told])
            untell(pairs, socket);
        int only = socket->inode && socket->told == NOBODY ? only_session(pairs, i) : NOBODY;
        if (only == NOBODY || !is_proven(pairs, i, only))
            continue;
        socket->told = (int16_t)only;
        pairs->sessions[only].told = (int16_t)i;
    }
}

void pairs_note(struct pairs *pairs, const struct socket_fact *const *sockets, size_t socket_count,
                const struct pair_session *sessions, size_t session_count, bool all_there)
{
    if (socket_count > PAIRS_MOST || session_count > PAIRS_MOST)
        socket_count = session_count = 0;
    pairs->look++;
    pairs->all_there = all_there;
    forget_missing(pairs, sockets, socket_count, sessions, session_count);
    for (size_t i = 0; i < socket_count; i++)
        note_socket(pairs, sockets[i]);
    for (size_t i = 0; i < session_count; i++)
        note_session(pairs, &sessions[i]);
    compare_all(pairs);
    tell(pairs);
}

void pairs_break(struct pairs *pairs)
{
    pairs->look += LOOKS;
    for (size_t i = 0; i < PAIRS_MOST; i++) {
        pairs->sockets[i].looks = 0;
        pairs->sockets[i].answered_look = pairs->sockets[i].answered_before = 0;
        pairs->sessions[i].since = 0;
    }
}

uint64_t pairs_session_of(const struct pairs *pairs, uint64_t inode)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        if (pairs->sockets[i].inode == inode && inode)
            return pairs->sockets[i].told == NOBODY ? 0 : pairs->sessions[pairs->sockets[i].told].id;
    return 0;
}
