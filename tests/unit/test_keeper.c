/* The agent's keeper against agents that are good and bad. The fake agent is this program itself: started with
 * FAKE_AGENT=<manner> in its environment, it behaves so on descriptor 3. The test plays the supervisor's loop: it
 * reaps, and hands each end to the keeper. */
#include <check.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "supervisor/platform/agent_keeper.h"
#include "wire/channel.h"

enum { ROWS_OF_A_LOOK = 150, WRONG_GREETING = 42, TARGETS = 3 };
static union channel_packet packet;

/* ---- the fake agent ---- */

static void wait_for_message(void)
{
    struct pollfd wait = {.fd = 3, .events = POLLIN};
    poll(&wait, 1, -1);
    if (channel_receive(3, &packet) <= 0)
        exit(0);
}

static void expect(bool holds)
{
    if (!holds)
        exit(WRONG_GREETING);
}

static void check_greeting(void)
{
    const struct message_settings *settings = (void *)packet.bytes;
    const struct message_target *target = (void *)packet.bytes;
    const struct message_header *header = (void *)packet.bytes;
    wait_for_message();
    expect(header->kind == MESSAGE_SETTINGS && settings->supervisor_pid == getppid());
    expect(settings->sample_interval_us == 60 * US_PER_SECOND && settings->query_text == 1);
    expect(strcmp(settings->application_name, "lastcall/unit") == 0);
    for (int i = 0; i < TARGETS; i++) {
        wait_for_message();
        expect(header->kind == MESSAGE_TARGET && target->index == i && target->kind == (uint8_t)(i + 1));
        expect(target->name[0] == (char)('a' + i) && strcmp(target->params, "host=h") == 0 && target->server == -1);
    }
    wait_for_message();
    expect(header->kind == MESSAGE_READY);
}

static void say_rows(uint32_t look, unsigned count, _Bool last, uint16_t target)
{
    static union channel_packet out;
    struct message_rows *rows = (void *)out.bytes;
    size_t size = sizeof *rows + count * sizeof rows->rows[0];
    *rows = (struct message_rows){.header = {(uint32_t)size, MESSAGE_ROWS, (uint16_t)count}, .look = look, .last = last,
                                  .sockets_seen = 1, .owners_seen = 1, .took_us = 77};
    for (unsigned i = 0; i < count; i++)
        rows->rows[i] = (struct handle_row){.inode = 1000 + i, .target = target};
    struct pollfd wait = {.fd = 3, .events = POLLOUT};
    while (channel_send(3, rows) == -1 && errno == EAGAIN)
        poll(&wait, 1, -1);
}

static void say_target(uint32_t look, uint16_t target)
{
    struct message_target_state state = {.header = {sizeof state, MESSAGE_TARGET_STATE, 0}, .look = look,
                                         .target = target, .up = TARGET_UP, .answered = 1};
    channel_send(3, &state);
}

static void answer_look(void)
{
    uint32_t look = ((struct message_look *)(void *)packet.bytes)->look;
    for (uint16_t i = 0; i < TARGETS; i++)
        say_target(look, i);
    for (unsigned left = ROWS_OF_A_LOOK; left > 0;) {
        unsigned count = left < WIRE_ROWS ? left : WIRE_ROWS;
        left -= count;
        say_rows(look, count, left == 0, 1);
    }
}

static void answer_end(void)
{
    const struct message_end *end = (void *)packet.bytes;
    struct {
        struct message_ended message;
        uint8_t room[WIRE_SESSIONS];
    } ended = {.message = {.header = {(uint32_t)sizeof ended.message + end->header.count, MESSAGE_ENDED,
                                      end->header.count},
                           .request = end->request, .target = end->target}};
    for (unsigned i = 0; i < end->header.count; i++)
        ended.room[i] = end->sessions[i].session == 100 + i ? ENDED_BY_COMMAND : ENDED_REFUSED;
    channel_send(3, &ended);
}

static void be_good(void)
{
    check_greeting();
    for (;;) {
        wait_for_message();
        unsigned kind = ((struct message_header *)(void *)packet.bytes)->kind;
        if (kind == MESSAGE_LOOK)
            answer_look();
        else if (kind == MESSAGE_END)
            answer_end();
    }
}

