/* The ledger: every way a socket and a session are joined, or are not. Pure, so no kernel and no server. */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/ledger/ledger.h"
#include "agent/ledger/names.h"
#include "common/clock.h"

#define APP "lastcall/web"
enum { MANY = 600 };

static struct socket_fact sockets[MANY];
static struct session sessions[WIRE_TARGETS][MANY];
static struct ledger_target targets[WIRE_TARGETS];
static struct handle_row rows[MANY];
static struct ledger_input input;

static void setup(void)
{
    memset(sessions, 0, sizeof sessions);
    memset(targets, 0, sizeof targets);
    input = (struct ledger_input){.sockets = sockets, .targets = targets, .application_name = APP, .query_text = true};
}

static struct endpoint at(const char *address, unsigned port)
{
    struct endpoint endpoint;
    ck_assert_int_eq(endpoint_parse(&endpoint, address, (uint16_t)port), 0);
    return endpoint;
}

static struct ledger_target *add_target(const char *address, unsigned port)
{
    size_t i = input.target_count++;
    targets[i] = (struct ledger_target){.server = -1, .port = (uint16_t)port, .path = -1, .answered = true,
                                        .sessions = sessions[i]};
    if (address)
        targets[i].addresses[targets[i].address_count++] = at(address, 0);
    return &targets[i];
}

static struct socket_fact *add_socket(const char *local, unsigned local_port, const char *remote, unsigned port)
{
    struct socket_fact *fact = &sockets[input.socket_count++];
    *fact = socket_fact_none();
    fact->inode = 1000 + input.socket_count;
    fact->pid = 7;
    fact->fd = (int)input.socket_count;
    fact->holders = 1;
    fact->tcp_state = 1;
    fact->local = at(local, local_port);
    fact->remote = at(remote, port);
    return fact;
}

static struct session *add_session(struct ledger_target *target, uint64_t id, uint8_t state)
{
    struct session *session = &sessions[target - targets][target->session_count++];
    *session = (struct session){.id = id, .state = state, .tls = 0, .start = (int64_t)id, .state_change = 100,
                                .state_age_us = 5000, .transaction_age_us = -1};
    snprintf(session->application_name, sizeof session->application_name, APP);
    snprintf(session->query, sizeof session->query, "select %d", (int)id);
    return session;
}

static long join(long expected)
{
    long count = ledger_join(&input, rows);
    ck_assert_int_eq(count, expected);
    return count;
}

static void assert_row(int i, uint8_t known_by, uint8_t state, uint64_t session)
{
    ck_assert_int_eq(rows[i].known_by, known_by);
    ck_assert_int_eq(rows[i].state, state);
    ck_assert_uint_eq(rows[i].session, session);
}

START_TEST(joins_exactly)
{
    struct ledger_target *pg = add_target("10.0.0.1", 5432);
    struct socket_fact *fact = add_socket("10.0.0.5", 40000, "10.0.0.1", 5432);
    fact->unread_bytes = 3;
    fact->epoll = 1;
    add_socket("10.0.0.5", 40001, "10.0.0.1", 5432);
    add_session(pg, 91, SESSION_IDLE)->client = at("10.0.0.5", 40002);
    struct session *session = add_session(pg, 92, SESSION_IN_TRANSACTION);
    session->client = at("::ffff:10.0.0.5", 40000); /* as the server may see it */
    session->transaction_age_us = 7000;
    session->tls = 1;
    join(2);
    assert_row(0, KNOWN_EXACT, SESSION_IN_TRANSACTION, 92);
    assert_row(1, KNOWN_SOCKET_ONLY, SESSION_ABSENT, 0);
    ck_assert_int_eq(rows[0].transaction_age_us, 7000);
    ck_assert_int_eq(rows[0].session_start, 92);
    ck_assert_int_eq(rows[0].tls, 1);
    ck_assert_int_eq(rows[0].unread_bytes, 3);
    ck_assert_int_eq(rows[0].epoll, 1);
    ck_assert_str_eq(rows[0].query, "select 92");
    ck_assert_int_eq(rows[1].tls, 255);
    ck_assert_int_eq(rows[1].state_age_us, -1);
    input.query_text = false;
    join(2);
    ck_assert_str_eq(rows[0].query, "");
}
END_TEST

