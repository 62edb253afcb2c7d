/* A target: questions, limits, losses, backoff and the ending of sessions, against a server that the test plays. */
#include <check.h>
#include <errno.h>
#include <signal.h>

#include "agent/targets/params.h"
#include "agent/targets/resolve.h"
#include "agent/targets/target.h"
#include "common/clock.h"
#include "common/text.h"
#include "fake_redis.h"

#define TWO "id=1 addr=10.0.0.1:1 name=a flags=N cmd=get\nid=2 addr=10.0.0.1:2 name=b flags=x multi=0 cmd=set\n"
#define ONE "id=2 addr=10.0.0.1:2 name=b flags=x multi=0 cmd=set\n"
enum { LIMIT_US = 2000000 };

static struct ev_loop *loop;
static struct fake_redis server;
static struct target *target;

/* What came back. */
static int answers, ends;
static bool in_call, destroy_in_answer, ask_in_answer, spare_busy;
static struct {
    bool ok;
    size_t count;
    uint64_t first;
    int32_t server_sessions, server_max;
    int64_t took_us, at_us;
    char why[256];
} last;
static uint8_t ended[WIRE_SESSIONS];
static uint32_t ended_request;
static char ended_why[256];

static struct message_target message_for(const char *host, int port, const char *password)
{
    struct message_target message = {.kind = TARGET_REDIS, .server = -1, .name = "cache"};
    size_t at = (size_t)sprintf(message.params, "host=%s", host) + 1;
    at += (size_t)sprintf(message.params + at, "port=%d", port) + 1;
    if (password)
        sprintf(message.params + at, "password=%s", password);
    return message;
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the agent does */
    loop = ev_loop_new(0);
    fake_redis_start(&server, loop);
    server.list = TWO;
    struct message_target message = message_for("127.0.0.1", server.port, NULL);
    target = target_create(loop, &message, "lastcall-agent/test");
    ck_assert_ptr_nonnull(target);
    answers = ends = 0;
    spare_busy = false;
    destroy_in_answer = ask_in_answer = false;
}

static void teardown(void)
{
    target_destroy(target);
    fake_redis_stop(&server);
    ev_loop_destroy(loop);
}

static void answered(void *context, struct target *from, const struct target_answer *answer)
{
    ck_assert_ptr_eq(context, &answers);
    ck_assert_ptr_eq(from, target);
    ck_assert(!in_call);
    ck_assert_ptr_nonnull(answer->why);
    last.ok = answer->ok;
    last.count = answer->session_count;
    last.first = answer->session_count ? answer->sessions[0].id : 0;
    last.server_sessions = answer->server_sessions;
    last.server_max = answer->server_max;
    last.took_us = answer->took_us;
    last.at_us = clock_now_us();
    text_copy(last.why, sizeof last.why, answer->why);
    answers++;
    if (ask_in_answer)
        ck_assert_int_eq(target_ask(target, LIMIT_US, true, answered, &answers), 0);
    if (destroy_in_answer) {
        target_destroy(target);
        target = NULL;
    }
}

static int ask(int64_t limit_us)
{
    in_call = true;
    int status = target_ask(target, limit_us, true, answered, &answers);
    in_call = false;
    return status;
}

static void ended_all(void *context, struct target *from, uint32_t request, const uint8_t *how, size_t count,
                      const char *why)
{
    ck_assert_ptr_eq(context, &ends);
    ck_assert_ptr_eq(from, target);
    ck_assert(!in_call);
    ended_request = request;
    memcpy(ended, how, count);
    text_copy(ended_why, sizeof ended_why, why);
    ends++;
}

static void end_sessions(uint32_t linger_ms, uint32_t wait_ms, const uint64_t *ids, uint16_t count)
{
    union {
        struct message_end message;
        char room[sizeof(struct message_end) + WIRE_SESSIONS * sizeof(struct end_session)];
    } end = {.message = {.header.count = count, .request = 7, .only_if_still_there = linger_ms > 0,
                         .spare_busy = spare_busy, .linger_ms = linger_ms, .wait_ms = wait_ms}};
    for (uint16_t i = 0; i < count; i++)
        end.message.sessions[i] = (struct end_session){.session = ids[i]};
    in_call = true;
    ck_assert_int_eq(target_end_sessions(target, &end.message, ended_all, &ends), 0);
    in_call = false;
}

