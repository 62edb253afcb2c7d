/* The intake, round by round: see supervisor/intake/intake.h. Never does anything, never reads a clock, and never takes
 * for idle what is not known to be. */
#include "supervisor/intake/intake.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_AFTER_US INT64_C(100000) /* clients that think for a moment are idle once by then, and need no 503 */
#define ANSWER_QUIET_US INT64_C(5000) /* an answer in several parts is over */
#define LEFT_AFTER_US INT64_C(1000000)
#define US_PER_TICK INT64_C(1000)     /* the kernel's ages are milliseconds */
#define LATE_US INT64_C(600000)       /* TCP says it again after 200 ms or so, and after twice that */
#define SHUT_MOST (sizeof((struct intake *)0)->shut / sizeof(uint64_t))
enum { PUT_BACK_MOST = 50, DRY_ROUNDS = 2, KEEP_AFTER_ROUNDS = 15 }; /* rounds are slow on a busy machine */

void intake_init(struct intake *intake, const struct intake_settings *settings, int64_t now_us)
{
    *intake = (struct intake){.settings = *settings, .began_us = now_us};
}

void intake_finish(struct intake *intake)
{
    free(intake->connections);
    free(intake->orders);
    *intake = (struct intake){0};
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static size_t place_of(const struct intake *intake, uint64_t inode)
{
    size_t low = 0, high = intake->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (intake->connections[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct intake_connection *find(const struct intake *intake, uint64_t inode)
{
    size_t place = place_of(intake, inode);
    bool there = place < intake->count && intake->connections[place].inode == inode;
    return there ? &intake->connections[place] : NULL;
}

static struct intake_connection *add(struct intake *intake, const struct inbound_row *row, int64_t now_us)
{
    size_t place = place_of(intake, row->inode);
    if (intake->count == intake->room) {
        size_t room = intake->room ? 2 * intake->room : 64;
        struct intake_connection *list = realloc(intake->connections, room * sizeof *list);
        if (!list)
            return NULL;
        intake->connections = list;
        intake->room = room;
    }
    struct intake_connection *at = &intake->connections[place];
    memmove(at + 1, at, (intake->count++ - place) * sizeof *at);
    *at = (struct intake_connection){.inode = row->inode, .first_seen_us = now_us, .moved_at_us = now_us,
                                     .at_start = intake->round == 1, .sent = row->bytes_sent,
                                     .received = row->bytes_received,
                                     .taken = row->bytes_received - row->unread_bytes};
    return at;
}

static void give(struct intake *intake, size_t row, enum intake_doing doing)
{
    if (intake->order_count == intake->order_room) {
        size_t room = intake->order_room ? 2 * intake->order_room : 64;
        struct intake_order *orders = realloc(intake->orders, room * sizeof *orders);
        if (!orders)
            return; /* the next round gives it again */
        intake->orders = orders;
        intake->order_room = room;
    }
    intake->orders[intake->order_count++] = (struct intake_order){row, doing};
}

static int64_t idle_time_of(const struct intake *intake, uint16_t port)
{
    for (size_t i = 0; i < intake->settings.port_count; i++)
        if (intake->settings.ports[i].port == port)
            return intake->settings.ports[i].idle_us;
    return intake->settings.idle_us;
}

/* -- listening sockets --------------------------------------------------------------------------------------------- */

static bool is_shut(const struct intake *intake, uint64_t inode)
{
    if (intake->shut_count == SHUT_MOST)
        return true;
    for (size_t i = 0; i < intake->shut_count; i++)
        if (intake->shut[i] == inode)
            return true;
    return false;
}

static void judge_listening(struct intake *intake, const struct inbound_row *row, size_t index)
{
    intake->counted.listening++;
    intake->counted.waiting += row->unread_bytes;
    if (intake->settings.listener == LISTENER_LEAVE || is_shut(intake, row->inode))
        return;
    give(intake, index, intake->settings.listener == LISTENER_REFUSE ? INTAKE_REFUSE : INTAKE_DROP);
}

/* -- which way the last bytes went --------------------------------------------------------------------------------- */

/* By the kernel's ages, of a connection on which nothing lies unread. Equal ones: had the client spoken last, that
 * would have acknowledged our answer, and nothing more would have come from it; so if something is not acknowledged
 * yet, or was acknowledged later, the answer went out last. All of one instant: a queue's bytes, which the kernel
 * reads earlier, may be older than the request that has come since. */
static enum intake_moved by_ages(const struct inbound_row *row)
{
    if (row->bytes_sent == 0)
        return row->bytes_received ? MOVED_IN : MOVED_UNKNOWN;
    if (row->last_sent_ms != row->last_received_ms)
        return row->last_sent_ms < row->last_received_ms ? MOVED_OUT : MOVED_IN;
    bool answered = row->unacked_segments > 0 || row->last_ack_ms < row->last_received_ms;
    return answered ? MOVED_OUT : MOVED_UNKNOWN;
}

static enum intake_moved direction(const struct intake_connection *c, const struct inbound_row *row)
{
    uint64_t taken = row->bytes_received - row->unread_bytes;
    bool in = taken != c->taken, out = row->bytes_sent != c->sent;
    if (in != out)
        return in ? MOVED_IN : MOVED_OUT;
    if (!in && c->last != MOVED_UNKNOWN)
        return c->last;
    return row->unread_bytes ? MOVED_UNKNOWN : by_ages(row);
}

/* Where it stands: a request is in progress or waits, or the last one is answered. */
static enum intake_start stands(const struct intake_connection *c, const struct inbound_row *row)
{
    if (row->unread_bytes || c->last == MOVED_IN)
        return START_BUSY;
    return c->last == MOVED_OUT || !row->bytes_received ? START_IDLE : START_UNKNOWN;
}

/* What was not known at the start is told by what moves first: an answer to a request that was in progress, or the next
 * request after one that was answered. When one of each has moved, it stands now as it stood then. */
static void learn_start(struct intake *intake, struct intake_connection *c, const struct inbound_row *row)
{
    bool in = row->bytes_received != c->received, out = row->bytes_sent != c->sent;
    if (!c->at_start || c->start != START_UNKNOWN)
        return;
    if (intake->round == 1 || (in && out))
        c->start = stands(c, row);
    else if (in != out)
        c->start = out ? START_BUSY : START_IDLE;
    intake->in_progress += c->start == START_BUSY;
}

static void note_finished(struct intake *intake, struct intake_connection *c)
{
    if (c->start != START_BUSY || c->finished || c->last != MOVED_OUT)
        return;
    c->finished = true;
    intake->finished++;
}

static void note_movement(struct intake *intake, struct intake_connection *c, const struct inbound_row *row,
                          int64_t now_us)
{
    bool sent = row->bytes_sent != c->sent;
    learn_start(intake, c, row);
    if (sent)
        intake->moved_at_us = now_us;
    if (sent || row->bytes_received != c->received)
        c->moved_at_us = now_us;
    c->sent = row->bytes_sent;
    c->received = row->bytes_received;
    c->taken = row->bytes_received - row->unread_bytes;
    c->round = intake->round;
}

static void see(struct intake *intake, struct intake_connection *c, const struct inbound_row *row, int64_t now_us)
{
    c->last = direction(c, row);
    note_movement(intake, c, row, now_us);
    note_finished(intake, c);
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static int64_t quiet_of(const struct inbound_row *row)
{
    uint32_t ms = row->last_sent_ms < row->last_received_ms ? row->last_sent_ms : row->last_received_ms;
    return ms * US_PER_TICK;
}

/* Never spoken on, or answered; nothing has come since, for so long. */
static bool is_idle(const struct intake_connection *c, const struct inbound_row *row, int64_t idle_us)
{
    bool unused = row->bytes_received == 0;
    if (unused && c->late && idle_us < LATE_US)
        idle_us = LATE_US;
    return row->has_info && row->unread_bytes == 0 && (unused || c->last == MOVED_OUT) && quiet_of(row) >= idle_us;
}

static bool is_left(const struct intake_connection *c, const struct inbound_row *row, int64_t now_us)
{
    bool silent = row->has_info ? quiet_of(row) >= LEFT_AFTER_US : now_us - c->first_seen_us >= LEFT_AFTER_US;
    return c->last == MOVED_UNKNOWN && row->unread_bytes == 0 && silent;
}

/* Something lies unread on a connection whose app was not to wake: the next request, if the last one is answered. */
static void judge_unread_kept(struct intake *intake, const struct intake_connection *c, size_t index, int64_t now_us)
{
    if (c->last != MOVED_OUT || c->not_http)
        give(intake, index, INTAKE_PUT_BACK);
    else if (now_us - c->moved_at_us >= ANSWER_QUIET_US)
        give(intake, index, INTAKE_ANSWER);
    intake->counted.kept++;
}

static bool may_keep(const struct intake *intake, const struct intake_connection *c, const struct inbound_row *row,
                     int64_t now_us)
{
    return !c->kept && !c->not_http && !c->blocks && c->put_back < PUT_BACK_MOST && row->unread_bytes == 0 &&
           row->bytes_received && now_us - intake->began_us >= KEEP_AFTER_US && intake->round >= KEEP_AFTER_ROUNDS;
}

/* A listening socket that takes no notice hands that on to a connection that it was just about to make. */
static bool wants_welcome(const struct intake *intake, const struct intake_connection *c,
                          const struct inbound_row *row)
{
    return !c->welcomed && !c->at_start && intake->settings.listener == LISTENER_DROP && row->bytes_received == 0;
}

/* Nothing is to be done about it, and nothing is waited for. */
static bool is_over(struct intake *intake, const struct intake_connection *c, const struct inbound_row *row,
                    int64_t now_us)
{
    bool left = !c->closed && is_left(c, row, now_us);
    intake->counted.left += left;
    /* The client has closed it, and the app owes it nothing. */
    bool owed_nothing = row->tcp_state == TCP_CLOSE_WAIT && is_idle(c, row, idle_time_of(intake, row->port));
    return c->closed || left || owed_nothing;
}

static void judge_connection(struct intake *intake, const struct intake_connection *c, const struct inbound_row *row,
                             size_t index, int64_t now_us)
{
    if (is_over(intake, c, row, now_us))
        return;
    if (wants_welcome(intake, c, row))
        give(intake, index, INTAKE_WELCOME);
    else if (is_idle(c, row, idle_time_of(intake, row->port)))
        give(intake, index, INTAKE_CLOSE);
    else if (c->kept && row->unread_bytes)
        judge_unread_kept(intake, c, index, now_us);
    else if (may_keep(intake, c, row, now_us))
        give(intake, index, INTAKE_KEEP);
    if (c->last == MOVED_OUT && !row->unread_bytes)
        intake->counted.idle++;
    else
        intake->counted.busy++;
}

static void judge_row(struct intake *intake, const struct inbound_row *row, size_t index, int64_t now_us)
{
    if (idle_time_of(intake, row->port) == INTAKE_OFF)
        return;
    if (row->tcp_state == TCP_LISTEN) {
        judge_listening(intake, row, index);
        return;
    }
    struct intake_connection *c = find(intake, row->inode);
    if (!c)
        c = add(intake, row, now_us);
    if (!c) {
        intake->lossy = true;
        return;
    }
    see(intake, c, row, now_us);
    judge_connection(intake, c, row, index, now_us);
}

static bool is_unsure(const struct intake_connection *c)
{
    return c->at_start && c->start == START_UNKNOWN;
}

/* A connection that is gone was closed by an app that had not been told to stop: with its answer, as it always does. */
static void forget(struct intake *intake, const struct intake_connection *c)
{
    intake->finished += c->start == START_BUSY && !c->finished;
    intake->unsure += is_unsure(c);
}

static void forget_unseen(struct intake *intake)
{
    size_t kept = 0;
    for (size_t i = 0; i < intake->count; i++) {
        struct intake_connection *c = &intake->connections[i];
        if (c->round == intake->round)
            intake->connections[kept++] = *c;
        else
            forget(intake, c);
    }
    intake->count = kept;
}

static bool is_dry(const struct intake *intake, const struct message_inbound *inbound)
{
    const struct intake_count *counted = &intake->counted;
    bool quiet = counted->busy == 0 && counted->idle == 0 && counted->waiting == 0 && intake->order_count == 0;
    if (!inbound->sockets_seen || inbound->left_out || intake->lossy)
        return false;
    return counted->listening + inbound->header.count == 0 || (quiet && intake->round >= DRY_ROUNDS);
}

bool intake_round(struct intake *intake, const struct message_inbound *inbound, int64_t now_us)
{
    intake->round++;
    intake->order_count = 0;
    intake->counted = (struct intake_count){0};
    intake->lossy = false;
    for (size_t i = 0; i < inbound->header.count; i++)
        judge_row(intake, &inbound->rows[i], i, now_us);
    if (inbound->sockets_seen && inbound->owners_seen && !inbound->left_out)
        forget_unseen(intake);
    return is_dry(intake, inbound);
}

/* -- what the hands did -------------------------------------------------------------------------------------------- */

static void note_shut(struct intake *intake, const struct inbound_row *row)
{
    if (intake->shut_count < SHUT_MOST)
        intake->shut[intake->shut_count++] = row->inode;
}

static void note_not(struct intake_connection *c, enum intake_doing doing)
{
    c->welcomed |= doing == INTAKE_WELCOME;
    c->blocks |= doing == INTAKE_KEEP;
    c->not_http |= doing == INTAKE_ANSWER;
}

static void note_done(struct intake *intake, struct intake_connection *c, enum intake_doing doing)
{
    c->welcomed |= doing == INTAKE_WELCOME;
    c->late |= doing == INTAKE_WELCOME;
    c->closed |= doing == INTAKE_CLOSE || doing == INTAKE_ANSWER;
    if (doing == INTAKE_KEEP)
        c->kept = true;
    if (doing == INTAKE_PUT_BACK) {
        c->kept = false;
        c->put_back++;
    }
    intake->refused += doing == INTAKE_ANSWER;
}

void intake_note(struct intake *intake, const struct inbound_row *row, enum intake_doing doing,
                 enum intake_outcome outcome)
{
    struct intake_connection *c = row->tcp_state == TCP_LISTEN ? NULL : find(intake, row->inode);
    if (row->tcp_state == TCP_LISTEN && outcome == INTAKE_DONE)
        note_shut(intake, row);
    else if (c && outcome == INTAKE_NOT)
        note_not(c, doing);
    else if (c && outcome == INTAKE_DONE)
        note_done(intake, c, doing);
}

void intake_see(struct intake *intake, const struct inbound_row *row, int64_t now_us)
{
    struct intake_connection *c = find(intake, row->inode);
    if (c)
        see(intake, c, row, now_us);
}

void intake_restart(struct intake *intake)
{
    intake->shut_count = 0;
    for (size_t i = 0; i < intake->count; i++)
        intake->connections[i].kept = false;
}

unsigned intake_unsure(const struct intake *intake)
{
    unsigned unsure = intake->unsure;
    for (size_t i = 0; i < intake->count; i++)
        unsure += is_unsure(&intake->connections[i]);
    return unsure;
}