START_TEST(unknown_when_the_server_did_not_say)
{
    struct ledger_target *pg = add_target("10.0.0.1", 5432);
    add_socket("10.0.0.5", 40000, "10.0.0.1", 5432);
    add_session(pg, 92, SESSION_IDLE)->client = at("10.0.0.5", 40000);
    pg->answered = false; /* what lies there is nothing */
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    pg->answered = true;
    sessions[0][0].client = (struct endpoint){.family = ENDPOINT_NONE}; /* no right to see it: it may be this one */
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    pg->hidden_since_us = 500;
    sockets[0].absent_at_us = 500;
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    sockets[0].absent_at_us = 501; /* all that are hidden were there before the socket was */
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_ABSENT, 0);
    sockets[0].absent_at_us = 0;
    pg->session_count = 0, pg->hidden_since_us = 0;
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_ABSENT, 0);
    pg->translated = -1; /* nobody knows whether it would be found */
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
}
END_TEST

START_TEST(tells_targets_apart)
{
    struct ledger_target *primary = add_target("10.0.0.1", 5432);
    struct ledger_target *replica = add_target("10.0.0.2", 5432);
    add_socket("10.0.0.5", 40000, "10.0.0.2", 5432);
    add_socket("10.0.0.5", 40001, "10.0.0.1", 5432);
    add_socket("10.0.0.5", 40002, "10.0.0.3", 5432); /* some other server */
    add_socket("10.0.0.5", 40003, "10.0.0.1", 5433);
    join(2);
    ck_assert_int_eq(rows[0].target, 1);
    ck_assert_int_eq(rows[1].target, 0);
    /* the other server is behind a name that resolves to another address now: its session says so */
    add_session(replica, 5, SESSION_ACTIVE)->client = at("10.0.0.5", 40002);
    join(3);
    ck_assert_int_eq(rows[2].target, 1);
    assert_row(2, KNOWN_EXACT, SESSION_ACTIVE, 5);
    replica->session_count = 0;
    replica->address_count = 0; /* not resolved yet: what fits nobody else may be its */
    join(3);
    ck_assert_int_eq(rows[0].target, 1);
    ck_assert_int_eq(rows[1].target, 0);
    ck_assert_int_eq(rows[2].target, 1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_ABSENT, 0);
    primary->address_count = 0;
    join(3);
}
END_TEST

START_TEST(an_address_has_a_port_of_its_own)
{
    struct ledger_target *pg = add_target("10.96.0.1", 5432);
    pg->addresses[pg->address_count++] = at("10.0.0.9", 15432); /* the pod behind the service */
    add_socket("10.0.0.5", 40000, "10.0.0.9", 15432);
    add_socket("10.0.0.5", 40001, "10.0.0.9", 5432);
    join(1);
    ck_assert_uint_eq(rows[0].inode, sockets[0].inode);
}
END_TEST

START_TEST(prefers_the_target_the_app_uses)
{
    struct ledger_target *direct = add_target("10.0.0.1", 5432);
    add_target("10.0.0.1", 5432);
    direct->look_only = true;
    add_socket("10.0.0.5", 40000, "10.0.0.1", 5432);
    join(1);
    ck_assert_int_eq(rows[0].target, 1);
    add_session(direct, 3, SESSION_IDLE)->client = at("10.0.0.5", 40000); /* unless it is a session of the other */
    join(1);
    ck_assert_int_eq(rows[0].target, 0);
}
END_TEST

static struct ledger_target *session_mode(struct ledger_target **server)
{
    struct ledger_target *pooler = add_target("10.0.0.2", 6432);
    *server = add_target("10.0.0.1", 5432);
    (*server)->look_only = true;
    pooler->server = 1;
    add_socket("10.0.0.5", 40000, "10.0.0.2", 6432);
    struct session *client = add_session(pooler, 0xabc, SESSION_ACTIVE);
    client->client = at("10.0.0.5", 40000);
    client->server_pid = 77;
    client->start = 0;
    client->tls = 1;
    return pooler;
}