static void give_up(struct ev_loop *at, ev_timer *watcher, int events)
{
    (void)at, (void)watcher, (void)events;
    ck_abort_msg("waited for too long");
}

/* Runs the loop until the number at `counter` is `wanted`. */
static void run_until(const int *counter, int wanted)
{
    ev_timer limit;
    ev_timer_init(&limit, give_up, 8., 0.);
    ev_now_update(loop);
    ev_timer_start(loop, &limit);
    ev_run(loop, EVRUN_NOWAIT); /* what was fed from outside the loop comes before it waits */
    while (*counter < wanted)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &limit);
}

static void ask_and_wait(int64_t limit_us)
{
    int before = answers;
    ck_assert_int_eq(ask(limit_us), 0);
    run_until(&answers, before + 1);
}

START_TEST(an_answer_without_our_own_session)
{
    ck_assert_int_eq(target_up(target), TARGET_UNKNOWN);
    ck_assert_int_eq(target_is_translated(target), -1);
    ask_and_wait(LIMIT_US);
    ck_assert_msg(last.ok, "%s", last.why);
    ck_assert_uint_eq(last.count, 2);
    ck_assert_int_eq(last.server_sessions, 3);
    ck_assert_int_eq(last.server_max, 500);
    ck_assert_int_ge(last.took_us, 0);
    ck_assert_int_eq(target_up(target), TARGET_UP);
    ck_assert_str_eq(target_why(target), "");
    ck_assert_int_eq(target_is_translated(target), 0);
    ask_and_wait(LIMIT_US);
    ck_assert_uint_eq(last.count, 2); /* the table begins anew each time */
    ck_assert_int_eq(server.accepted, 1);
}
END_TEST

START_TEST(addresses_are_known_at_once_when_numeric)
{
    struct endpoint at[4], wanted;
    ck_assert_int_eq(endpoint_parse(&wanted, "127.0.0.1", (uint16_t)server.port), 0);
    ck_assert_uint_eq(target_addresses(target, at, 4), 1);
    ck_assert(endpoint_equal(&at[0], &wanted));
    ck_assert_ptr_null(target_unix_path(target));
    ask_and_wait(LIMIT_US);
    ck_assert_uint_eq(target_addresses(target, at, 0), 1); /* the peer is the same one */
}
END_TEST

START_TEST(one_question_at_a_time)
{
    ck_assert_int_eq(ask(LIMIT_US), 0);
    errno = 0;
    ck_assert_int_eq(ask(LIMIT_US), -1);
    ck_assert_int_eq(errno, EBUSY);
    run_until(&answers, 1);
    ck_assert(last.ok);
}
END_TEST

START_TEST(the_limit_holds_and_a_late_answer_is_dropped)
{
    ask_and_wait(LIMIT_US);
    server.silent_lists = true;
    int64_t began = clock_now_us();
    ask_and_wait(100000);
    ck_assert(!last.ok);
    ck_assert_int_eq(last.took_us, -1);
    ck_assert_int_eq(last.server_sessions, -1);
    ck_assert_uint_eq(last.count, 0);
    ck_assert_ptr_nonnull(strstr(last.why, "no answer after 100 ms"));
    ck_assert_int_ge(last.at_us - began, 99000);
    ck_assert_int_lt(last.at_us - began, 1000000);
    /* The next question waits behind the one that is overdue, and fails at its own limit as well. */
    ask_and_wait(50000);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "earlier question"));
    /* The server goes on: the overdue answer comes, is dropped, and the new question gets one of its own. */
    server.silent_lists = false;
    server.list = "id=8 flags=N\n";
    int lists = server.lists;
    fake_say_list(&server.connections[0]);
    ask_and_wait(LIMIT_US);
    ck_assert(last.ok);
    ck_assert_uint_eq(last.first, 8);
    ck_assert_int_eq(server.lists, lists + 1);
    ck_assert_int_eq(server.accepted, 1);
}
END_TEST