/* It hears its greeting first: one that ends before that is lost without having been started. */
static void be_exit3(void)
{
    check_greeting();
    exit(3);
}

static void be_killed(void)
{
    check_greeting();
    raise(SIGKILL);
}

static void be_garbage(void)
{
    ssize_t sent = write(3, "garbage", 7);
    pause();
    exit(sent != 7);
}

static void be_foreign(void)
{
    struct message_look look = {.header = {sizeof look, MESSAGE_LOOK, 0}, .look = 1};
    channel_send(3, &look);
    pause();
}

static void be_wrong_target(void)
{
    say_rows(0, 1, 1, TARGETS);
    pause();
}

static void be_wrong_end(void)
{
    struct message_ended ended = {.header = {sizeof ended, MESSAGE_ENDED, 0}, .target = TARGETS};
    channel_send(3, &ended);
    pause();
}

static void be_flood(void)
{
    for (;;)
        say_rows(9, WIRE_ROWS, 0, 0);
}

static void be_deaf(void)
{
    check_greeting();
    for (;;)
        pause();
}

static void be_stopped(void)
{
    check_greeting();
    raise(SIGSTOP);
    be_good();
}

static void be_closed(void)
{
    check_greeting();
    close(3);
    for (;;)
        pause();
}

/* Everything it has to say, and gone: the last words must not be lost. */
static void be_brief(void)
{
    check_greeting();
    say_rows(0, 1, 1, 0);
    exit(0);
}

static void be_bad_to_the_last(void)
{
    check_greeting();
    exit(write(3, "garbage", 7) != 7);
}

static const struct manner {
    const char *name;
    void (*be)(void);
} manners[] = {
    {"good", be_good},       {"exit3", be_exit3},     {"killed", be_killed},       {"garbage", be_garbage},
    {"foreign", be_foreign}, {"flood", be_flood},     {"target", be_wrong_target}, {"deaf", be_deaf},
    {"stopped", be_stopped}, {"closed", be_closed},   {"brief", be_brief},         {"wrong-end", be_wrong_end},
    {"last-bad", be_bad_to_the_last},
};

static void be_agent(const char *name)
{
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++)
        if (strcmp(name, manners[i].name) == 0)
            manners[i].be();
    exit(99);
}

/* ---- the loop ---- */

static struct ev_loop *loop;
static struct agent_keeper *keeper;
static struct config *config;
static ev_io children;
static ev_timer limit;
static bool limit_passed;
static char self[4096], manner[64];
static char *environment[] = {manner, NULL};

static unsigned started, lost, reaped_agents, looks, ended_count;
static int64_t started_at_us[16];
static enum agent_loss last_loss;
static char lost_why[200], order[64];
static struct reaped last_reaped;
static struct facts last_facts;
static uint64_t last_inode;
static uint8_t how[WIRE_SESSIONS];
static uint32_t ended_request;

static unsigned kills; /* all that were sent */

/* Stands before the C library's. */
int kill(pid_t pid, int signo)
{
    kills++;
    return (int)syscall(SYS_kill, pid, signo);
}

static void note(char what)
{
    size_t length = strlen(order);
    if (length + 1 < sizeof order)
        order[length] = what;
}

static void on_started(void *context, pid_t pid)
{
    ck_assert_ptr_eq(context, &loop);
    ck_assert_int_gt(pid, 0);
    if (started < sizeof started_at_us / sizeof started_at_us[0])
        started_at_us[started] = clock_now_us();
    started++;
    note('s');
}

static void on_facts(void *context, const struct facts *facts)
{
    (void)context;
    last_facts = *facts;
    last_inode = facts->count ? facts->rows[facts->count - 1].inode : 0;
    looks++;
    note('f');
}

static void on_ended(void *context, const struct message_ended *ended)
{
    (void)context;
    ended_count = ended->header.count;
    ended_request = ended->request;
    memcpy(how, ended->how, ended->header.count);
}

static void on_lost(void *context, enum agent_loss loss, const char *why)
{
    (void)context;
    last_loss = loss;
    snprintf(lost_why, sizeof lost_why, "%s", why);
    lost++;
    note('l');
}