START_TEST(asks_postgres_behind_session_mode)
{
    struct ledger_target *server;
    session_mode(&server);
    join(1);
    assert_row(0, KNOWN_EXACT, SESSION_UNKNOWN, 0xabc); /* the server has no such backend: nobody knows */
    add_session(server, 76, SESSION_ACTIVE);
    struct session *backend = add_session(server, 77, SESSION_IDLE);
    backend->state_change = 4242;
    backend->transaction_start = 4141;
    join(1);
    assert_row(0, KNOWN_EXACT, SESSION_IDLE, 0xabc);
    ck_assert_int_eq(rows[0].state_change, 4242);
    ck_assert_int_eq(rows[0].transaction_start, 4141);
    ck_assert_int_eq(rows[0].session_start, 0);
    ck_assert_int_eq(rows[0].tls, 1);
    ck_assert_str_eq(rows[0].query, "select 77");
    server->answered = false;
    join(1);
    assert_row(0, KNOWN_EXACT, SESSION_UNKNOWN, 0xabc);
}
END_TEST

START_TEST(transaction_mode_speaks_for_itself)
{
    struct ledger_target *server;
    session_mode(&server);
    sessions[0][0].server_pid = 0;
    sessions[0][0].state = SESSION_WAITING;
    join(1);
    assert_row(0, KNOWN_EXACT, SESSION_WAITING, 0xabc);
}
END_TEST

/* Of the backend behind a transaction it is told whether it works or waits for the app; an idle one is not believed. */
START_TEST(transaction_mode_is_refined_by_its_backend)
{
    static const struct { uint8_t backend, waits, state, said; } as[] = {
        {SESSION_IN_TRANSACTION, 1, SESSION_IN_TRANSACTION, 255}, {SESSION_ACTIVE, 0, SESSION_ACTIVE, 0},
        {SESSION_ACTIVE, 1, SESSION_ACTIVE, 1},                   {SESSION_IDLE, 1, SESSION_ACTIVE, 255},
    };
    struct ledger_target *server;
    session_mode(&server);
    struct session *backend = add_session(server, 77, as[_i].backend);
    backend->waits_for_client = as[_i].waits;
    backend->transaction_start = 4141;
    sessions[0][0].linked_pid = sessions[0][0].server_pid;
    sessions[0][0].server_pid = 0;
    sessions[0][0].state = SESSION_ACTIVE;
    sessions[0][0].waits_for_client = 255;
    join(1);
    ck_assert_uint_eq(rows[0].state, as[_i].state);
    ck_assert_uint_eq(rows[0].waits_for_client, as[_i].said);
    ck_assert_int_eq(rows[0].transaction_start, as[_i].backend == SESSION_IDLE ? 0 : 4141);
}
END_TEST

START_TEST(joins_by_name_when_translated)
{
    struct ledger_target *pg = add_target("10.0.0.1", 5432);
    pg->translated = 1;
    for (unsigned i = 0; i < 3; i++)
        add_socket("10.0.0.5", 40000 + i, "10.0.0.1", 5432);
    for (unsigned i = 0; i < 2; i++)
        add_session(pg, 10 + i, i ? SESSION_ACTIVE : SESSION_IDLE)->client = at("192.168.0.1", 1000 + i);
    struct session *other = add_session(pg, 20, SESSION_ACTIVE);
    other->client = at("192.168.0.1", 2000);
    snprintf(other->application_name, sizeof other->application_name, "lastcall/web2");
    join(3);
    assert_row(0, KNOWN_BY_NAME, SESSION_IDLE, 10); /* the oldest to the oldest */
    assert_row(1, KNOWN_BY_NAME, SESSION_ACTIVE, 11);
    assert_row(2, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0); /* surplus; never ABSENT */
    add_session(pg, 12, SESSION_IDLE)->client = at("192.168.0.1", 3000);
    add_session(pg, 13, SESSION_IN_TRANSACTION)->client = at("192.168.0.1", 3001);
    join(3); /* a surplus of sessions: none at work is left out */
    assert_row(0, KNOWN_BY_NAME, SESSION_IDLE, 10);
    assert_row(1, KNOWN_BY_NAME, SESSION_ACTIVE, 11);
    assert_row(2, KNOWN_BY_NAME, SESSION_IN_TRANSACTION, 13);
}
END_TEST