START_TEST(a_server_that_never_answers_is_left_for_a_new_connection)
{
    ask_and_wait(LIMIT_US);
    server.silent_lists = true;
    ask_and_wait(50000);
    server.silent_lists = false;
    ask_and_wait(4 * LIMIT_US); /* pending behind the stuck one */
    ck_assert_msg(last.ok, "%s", last.why);
    ck_assert_int_eq(server.accepted, 2);
}
END_TEST

START_TEST(a_lost_connection_fails_the_question_and_the_next_one_connects_at_once)
{
    ask_and_wait(LIMIT_US);
    server.hang_up_at_list = true;
    ask_and_wait(LIMIT_US);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "127.0.0.1:"));
    ck_assert_int_eq(target_up(target), TARGET_DOWN);
    ck_assert_str_ne(target_why(target), "");
    server.hang_up_at_list = false;
    int64_t began = clock_now_us();
    ask_and_wait(LIMIT_US);
    ck_assert_msg(last.ok, "%s", last.why);
    ck_assert_int_lt(last.at_us - began, 90000); /* no backoff */
    ck_assert_int_eq(target_up(target), TARGET_UP);
}
END_TEST

START_TEST(a_connection_that_ended_while_nobody_asked)
{
    ask_and_wait(LIMIT_US);
    fake_redis_hang_up(&server);
    ask_and_wait(LIMIT_US); /* may find out only now */
    if (!last.ok)
        ask_and_wait(LIMIT_US);
    ck_assert_msg(last.ok, "%s", last.why);
    ck_assert_int_eq(server.accepted, 2);
}
END_TEST

START_TEST(a_refused_connection_says_why_and_backs_off)
{
    fake_redis_stop(&server);
    ask_and_wait(LIMIT_US);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "Connection refused"));
    ck_assert_int_eq(target_up(target), TARGET_DOWN);
    /* The next attempt is 100 ms away: a question with a shorter limit is answered at once, by the same reason. */
    int64_t began = clock_now_us();
    ask_and_wait(80000);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "Connection refused"));
    ck_assert_int_lt(last.at_us - began, 75000);
    /* One with a longer limit waits for it. */
    began = clock_now_us();
    ask_and_wait(LIMIT_US);
    ck_assert(!last.ok);
    ck_assert_int_ge(last.at_us - began, 20000);
    fake_redis_start(&server, loop); /* for the teardown */
}
END_TEST

START_TEST(a_refused_password_is_never_told)
{
    target_destroy(target);
    struct message_target message = message_for("127.0.0.1", server.port, "hunter2");
    target = target_create(loop, &message, "lastcall-agent/test");
    server.auth_error = "-WRONGPASS invalid username-password pair\r\n";
    ask_and_wait(LIMIT_US);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "WRONGPASS"));
    ck_assert_ptr_null(strstr(last.why, "hunter2"));
}
END_TEST

START_TEST(a_silent_server_is_not_connected_at_the_limit)
{
    server.silent = true;
    ask_and_wait(60000);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "not connected after 60 ms"));
    ck_assert_int_eq(target_up(target), TARGET_CONNECTING);
}
END_TEST

START_TEST(destroyed_from_within_an_answer)
{
    destroy_in_answer = true;
    ask_and_wait(LIMIT_US);
    ck_assert_ptr_null(target);
}
END_TEST

START_TEST(destroyed_while_connecting_asking_and_ending)
{
    ck_assert_int_eq(ask(LIMIT_US), 0);
    ev_run(loop, EVRUN_NOWAIT);
    end_sessions(0, 1000, (uint64_t[]){1}, 1);
    target_destroy(target);
    target = NULL;
    for (int i = 0; i < 20; i++)
        ev_run(loop, EVRUN_NOWAIT);
    ck_assert_int_eq(answers + ends, 0);
}
END_TEST

/* Ending. */

START_TEST(a_session_that_is_gone_before_its_time_ended_by_itself)
{
    server.list = ONE;
    end_sessions(500, 500, (uint64_t[]){1}, 1);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended_request, 7);
    ck_assert_uint_eq(ended[0], ENDED_BY_ITSELF);
    ck_assert_str_eq(ended_why, "");
    ck_assert_int_eq(server.kills, 0);
}
END_TEST