static void reap(struct ev_loop *of, ev_io *io, int events)
{
    struct signalfd_siginfo info;
    struct reaped reaped;
    (void)of;
    (void)events;
    while (read(io->fd, &info, sizeof info) == sizeof info)
        ;
    while ((reaped = reap_next()).how != REAPED_NONE)
        if (agent_keeper_reaped(keeper, &reaped) && reaped.how != REAPED_STOPPED && reaped.how != REAPED_CONTINUED) {
            last_reaped = reaped;
            reaped_agents++;
        }
}

static void on_limit(struct ev_loop *of, ev_timer *timer, int events)
{
    (void)of;
    (void)timer;
    (void)events;
    limit_passed = true;
}

#define run_until(condition)                                                                                          \
    do {                                                                                                              \
        limit_passed = false;                                                                                         \
        ev_timer_again(loop, &limit);                                                                                 \
        while (!(condition) && !limit_passed)                                                                         \
            ev_run(loop, EVRUN_ONCE);                                                                                 \
        ev_timer_stop(loop, &limit);                                                                                  \
        ck_assert_msg((condition), "not within 15 s: %s", #condition);                                                \
    } while (0)

static void make_config(void)
{
    config = calloc(1, sizeof *config);
    strcpy(config->instance, "unit");
    config->monitor_interval_us = 60 * US_PER_SECOND;
    config->report_query_text = true;
    config->log_level = LOG_LEVEL_ERROR;
    config->target_count = TARGETS;
    for (int i = 0; i < TARGETS; i++) {
        config->targets[i] = (struct config_target){.kind = (enum target_kind)(i + 1), .server = -1};
        config->targets[i].name[0] = (char)('a' + i);
        strcpy(config->targets[i].params, "host=h");
    }
}

static void open_loop(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    loop = ev_loop_new(0);
    ev_io_init(&children, reap, signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), EV_READ);
    ev_io_start(loop, &children);
    ev_init(&limit, on_limit);
    limit.repeat = 15.;
    make_config();
    ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
}

static void create(const char *path, const char *how_it_is)
{
    struct agent_keeper_user user = {&loop, on_started, on_facts, on_ended, on_lost, NULL};
    snprintf(manner, sizeof manner, "FAKE_AGENT=%s", how_it_is);
    keeper = agent_keeper_create(loop, config, path, environment, &user);
    ck_assert_ptr_nonnull(keeper);
    agent_keeper_start(keeper);
}

static void become(const char *how_it_is)
{
    snprintf(manner, sizeof manner, "FAKE_AGENT=%s", how_it_is);
}

static void close_loop(void)
{
    agent_keeper_destroy(keeper);
    keeper = NULL;
    ev_io_stop(loop, &children);
    close(children.fd);
    ev_loop_destroy(loop);
    free(config);
}

static bool is_gone(pid_t pid)
{
    return kill(pid, 0) == -1 && errno == ESRCH;
}

/* ---- good agents ---- */