START_TEST(a_session_is_joined_once)
{
    struct ledger_target *pg = add_target("10.0.0.1", 5432);
    pg->translated = -1;
    add_socket("10.0.0.5", 40000, "10.0.0.1", 5432);
    add_socket("10.0.0.5", 40001, "10.0.0.1", 5432);
    add_session(pg, 10, SESSION_ACTIVE)->client = at("10.0.0.5", 40001);
    join(2);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    assert_row(1, KNOWN_EXACT, SESSION_ACTIVE, 10);
}
END_TEST

START_TEST(joins_by_the_address_in_the_name)
{
    struct ledger_target *pg = add_target("10.0.0.1", 6432); /* a pooler that nobody called one */
    pg->translated = 1;
    for (unsigned i = 0; i < 3; i++)
        add_socket("10.0.0.5", 40000 + i, "10.0.0.1", 6432);
    for (unsigned i = 0; i < 3; i++) {
        struct session *session = add_session(pg, 10 + i, i == 1 ? SESSION_ACTIVE : SESSION_IDLE);
        session->client = at("10.0.0.1", 50000 + i);
        snprintf(session->application_name, sizeof session->application_name, APP " - 10.0.0.5:%u", 40001 + i / 2);
    }
    join(3);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    assert_row(1, KNOWN_EXACT, SESSION_ACTIVE, 11); /* of two that bear its address the one at work */
    assert_row(2, KNOWN_EXACT, SESSION_IDLE, 12);
}
END_TEST

/* A pooler that lets nobody look: its server's sessions bear the names of its clients. */
static struct ledger_target *add_quiet_pooler(void)
{
    struct ledger_target *pooler = add_target("10.0.0.2", 6432), *pg = add_target("10.0.0.1", 5432);
    pooler->server = 1;
    pooler->answered = false;
    for (unsigned i = 0; i < 3; i++)
        add_socket("10.0.0.5", 40000 + i, "10.0.0.2", 6432);
    for (unsigned i = 0; i < 2; i++) {
        struct session *session = add_session(pg, 10 + i, i ? SESSION_IN_TRANSACTION : SESSION_IDLE);
        session->client = at("10.0.0.2", 50000 + i);
        snprintf(session->application_name, sizeof session->application_name, APP " - 10.0.0.5:%u", 40000 + i);
    }
    return pg;
}