START_TEST(a_session_that_stays_gets_the_command_after_it_lingered)
{
    int64_t began = clock_now_us();
    end_sessions(80, 2000, (uint64_t[]){1, 3}, 2);
    run_until(&server.kills, 1);
    ck_assert_int_ge(clock_now_us() - began, 79000);
    ck_assert_int_ge(server.lists, 2); /* it was looked for meanwhile */
    server.list = ONE;
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_BY_COMMAND);
    ck_assert_uint_eq(ended[1], ENDED_BY_ITSELF);
    ck_assert_int_eq(server.kills, 1);
}
END_TEST

/* 1 waits for the next word, 2 for a job. */
START_TEST(a_session_at_work_is_spared_when_asked)
{
    server.list = "id=1 addr=10.0.0.1:1 name=a flags=N cmd=get\nid=2 addr=10.0.0.1:2 name=b flags=b cmd=blpop\n";
    spare_busy = true;
    end_sessions(40, 300, (uint64_t[]){1, 2}, 2);
    run_until(&server.kills, 1);
    server.list = "id=2 addr=10.0.0.1:2 name=b flags=b cmd=blpop\n";
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_WHEN_IDLE);
    ck_assert_uint_eq(ended[1], ENDED_STILL_THERE);
    ck_assert_str_eq(ended_why, "it is at work, and was left to it");
    ck_assert_int_eq(server.kills, 1);
}
END_TEST

START_TEST(a_session_at_work_is_told_when_it_is_done)
{
    server.list = "id=2 addr=10.0.0.1:2 name=b flags=b cmd=blpop\n";
    spare_busy = true;
    end_sessions(10, 2000, (uint64_t[]){2}, 1);
    run_until(&server.lists, 8);
    ck_assert_int_eq(server.kills, 0);
    server.list = ONE;
    run_until(&server.kills, 1);
    server.list = "";
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_IN_TRANSACTION);
}
END_TEST

START_TEST(all_at_work_are_spared)
{
    server.list = "id=2 addr=10.0.0.1:2 name=b flags=b cmd=blpop\n";
    spare_busy = true;
    end_sessions(40, 80, (uint64_t[]){2}, 1);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_STILL_THERE);
    ck_assert_int_eq(server.kills, 0);
}
END_TEST

START_TEST(a_session_that_outlives_its_command_is_still_there)
{
    int64_t began = clock_now_us();
    end_sessions(0, 120, (uint64_t[]){1}, 1);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_STILL_THERE);
    ck_assert_ptr_nonnull(strstr(ended_why, "has not ended yet"));
    ck_assert_int_eq(server.kills, 1);
    ck_assert_int_ge(clock_now_us() - began, 119000);
    ck_assert_int_lt(clock_now_us() - began, 700000);
}
END_TEST

START_TEST(a_refused_command_says_why)
{
    server.kill_refused = true;
    end_sessions(0, 1000, (uint64_t[]){1, 2}, 2);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_REFUSED);
    ck_assert_uint_eq(ended[1], ENDED_REFUSED);
    ck_assert_ptr_nonnull(strstr(ended_why, "NOPERM"));
}
END_TEST

START_TEST(of_a_server_that_is_gone_nothing_is_known)
{
    fake_redis_stop(&server);
    int64_t began = clock_now_us();
    end_sessions(0, 150, (uint64_t[]){1}, 1);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_UNKNOWN);
    ck_assert_ptr_nonnull(strstr(ended_why, "Connection refused"));
    ck_assert_int_lt(clock_now_us() - began, 700000);
    fake_redis_start(&server, loop);
}
END_TEST

/* Questions come in between two turns on the link; all commands are one turn. */
START_TEST(all_sessions_are_commanded_in_one_turn)
{
    ask_in_answer = true;
    ck_assert_int_eq(ask(LIMIT_US), 0);
    run_until(&answers, 1);
    end_sessions(0, 1000, (uint64_t[]){1, 2, 3, 4}, 4);
    run_until(&server.kills, 1);
    int lists = server.lists_before_kill;
    run_until(&server.kills, 4);
    ck_assert_int_eq(server.lists_before_kill, lists);
    server.list = "";
    run_until(&ends, 1);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(ended[i], ENDED_BY_COMMAND);
}
END_TEST