START_TEST(a_look_comes_back_whole)
{
    create(self, "good");
    ck_assert_uint_eq(started, 1);
    ck_assert(agent_keeper_is_up(keeper));
    ck_assert_int_eq(agent_keeper_look(keeper, 41, 1000, &(struct look_wants){.text = true}), 0);
    run_until(looks == 1);
    ck_assert_uint_eq(last_facts.look, 41);
    ck_assert_uint_eq(last_facts.count, ROWS_OF_A_LOOK);
    ck_assert_uint_eq(last_inode, 1000 + ROWS_OF_A_LOOK % WIRE_ROWS - 1);
    ck_assert_uint_eq(last_facts.target_count, TARGETS);
    ck_assert_int_eq(last_facts.took_us, 77);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(sessions_are_ended_on_demand)
{
    struct end_session sessions[] = {{100, 0}, {101, 5}, {9, 0}};
    struct agent_end end = {.request = 8, .target = 1, .sessions = sessions, .count = 3};
    create(self, "good");
    ck_assert_int_eq(agent_keeper_end(keeper, &end), 0);
    run_until(ended_request == 8);
    ck_assert_uint_eq(ended_count, 3);
    ck_assert(how[0] == ENDED_BY_COMMAND && how[1] == ENDED_BY_COMMAND && how[2] == ENDED_REFUSED);
    end.count = WIRE_SESSIONS + 1;
    ck_assert_int_eq(agent_keeper_end(keeper, &end), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(an_agent_told_to_stop_ends_by_itself)
{
    create(self, "good");
    agent_keeper_look(keeper, 1, 1000, &(struct look_wants){.text = false});
    run_until(looks == 1);
    pid_t pid = agent_keeper_pid(keeper);
    agent_keeper_stop(keeper);
    ck_assert_int_eq(agent_keeper_look(keeper, 2, 1000, &(struct look_wants){.text = false}), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    run_until(reaped_agents == 1);
    ck_assert(last_reaped.how == REAPED_EXITED && last_reaped.value == 0);
    ck_assert(is_gone(pid) && agent_keeper_pid(keeper) == 0);
    ck_assert(lost == 0 && started == 1);
}
END_TEST

START_TEST(an_agent_that_does_not_stop_can_be_killed)
{
    create(self, "deaf");
    agent_keeper_stop(keeper);
    ck_assert_int_ne(agent_keeper_pid(keeper), 0);
    agent_keeper_kill(keeper);
    run_until(reaped_agents == 1);
    ck_assert(last_reaped.how == REAPED_SIGNALED && last_reaped.value == SIGKILL);
    agent_keeper_kill(keeper); /* nobody: no harm */
}
END_TEST

START_TEST(strangers_are_not_the_agent)
{
    create(self, "good");
    struct reaped stranger = {.pid = agent_keeper_pid(keeper) + 1, .how = REAPED_EXITED};
    ck_assert(!agent_keeper_reaped(keeper, &stranger));
    ck_assert(agent_keeper_is_up(keeper));
    struct reaped nobody = {.pid = 0, .how = REAPED_EXITED};
    agent_keeper_stop(keeper);
    run_until(reaped_agents == 1);
    ck_assert(!agent_keeper_reaped(keeper, &nobody));
}
END_TEST

/* ---- lost agents ---- */

START_TEST(an_agent_that_ends_at_once_is_started_more_and_more_slowly)
{
    create(self, "exit3");
    run_until(started == 4);
    ck_assert_str_eq(agent_keeper_last_loss(keeper), "it exited with code 3");
    ck_assert_uint_eq(lost, 3);
    ck_assert_int_eq(last_loss, AGENT_ENDED);
    for (int i = 1; i < 4; i++)
        ck_assert_int_ge(started_at_us[i] - started_at_us[i - 1], (100 * US_PER_MS << (i - 1)) - 10 * US_PER_MS);
}
END_TEST

START_TEST(hurry_does_not_wait_for_the_backoff)
{
    create(self, "exit3");
    run_until(started == 5); /* the next one would come 1.6 s after its end */
    run_until(reaped_agents == 5);
    become("good");
    int64_t from = clock_now_us();
    agent_keeper_hurry(keeper, true);
    run_until(started == 6);
    ck_assert_int_lt(clock_now_us() - from, 1000 * US_PER_MS);
    agent_keeper_look(keeper, 1, 2000, &(struct look_wants){.text = false});
    run_until(looks == 1);
}
END_TEST

START_TEST(a_killed_agent_is_told_by_its_signal)
{
    create(self, "killed");
    run_until(reaped_agents == 1);
    ck_assert_str_eq(agent_keeper_last_loss(keeper), "it was ended by SIGKILL");
    become("good");
    run_until(started == 2);
}
END_TEST

/* Its end is known before its channel was read: what it said before must not be lost. */
START_TEST(last_words_are_heard)
{
    siginfo_t info;
    create(self, "brief");
    ck_assert_int_eq(waitid(P_PID, (id_t)agent_keeper_pid(keeper), &info, WEXITED | WNOWAIT), 0);
    reap(loop, &children, EV_READ);
    ck_assert_uint_eq(reaped_agents, 1);
    ck_assert_str_eq(order, "sfl");
    ck_assert_str_eq(agent_keeper_last_loss(keeper), "it exited with code 0");
}
END_TEST

/* Its last words are bad: by then its pid may be another process's. */
START_TEST(one_that_is_reaped_is_not_killed)
{
    siginfo_t info;
    create(self, "last-bad");
    ck_assert_int_eq(waitid(P_PID, (id_t)agent_keeper_pid(keeper), &info, WEXITED | WNOWAIT), 0);
    reap(loop, &children, EV_READ);
    ck_assert(reaped_agents == 1 && lost == 1 && last_loss == AGENT_BAD_MESSAGE);
    ck_assert_uint_eq(kills, 0);
    become("good");
    run_until(started == 2);
    agent_keeper_kill(keeper);
    ck_assert_uint_eq(kills, 1);
}
END_TEST

static const struct {
    const char *manner;
    enum agent_loss loss;
    const char *why;
} bad_agents[] = {
    {"garbage", AGENT_BAD_MESSAGE, "it sent something that is no message"},
    {"foreign", AGENT_BAD_MESSAGE, "it sent LOOK, which is not its to say"},
    {"target", AGENT_BAD_MESSAGE, "it sent ROWS of a target that is not configured"},
    {"wrong-end", AGENT_BAD_MESSAGE, "it sent ENDED of a target that is not configured"},
    {"flood", AGENT_BAD_MESSAGE, "it sent more ROWS in one look than there may be"},
    {"closed", AGENT_ENDED, "it closed its channel"},
};

START_TEST(a_bad_agent_is_ended_and_replaced)
{
    create(self, bad_agents[_i].manner);
    pid_t pid = agent_keeper_pid(keeper);
    run_until(lost == 1);
    ck_assert_int_eq(last_loss, bad_agents[_i].loss);
    ck_assert_str_eq(lost_why, bad_agents[_i].why);
    ck_assert_uint_eq(looks, 0);
    become("good");
    run_until(started == 2);
    ck_assert(is_gone(pid));
    ck_assert(last_reaped.pid == pid && last_reaped.value == SIGKILL);
    agent_keeper_look(keeper, 1, 2000, &(struct look_wants){.text = false});
    run_until(looks == 1);
    ck_assert_uint_eq(lost, 1);
}
END_TEST

/* An agent that reads nothing: found by the answer that does not come. */
START_TEST(an_unanswered_look_costs_the_agent)
{
    create(self, "deaf");
    int64_t from = clock_now_us();
    ck_assert_int_eq(agent_keeper_look(keeper, 1, 100, &(struct look_wants){.text = false}), 0);
    run_until(lost == 1);
    ck_assert_int_eq(last_loss, AGENT_HUNG);
    ck_assert_str_eq(lost_why, "it did not answer a look within 100 + 500 ms");
    ck_assert_int_ge(clock_now_us() - from, 590 * US_PER_MS);
    ck_assert(!agent_keeper_is_up(keeper));
    run_until(started == 2);
    ck_assert_int_eq(last_reaped.value, SIGKILL);
}
END_TEST

/* A stopped one tells itself: no answer has to be waited for. */
START_TEST(a_stopped_agent_is_lost_at_once)
{
    create(self, "stopped");
    run_until(lost == 1);
    ck_assert_int_eq(last_loss, AGENT_HUNG);
    ck_assert_str_eq(lost_why, "it was stopped by SIGSTOP");
    become("good");
    run_until(started == 2);
    ck_assert_int_eq(last_reaped.value, SIGKILL);
    ck_assert_uint_eq(lost, 1);
}
END_TEST

/* Told to end, it was stopped before it could: it would not end by itself. */
START_TEST(a_stopped_agent_that_was_told_to_end_is_ended)
{
    create(self, "stopped");
    pid_t pid = agent_keeper_pid(keeper);
    agent_keeper_stop(keeper);
    run_until(reaped_agents == 1);
    ck_assert(is_gone(pid) && last_reaped.value == SIGKILL);
    ck_assert(lost == 0 && started == 1);
}
END_TEST

START_TEST(an_agent_that_does_not_read_is_ended)
{
    create(self, "deaf");
    int result = 0;
    for (uint32_t look = 1; look < 100000 && result == 0; look++)
        result = agent_keeper_look(keeper, look, 60000, &(struct look_wants){.text = false});
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert(lost == 1 && last_loss == AGENT_HUNG);
    ck_assert_str_eq(lost_why, "it does not read its channel");
    run_until(started == 2);
}
END_TEST

/* We ourselves were stopped for long, and the answer lies in the channel: that is no agent that hangs. */
START_TEST(an_answer_that_was_not_read_in_time_counts)
{
    create(self, "good");
    agent_keeper_look(keeper, 1, 0, &(struct look_wants){.text = false});
    int64_t until = clock_now_us() + 700 * US_PER_MS;
    while (clock_now_us() < until)
        poll(NULL, 0, (int)((until - clock_now_us()) / US_PER_MS) + 1);
    run_until(looks == 1);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

/* ---- no agent ---- */

START_TEST(a_missing_agent_is_said_once_and_found_when_it_comes)
{
    char directory[] = "/tmp/test_keeper.XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/agent", directory);
    create(path, "good");
    ck_assert_int_eq(last_loss, AGENT_NOT_THERE);
    ck_assert_ptr_nonnull(strstr(lost_why, "No such file or directory"));
    ck_assert_int_eq(agent_keeper_look(keeper, 1, 100, &(struct look_wants){.text = false}), -1);
    ck_assert_int_eq(errno, ENOTCONN);
    agent_keeper_hurry(keeper, true);
    ck_assert_int_eq(symlink("/dev/null", path), 0); /* there, but not to be executed */
    int64_t later = clock_now_us() + 350 * US_PER_MS;
    run_until(clock_now_us() > later || (ev_run(loop, EVRUN_ONCE), false));
    ck_assert_uint_eq(lost, 1);
    unlink(path);
    ck_assert_int_eq(symlink(self, path), 0);
    run_until(started == 1);
    ck_assert_uint_eq(lost, 1);
    unlink(path);
    rmdir(directory);
}
END_TEST

START_TEST(without_descriptors_it_is_tried_again)
{
    struct rlimit none = {0, 0}, before;
    getrlimit(RLIMIT_NOFILE, &before);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    create(self, "good");
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_int_eq(last_loss, AGENT_NOT_THERE);
    ck_assert_str_eq(lost_why, "no channel to it: Too many open files");
    run_until(started == 1);
}
END_TEST

int main(void)
{
    const char *name = getenv("FAKE_AGENT");
    if (name)
        be_agent(name);
    log_init("test_keeper", getenv("V") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    Suite *suite = suite_create("keeper");
    TCase *tcase = tcase_create("keeper");
    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, a_look_comes_back_whole);
    tcase_add_test(tcase, sessions_are_ended_on_demand);
    tcase_add_test(tcase, an_agent_told_to_stop_ends_by_itself);
    tcase_add_test(tcase, an_agent_that_does_not_stop_can_be_killed);
    tcase_add_test(tcase, strangers_are_not_the_agent);
    tcase_add_test(tcase, an_agent_that_ends_at_once_is_started_more_and_more_slowly);
    tcase_add_test(tcase, hurry_does_not_wait_for_the_backoff);
    tcase_add_test(tcase, a_killed_agent_is_told_by_its_signal);
    tcase_add_test(tcase, last_words_are_heard);
    tcase_add_test(tcase, one_that_is_reaped_is_not_killed);
    tcase_add_loop_test(tcase, a_bad_agent_is_ended_and_replaced, 0, sizeof bad_agents / sizeof bad_agents[0]);
    tcase_add_test(tcase, an_unanswered_look_costs_the_agent);
    tcase_add_test(tcase, a_stopped_agent_is_lost_at_once);
    tcase_add_test(tcase, a_stopped_agent_that_was_told_to_end_is_ended);
    tcase_add_test(tcase, an_agent_that_does_not_read_is_ended);
    tcase_add_test(tcase, an_answer_that_was_not_read_in_time_counts);
    tcase_add_test(tcase, a_missing_agent_is_said_once_and_found_when_it_comes);
    tcase_add_test(tcase, without_descriptors_it_is_tried_again);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