START_TEST(joins_through_a_pooler_that_is_not_asked)
{
    struct ledger_target *pg = add_quiet_pooler();
    join(3);
    assert_row(0, KNOWN_EXACT, SESSION_IDLE, 10);
    assert_row(1, KNOWN_EXACT, SESSION_IN_TRANSACTION, 11);
    assert_row(2, KNOWN_BY_NAME, SESSION_IDLE, 0); /* linked to none of those that are named */
    pg->answered = false;
    join(3);
    assert_row(1, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
}
END_TEST

/* It may be linked all the same: under another name, or under one that was cut. */
START_TEST(a_client_that_is_not_named_may_be_linked)
{
    static const char *const names[] = {"psql - 10.0.0.5:40002",
                                        APP "/a/name/that/leaves/no/place/for/the/address - 10.0.0.5"};
    struct ledger_target *pg = add_quiet_pooler();
    struct session *session = add_session(pg, 12, SESSION_IN_TRANSACTION);
    session->client = at("10.0.0.2", 50002);
    snprintf(session->application_name, sizeof session->application_name, "%.63s", names[_i]);
    join(3);
    assert_row(1, KNOWN_EXACT, SESSION_IN_TRANSACTION, 11);
    assert_row(2, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
}
END_TEST

/* No name tells whose they are, but all of them are idle. */
START_TEST(what_all_are_one_is)
{
    struct ledger_target *redis = add_target("10.0.0.1", 6379);
    redis->translated = 1;
    for (unsigned i = 0; i < 2; i++)
        add_socket("10.0.0.5", 40000 + i, "10.0.0.1", 6379);
    for (unsigned i = 0; i < 3; i++) {
        struct session *session = add_session(redis, 10 + i, SESSION_IDLE);
        session->client = at("10.0.0.9", 50000 + i);
        session->application_name[0] = 0;
    }
    join(2);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_IDLE, 0);
    assert_row(1, KNOWN_SOCKET_ONLY, SESSION_IDLE, 0);
    sessions[0][1].state = SESSION_IN_TRANSACTION;
    join(2);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    sessions[0][1].state = SESSION_IDLE;
    redis->session_count = 1; /* one of the two is there, the other one is not */
    join(2);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    redis->session_count = 0;
    join(2);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
}
END_TEST

/* The ages are wrong about it; what moves together is not. A name is not needed for that. */
START_TEST(tells_apart_by_what_moves_together)
{
    struct ledger_target *pg = add_target("10.0.0.1", 5432);
    pg->translated = 1;
    pg->pairs = pairs_create();
    for (unsigned i = 0; i < 3; i++) {
        struct socket_fact *fact = add_socket("10.0.0.5", 40000 + i, "10.0.0.1", 5432);
        fact->has_info = 1;
        fact->last_sent_ms = 9;
        fact->last_received_ms = 5;
        add_session(pg, 10 + i, SESSION_IDLE)->client = at("10.0.0.9", 50000 + i);
    }
    sessions[0][0].application_name[0] = 0;
    join(3);
    ck_assert_uint_eq(rows[0].told_apart, 255);
    for (int turn = 0; turn < 60; turn++) {
        unsigned one = (unsigned)turn % 3; /* socket i is session 12 - i's */
        sockets[one].bytes_sent++;
        sockets[one].bytes_received++;
        sessions[0][2 - one].state_change++;
        for (int looks = 0; looks < 3; looks++)
            join(3);
    }
    sessions[0][0].state = SESSION_IN_TRANSACTION;
    join(3);
    assert_row(0, KNOWN_BY_NAME, SESSION_IDLE, 12);
    assert_row(1, KNOWN_BY_NAME, SESSION_IDLE, 11);
    assert_row(2, KNOWN_SOCKET_ONLY, SESSION_IN_TRANSACTION, 10);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(rows[i].told_apart, 1);
    pg->answered = false;
    join(3);
    assert_row(2, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    pairs_destroy(pg->pairs);
}
END_TEST

START_TEST(joins_unix_sockets_by_name)
{
    struct ledger_target *pg = add_target(NULL, 5432);
    struct ledger_target *tcp = add_target("10.0.0.1", 5432);
    pg->path = 0;
    for (int i = 0; i < 2; i++) {
        struct socket_fact *fact = add_socket("10.0.0.5", 1, "10.0.0.5", 1);
        fact->local = fact->remote = (struct endpoint){.family = ENDPOINT_UNIX};
        fact->path = (int16_t)i;
        fact->tcp_state = 0;
    }
    add_session(pg, 5, SESSION_ACTIVE)->client = at("10.0.0.5", 40000); /* one over TCP is not it */
    add_session(tcp, 6, SESSION_ACTIVE)->client = (struct endpoint){.family = ENDPOINT_UNIX};
    join(1);
    assert_row(0, KNOWN_SOCKET_ONLY, SESSION_UNKNOWN, 0);
    add_session(pg, 7, SESSION_IN_TRANSACTION)->client = (struct endpoint){.family = ENDPOINT_UNIX};
    join(1);
    assert_row(0, KNOWN_BY_NAME, SESSION_IN_TRANSACTION, 7);
}
END_TEST

START_TEST(reads_names)
{
    static const struct { const char *name; bool match; const char *client; } table[] = {
        {APP, true, NULL},
        {APP "2", false, NULL},
        {APP " - 10.0.0.5:40312", true, "10.0.0.5:40312"},
        {APP " - ::1:40312", true, "[::1]:40312"},
        {APP " - fe80::1:2:40312", true, "[fe80::1:2]:40312"},
        {APP " - unix(77):6432", true, NULL},
        {APP " - 10.0.0.5:", true, NULL},
        {APP " - 10.0.0.5:0", true, NULL},
        {APP " - 10.0.0.5:99999", true, NULL},
        {APP " - 10.0.0.5:4x", true, NULL},
        {APP " - ", true, NULL},
        {APP " worker", false, NULL},
        {"lastcall-agent/web", false, NULL},
        {"psql", false, NULL},
        {"", false, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct endpoint client;
        char text[64];
        bool has = names_read_client(table[i].name, APP, &client);
        ck_assert_msg(names_match(table[i].name, APP) == table[i].match, "%s", table[i].name);
        ck_assert_msg(has == (table[i].client != NULL), "%s", table[i].name);
        if (!has)
            continue;
        inet_ntop(client.family == ENDPOINT_INET ? AF_INET : AF_INET6, client.address, text, sizeof text);
        ck_assert_ptr_nonnull(strstr(table[i].client, text));
        ck_assert_uint_eq(client.port, 40312);
    }
    ck_assert(!names_match("anything", ""));
}
END_TEST

START_TEST(a_name_that_was_cut_is_no_address)
{
    struct endpoint client;
    const char *prefix = "lastcall/a-name-of-an-instance-that-is-rather-long"; /* 49 bytes */
    char name[128];
    snprintf(name, sizeof name, "%s - 10.0.0.5:40312", prefix);
    name[63] = 0; /* as PostgreSQL does */
    ck_assert(!names_read_client(name, prefix, &client));
    ck_assert(names_match(name, prefix));
}
END_TEST

static int64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

START_TEST(is_quick_with_many)
{
    struct ledger_target *by_address = add_target("10.0.0.1", 5432);
    struct ledger_target *by_name = add_target("10.0.0.2", 5432);
    by_name->translated = 1;
    for (unsigned i = 0; i < 500; i++) {
        add_socket("10.0.0.5", 10000 + i, i % 2 ? "10.0.0.2" : "10.0.0.1", 5432);
        add_session(i % 2 ? by_name : by_address, 1 + i, SESSION_IDLE)->client = at("10.0.0.5", 10000 + i);
    }
    int64_t before = cpu_us();
    join(500);
    ck_assert_int_lt(cpu_us() - before, 100000); /* generous: sanitizers, slow machines; 0.3 ms is usual */
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(rows[i].known_by, i % 2 ? KNOWN_BY_NAME : KNOWN_EXACT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ledger");
    TCase *all = tcase_create("ledger");
    tcase_add_checked_fixture(all, setup, NULL);
    tcase_add_test(all, joins_exactly);
    tcase_add_test(all, unknown_when_the_server_did_not_say);
    tcase_add_test(all, tells_targets_apart);
    tcase_add_test(all, an_address_has_a_port_of_its_own);
    tcase_add_test(all, prefers_the_target_the_app_uses);
    tcase_add_test(all, asks_postgres_behind_session_mode);
    tcase_add_test(all, transaction_mode_speaks_for_itself);
    tcase_add_loop_test(all, transaction_mode_is_refined_by_its_backend, 0, 4);
    tcase_add_test(all, joins_by_name_when_translated);
    tcase_add_test(all, a_session_is_joined_once);
    tcase_add_test(all, joins_by_the_address_in_the_name);
    tcase_add_test(all, joins_through_a_pooler_that_is_not_asked);
    tcase_add_loop_test(all, a_client_that_is_not_named_may_be_linked, 0, 2);
    tcase_add_test(all, what_all_are_one_is);
    tcase_add_test(all, tells_apart_by_what_moves_together);
    tcase_add_test(all, joins_unix_sockets_by_name);
    tcase_add_test(all, reads_names);
    tcase_add_test(all, a_name_that_was_cut_is_no_address);
    tcase_add_test(all, is_quick_with_many);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