/* Five polls after the command: 1 + 2 + 4 + 8 ms, not 40. A machine that is busy may be late once, not each time. */
START_TEST(whether_it_is_gone_is_asked_soon_at_first)
{
    bool soon = false;
    for (int i = 0; i < 8 && !soon; i++) {
        int before = ends;
        server.list = TWO;
        end_sessions(0, 1000, (uint64_t[]){1}, 1);
        run_until(&server.kills, i + 1);
        int64_t began = clock_now_us();
        run_until(&server.lists, server.lists + 5);
        soon = clock_now_us() - began < 35000;
        server.list = ONE;
        run_until(&ends, before + 1);
    }
    ck_assert(soon);
}
END_TEST

/* The server took the command and then closed our connection: that the session is gone is the command's doing. */
START_TEST(a_command_whose_answer_was_lost_counts)
{
    server.hang_up_at_kill = server.kill_misses = true;
    end_sessions(0, 2000, (uint64_t[]){1}, 1);
    run_until(&ends, 1);
    ck_assert_int_eq(server.kills, 2);
    ck_assert_uint_eq(ended[0], ENDED_BY_COMMAND);
    end_sessions(0, 2000, (uint64_t[]){1}, 1);
    run_until(&ends, 2);
    ck_assert_uint_eq(ended[0], ENDED_BY_ITSELF);
}
END_TEST

START_TEST(no_session_named_is_answered_too)
{
    end_sessions(0, 1000, NULL, 0);
    run_until(&ends, 1);
}
END_TEST

START_TEST(questions_and_ends_take_turns)
{
    ask_in_answer = true; /* there is always a question */
    ck_assert_int_eq(ask(LIMIT_US), 0);
    run_until(&answers, 3);
    end_sessions(50, 150, (uint64_t[]){1}, 1);
    run_until(&server.kills, 1);
    run_until(&ends, 1);
    ck_assert_uint_eq(ended[0], ENDED_STILL_THERE);
    ck_assert_int_gt(answers, 10);
    ck_assert(last.ok);
    ck_assert_uint_eq(last.count, 2);
}
END_TEST

/* Parameters, names. */

/* One command at its turn; its answer has no sessions, and the next look has its own. */
START_TEST(a_command_is_said)
{
    ck_assert_int_eq(target_say(target, LIMIT_US, "CLIENT KILL ID 7", answered, &answers), 0);
    ck_assert_int_eq(target_say(target, LIMIT_US, "PING", answered, &answers), -1);
    ck_assert_int_eq(errno, EBUSY);
    run_until(&answers, 1);
    ck_assert(last.ok && last.count == 0 && server.kills == 1 && server.lists == 0);
    ck_assert_str_eq(last.why, "");
    ask(LIMIT_US);
    run_until(&answers, 2);
    ck_assert(last.ok && last.count == 2);
    ck_assert_int_eq(target_say(target, LIMIT_US, "PING", answered, &answers), 0);
    run_until(&answers, 3);
    ck_assert(last.ok && last.count == 0);
    ck_assert_str_eq(last.why, "OK");
}
END_TEST

START_TEST(a_command_that_is_refused_or_not_answered)
{
    server.kill_refused = true;
    ck_assert_int_eq(target_say(target, LIMIT_US, "CLIENT KILL ID 7", answered, &answers), 0);
    run_until(&answers, 1);
    ck_assert(!last.ok);
    ck_assert_ptr_nonnull(strstr(last.why, "NOPERM no kill"));
    server.silent = true;
    ck_assert_int_eq(target_say(target, 50000, "PING", answered, &answers), 0);
    run_until(&answers, 2);
    ck_assert(!last.ok && last.count == 0);
    ck_assert_ptr_nonnull(strstr(last.why, "no answer after"));
}
END_TEST

START_TEST(parameters)
{
    static const char params[] = "host=a\0password=x=y\0empty=\0";
    ck_assert(params_are_valid(params, sizeof params));
    ck_assert_str_eq(params_get(params, "host"), "a");
    ck_assert_str_eq(params_get(params, "password"), "x=y");
    ck_assert_ptr_null(params_get(params, "empty"));
    ck_assert_ptr_null(params_get(params, "hos"));
    ck_assert(!params_are_valid("host=a", 7));       /* no empty string at the end */
    ck_assert(!params_are_valid("host\0", 6));       /* no value */
    ck_assert(!params_are_valid("=a\0", 4));         /* no keyword */
    ck_assert(params_are_valid("", 1));
}
END_TEST

START_TEST(a_bad_message_makes_no_target)
{
    struct message_target message = message_for("127.0.0.1", 1, NULL);
    message.kind = 0;
    ck_assert_ptr_null(target_create(loop, &message, "x"));
    ck_assert_int_eq(errno, EINVAL);
    message.kind = TARGET_REDIS + 1;
    ck_assert_ptr_null(target_create(loop, &message, "x"));
    message.kind = TARGET_REDIS;
    memset(message.params, 'x', sizeof message.params);
    ck_assert_ptr_null(target_create(loop, &message, "x"));
}
END_TEST

static int resolved;
static size_t resolved_count;
static char resolved_why[128];

static void resolve_done(void *context, const struct endpoint *addresses, size_t count, const char *why)
{
    (void)context;
    ck_assert(!in_call);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(addresses[i].port, 5432);
    resolved_count = count;
    text_copy(resolved_why, sizeof resolved_why, why ? why : "");
    resolved++;
}

START_TEST(localhost_is_resolved_and_never_from_within_the_call)
{
    in_call = true;
    ck_assert_ptr_nonnull(resolve_start(loop, "localhost", 5432, resolve_done, NULL));
    in_call = false;
    run_until(&resolved, 1);
    ck_assert_str_eq(resolved_why, "");
    ck_assert_uint_ge(resolved_count, 1);
}
END_TEST

START_TEST(a_cancelled_lookup_says_nothing)
{
    resolved = 0;
    struct resolve *resolve = resolve_start(loop, "localhost", 5432, resolve_done, NULL);
    resolve_cancel(resolve);
    resolve_cancel(NULL);
    for (int i = 0; i < 5; i++)
        ev_run(loop, EVRUN_NOWAIT);
    ck_assert_int_eq(resolved, 0);
}
END_TEST

START_TEST(a_target_by_name)
{
    struct endpoint at[4], wanted;
    target_destroy(target);
    struct message_target message = message_for("localhost", server.port, NULL);
    target = target_create(loop, &message, "lastcall-agent/test");
    ck_assert_uint_eq(target_addresses(target, at, 4), 0); /* not resolved yet */
    ask_and_wait(LIMIT_US);
    ck_assert_msg(last.ok, "%s", last.why); /* also when ::1, where nobody listens, comes first */
    ck_assert_int_eq(endpoint_parse(&wanted, "127.0.0.1", (uint16_t)server.port), 0);
    size_t count = target_addresses(target, at, 4);
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= endpoint_equal(&at[i], &wanted);
    ck_assert(found);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_answer_without_our_own_session, addresses_are_known_at_once_when_numeric, one_question_at_a_time,
        the_limit_holds_and_a_late_answer_is_dropped, a_server_that_never_answers_is_left_for_a_new_connection,
        a_lost_connection_fails_the_question_and_the_next_one_connects_at_once,
        a_connection_that_ended_while_nobody_asked,
        a_refused_connection_says_why_and_backs_off, a_refused_password_is_never_told,
        a_silent_server_is_not_connected_at_the_limit, destroyed_from_within_an_answer,
        destroyed_while_connecting_asking_and_ending, a_session_that_is_gone_before_its_time_ended_by_itself,
        a_session_at_work_is_spared_when_asked, a_session_at_work_is_told_when_it_is_done, all_at_work_are_spared,
        a_session_that_stays_gets_the_command_after_it_lingered, a_session_that_outlives_its_command_is_still_there,
        all_sessions_are_commanded_in_one_turn, whether_it_is_gone_is_asked_soon_at_first,
        a_command_whose_answer_was_lost_counts, a_refused_command_says_why, of_a_server_that_is_gone_nothing_is_known,
        no_session_named_is_answered_too, questions_and_ends_take_turns, a_command_is_said,
        a_command_that_is_refused_or_not_answered, parameters, a_bad_message_makes_no_target,
        localhost_is_resolved_and_never_from_within_the_call, a_cancelled_lookup_says_nothing, a_target_by_name};
    Suite *suite = suite_create("targets");
    TCase *cases = tcase_create("target");
    tcase_set_timeout(cases, 20);
    tcase_add_checked_fixture(cases, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
