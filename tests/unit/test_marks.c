/* marks: orders on real sockets of this and of other processes, and that none is left marked when they are let go. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "loopback.h"
#include "refuse.h"
#include "supervisor/handles/marks.h"

enum { FOR_A_WHILE_MS = 30, LOOKS = 8 };

static struct marks marks;
static struct hold_base base;
static bool noted, nudge;

static const struct hold_order cork = {.cork = true}, brake = {.cork = true, .brake = true}, nothing,
                               step = {.cork = true, .step = true},
                               brake_all = {.cork = true, .brake = true, .blocking_too = true};

static int apply(const struct handle_row *row, const struct hold_order *order)
{
    return marks_apply(&marks, row, order, &base, &noted);
}

static struct handle_row own_row(const struct link *link)
{
    return link_row(link, getpid());
}

static void look(const struct handle_row *rows, size_t count)
{
    marks_follow(&marks, rows, count);
}

static size_t let_go(void)
{
    return marks_let_go(&marks, &nudge);
}

static void is_clean(int fd)
{
    ck_assert_int_eq(cork_of(fd), 0);
    ck_assert_int_eq(lowat_of(fd), 1);
}

static void is_marked(int fd)
{
    ck_assert_int_eq(cork_of(fd), 1);
    ck_assert_int_gt(lowat_of(fd), 1);
}

/* -- orders -------------------------------------------------------------------------------------------------------- */

START_TEST(order_by_order)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    write_text(link.app, "before");
    ck_assert_str_eq(read_text(link.server, 1000), "before");
    ck_assert_int_eq(apply(&row, &cork), 0);
    ck_assert(noted);
    ck_assert_uint_eq(base.sent, 6);
    ck_assert(!base.blocking);
    ck_assert_int_eq(cork_of(link.app), 1);
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(!noted);
    is_marked(link.app);
    write_text(link.app, "held");
    ck_assert_str_eq(read_text(link.server, FOR_A_WHILE_MS), "");
    ck_assert_int_eq(apply(&row, &step), 0); /* and the brake off */
    ck_assert(noted);
    ck_assert_uint_eq(base.unsent, 4);
    ck_assert_uint_eq(base.sent, 6);
    ck_assert_str_eq(read_text(link.server, 1000), "held");
    ck_assert_int_eq(cork_of(link.app), 1);
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert_int_eq(apply(&row, &nothing), 0);
    is_clean(link.app);
    ck_assert_uint_eq(let_go(), 0);
}
END_TEST

START_TEST(an_order_for_no_marks_touches_nothing)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    row.fd = -1; /* would be ESTALE */
    ck_assert_int_eq(apply(&row, &nothing), 0);
    ck_assert_uint_eq(marks.count, 0);
    ck_assert_int_eq(apply(&row, &cork), -1);
    ck_assert_int_eq(errno, ESTALE);
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* A Redis client that blocks, a walsender: the marks it got before it was exempt come off, at once. */
START_TEST(exempt_from_now_on)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    write_text(link.app, "held");
    ck_assert_int_eq(apply(&row, &nothing), 0);
    is_clean(link.app);
    ck_assert_str_eq(read_text(link.server, 100), "held");
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(noted);
    is_marked(link.app);
    let_go();
}
END_TEST

START_TEST(nodelay_is_never_changed)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    set_option_of(link.app, IPPROTO_TCP, TCP_NODELAY, _i);
    apply(&row, &brake);
    write_text(link.app, "x");
    apply(&row, &step);
    ck_assert_int_eq(nodelay_of(link.app), _i);
    set_option_of(link.app, IPPROTO_TCP, TCP_NODELAY, !_i); /* the app itself, between two marks */
    write_text(link.app, "x");
    apply(&row, &step);
    let_go();
    ck_assert_int_eq(nodelay_of(link.app), !_i);
    is_clean(link.app);
}
END_TEST

START_TEST(blocking_sockets_are_not_braked)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    fcntl(link.app, F_SETFL, 0);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(noted && base.blocking);
    ck_assert_int_eq(cork_of(link.app), 1);
    ck_assert_int_eq(lowat_of(link.app), 1);
    let_go();
    ck_assert(!nudge);
    is_clean(link.app);
}
END_TEST

/* One that turns to blocking after it was looked at: as drivers do once they are connected. */
START_TEST(blocking_since_the_cork)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &cork);
    ck_assert(!base.blocking);
    fcntl(link.app, F_SETFL, 0);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(noted && base.blocking);
    ck_assert_int_eq(lowat_of(link.app), 1);
    let_go();
    is_clean(link.app);
}
END_TEST

/* Where they are braked, the app must be nudged when it is let go. */
START_TEST(blocking_sockets_ask_for_a_nudge)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    fcntl(link.app, F_SETFL, 0);
    ck_assert_int_eq(apply(&row, &brake_all), 0);
    is_marked(link.app);
    ck_assert_uint_eq(let_go(), 0);
    ck_assert(nudge);
    is_clean(link.app);
    ck_assert_uint_eq(let_go(), 0);
    ck_assert(!nudge);
}
END_TEST

/* -- what the app does itself -------------------------------------------------------------------------------------- */

START_TEST(the_app_uncorks)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &cork);
    write_text(link.app, "its own");
    set_option_of(link.app, IPPROTO_TCP, TCP_CORK, 0);
    ck_assert_str_eq(read_text(link.server, 1000), "its own");
    row.bytes_sent = 7;
    look(&row, 1);
    ck_assert_int_eq(apply(&row, &cork), 0);
    ck_assert(noted);
    ck_assert_uint_eq(base.sent, 7);
    ck_assert_int_eq(cork_of(link.app), 1);
    let_go();
    is_clean(link.app);
}
END_TEST

START_TEST(the_app_had_corked)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    set_option_of(link.app, IPPROTO_TCP, TCP_CORK, 1);
    write_text(link.app, "kept by the app");
    apply(&row, &cork);
    ck_assert_uint_eq(base.unsent, 15);
    let_go();
    is_clean(link.app);
    ck_assert_str_eq(read_text(link.server, 100), "kept by the app");
}
END_TEST

START_TEST(the_app_has_a_mark_of_its_own)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    set_option_of(link.app, SOL_SOCKET, SO_RCVLOWAT, 5);
    for (int i = 0; i < 3; i++) {
        apply(&row, &brake);
        ck_assert_int_gt(lowat_of(link.app), 5);
        apply(&row, &cork);
        ck_assert_int_eq(lowat_of(link.app), 5);
    }
    apply(&row, &brake);
    let_go();
    ck_assert_int_eq(lowat_of(link.app), 5);
}
END_TEST

START_TEST(the_app_closes_a_corked_socket)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    write_text(link.app, "goodbye");
    close(link.app);
    ck_assert_str_eq(read_text(link.server, 100), "goodbye");
    ck_assert(stream_ended(link.server));
    ck_assert_int_eq(apply(&row, &step), -1);
    ck_assert_int_eq(errno, ESTALE);
    ck_assert_uint_eq(let_go(), 0);
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* -- looks that miss, numbers that are reused ---------------------------------------------------------------------- */

START_TEST(one_look_that_misses_it)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    look(NULL, 0);
    is_marked(link.app);
    ck_assert_uint_eq(let_go(), 0);
    is_clean(link.app);
}
END_TEST

START_TEST(missed_and_seen_again)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    look(NULL, 0);
    look(&row, 1);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(noted); /* who forgot it gets its base anew */
    look(&row, 1);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(!noted);
    let_go();
    is_clean(link.app);
}
END_TEST

START_TEST(looks_that_do_not_show_it_any_more)
{
    struct link link = link_open(), other = link_open();
    struct handle_row row = own_row(&link), kept = own_row(&other);

    apply(&row, &brake);
    apply(&kept, &brake);
    for (int i = 0; i < LOOKS; i++)
        look(&kept, 1);
    is_clean(link.app); /* nobody would have stepped it, or let it read */
    is_marked(other.app);
    ck_assert_uint_eq(marks.count, 1);
    let_go();
    is_clean(other.app);
}
END_TEST

START_TEST(gone_sockets_are_forgotten)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    close(link.app);
    for (int i = 0; i < LOOKS; i++)
        look(NULL, 0);
    ck_assert_uint_eq(marks.count, 0);
    ck_assert(!marks.reserve.kept);
}
END_TEST

START_TEST(number_reused)
{
    struct link link = link_open(), other = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    ck_assert_int_eq(dup2(other.app, link.app), link.app);
    set_option_of(other.app, SOL_SOCKET, SO_RCVLOWAT, 9);
    ck_assert_int_eq(apply(&row, &step), -1);
    ck_assert_int_eq(errno, ESTALE);
    ck_assert_uint_eq(let_go(), 0);
    ck_assert_int_eq(lowat_of(other.app), 9);
    ck_assert_int_eq(cork_of(other.app), 0);
}
END_TEST

/* The same number, the same process, a new connection: it gets marks of its own. */
START_TEST(closed_and_opened_again_between_two_looks)
{
    struct link link = link_open(), other = link_open();
    struct handle_row row = own_row(&link);

    apply(&row, &brake);
    ck_assert_int_eq(dup2(other.app, link.app), link.app);
    other.app = link.app;
    row = own_row(&other);
    look(&row, 1);
    ck_assert_int_eq(apply(&row, &brake), 0);
    ck_assert(noted);
    is_marked(link.app);
    ck_assert_uint_eq(let_go(), 0);
    is_clean(link.app);
}
END_TEST

/* -- other processes ----------------------------------------------------------------------------------------------- */

static void close_it(void *context, char what)
{
    const struct link *link = context;

    (void)what;
    close(link->app);
}

/* The row named one holder, which has closed it, or has ended; another process of the app still has it. */
START_TEST(another_process_has_it)
{
    struct link link = link_open();
    int tell[2];
    pid_t apps[2];
    int keep = dup(link.app); /* only to look at its options: not a descendant's */
    struct handle_row row;

    for (int i = 0; i < 2; i++)
        apps[i] = fork_app(&tell[i], close_it, &link);
    row = link_row(&link, apps[0]);
    apply(&row, &brake);
    if (_i == 0)
        tell_app(tell[0], 'c');
    else
        end_app(apps[0]);
    is_marked(keep);
    ck_assert_uint_eq(let_go(), 0);
    is_clean(keep);
    if (_i == 0)
        end_app(apps[0]);
    end_app(apps[1]);
}
END_TEST

START_TEST(the_next_look_names_another_process)
{
    struct link link = link_open();
    int tell[2];
    pid_t apps[2];
    struct handle_row row;

    for (int i = 0; i < 2; i++)
        apps[i] = fork_app(&tell[i], close_it, &link);
    row = link_row(&link, apps[0]);
    apply(&row, &brake);
    end_app(apps[0]);
    row = link_row(&link, apps[1]);
    look(&row, 1);
    ck_assert_int_eq(apply(&row, &cork), 0);
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert_uint_eq(marks.count, 1);
    ck_assert_uint_eq(let_go(), 0);
    is_clean(link.app);
    end_app(apps[1]);
}
END_TEST

/* Shared by two, missing from the looks: the one that has it still is found. */
START_TEST(missed_and_with_another_process)
{
    struct link link = link_open();
    int tell[2];
    pid_t apps[2];
    struct handle_row row;

    for (int i = 0; i < 2; i++)
        apps[i] = fork_app(&tell[i], close_it, &link);
    row = link_row(&link, apps[0]);
    row.holders = 2;
    apply(&row, &brake);
    end_app(apps[0]);
    for (int i = 0; i < LOOKS; i++)
        look(NULL, 0);
    is_clean(link.app);
    ck_assert_uint_eq(marks.count, 0);
    end_app(apps[1]);
}
END_TEST

START_TEST(processes_gone)
{
    struct link links[20];
    int tell;

    for (int i = 0; i < 20; i++)
        links[i] = link_open();
    pid_t app = fork_app(&tell, close_it, links);
    for (int i = 0; i < 20; i++) {
        struct handle_row row = link_row(&links[i], app);
        ck_assert_int_eq(apply(&row, &brake), 0);
        close(links[i].app);
    }
    end_app(app);
    ck_assert_uint_eq(let_go(), 0);
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* A process that ends while it is marked: whatever each call says, nothing is left and nothing hangs. */
START_TEST(ends_while_it_is_marked)
{
    for (int turn = 0; turn < 40; turn++) {
        struct link link = link_open();
        int tell;
        pid_t app = fork_app(&tell, close_it, &link);
        struct handle_row row = link_row(&link, app);

        close(link.app);
        kill(app, SIGKILL);
        for (int i = 0; i < 20; i++) {
            int result = apply(&row, i % 2 ? &brake : &step);
            ck_assert_msg(result == 0 || errno == ESTALE || errno == ESRCH, "%s", strerror(errno));
        }
        ck_assert_int_eq(waitpid(app, NULL, 0), app);
        ck_assert_uint_eq(let_go(), 0);
        ck_assert_uint_eq(marks.count, 0);
        close(tell);
        close(link.server);
    }
}
END_TEST

/* -- descriptors at their limit, many sockets ---------------------------------------------------------------------- */

static void use_up_descriptors(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 200;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (dup(0) >= 0)
        ;
    ck_assert_int_eq(errno, EMFILE);
}

START_TEST(lets_go_without_a_descriptor_left)
{
    struct link link = link_open(), moved = link_open();
    int tell;
    pid_t app = fork_app(&tell, close_it, &link);
    struct handle_row row = own_row(&link), second = link_row(&moved, app);

    apply(&row, &brake);
    apply(&second, &brake);
    use_up_descriptors();
    ck_assert_int_eq(apply(&row, &cork), 0);
    ck_assert_int_eq(lowat_of(link.app), 1);
    ck_assert_int_eq(apply(&row, &brake), 0);
    marks.list[1].fd = -1; /* it has got another number: searched for */
    ck_assert_uint_eq(let_go(), 0);
    is_clean(link.app);
    is_clean(moved.app);
    end_app(app);
}
END_TEST

START_TEST(marks_nothing_without_a_reserve)
{
    struct link link = link_open();
    struct handle_row row = own_row(&link);

    use_up_descriptors();
    ck_assert_int_eq(apply(&row, &brake), -1);
    ck_assert_int_eq(errno, EMFILE);
    is_clean(link.app);
    ck_assert_uint_eq(marks.count, 0);
}
END_TEST

/* A process that may not be looked into any more: what can be cleared is cleared, the rest is kept for another try. */
START_TEST(one_that_cannot_be_cleared)
{
    struct link link = link_open(), other = link_open();
    struct handle_row row = own_row(&link), second = own_row(&other);

    apply(&row, &brake);
    apply(&second, &brake);
    refuse_hands(link.app, EPERM);
    ck_assert_uint_eq(let_go(), 1);
    is_marked(link.app);
    is_clean(other.app);
    ck_assert_uint_eq(marks.count, 1);
    int free = dup(link.app); /* the same socket by a number that is not refused */
    marks.list[0].fd = free;
    ck_assert_uint_eq(let_go(), 0);
    is_clean(link.app);
}
END_TEST

/* What it costs, however much else the machine does. */
static int64_t cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

START_TEST(a_thousand)
{
    enum { MANY = 1000 };
    static struct link links[MANY];
    static struct handle_row rows[MANY];
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 2 * MANY + 100 ? limit.rlim_max : 2 * MANY + 100;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < MANY; i++) {
        links[i] = link_open();
        rows[i] = own_row(&links[i]);
    }
    int64_t began_us = cpu_us();
    look(rows, MANY);
    for (size_t i = 0; i < MANY; i++) {
        struct hold_order order = brake;
        order.row = i;
        ck_assert_int_eq(apply(&rows[i], &order), 0);
    }
    int64_t marked_us = cpu_us();
    for (size_t turn = 0; turn < 10; turn++) {
        look(rows, MANY);
        for (size_t i = 0; i < MANY; i++) {
            struct hold_order order = brake;
            order.row = i;
            apply(&rows[i], &order);
        }
    }
    int64_t kept_us = cpu_us();
    ck_assert_uint_eq(let_go(), 0);
    int64_t gone_us = cpu_us();
    for (size_t i = 0; i < MANY; i++)
        is_clean(links[i].app);
    if (getenv("SHOW"))
        printf("%d sockets: marked in %lld us, a look without changes %lld us, let go in %lld us\n", MANY,
               (long long)(marked_us - began_us), (long long)(kept_us - marked_us) / 10,
               (long long)(gone_us - kept_us));
    ck_assert_int_lt(gone_us - kept_us, 50 * US_PER_MS);
}
END_TEST

/* -- by ptrace: the duplicates of a round come together ------------------------------------------------------------ */

enum { TOGETHER = 150 };

static struct link together[TOGETHER];
static struct handle_row together_rows[TOGETHER];
static struct hold_order together_orders[TOGETHER];
static pid_t together_app;

static void start_together(void)
{
    int tell;
    for (int i = 0; i < TOGETHER; i++)
        together[i] = link_open();
    together_app = fork_app(&tell, close_it, together);
    for (size_t i = 0; i < TOGETHER; i++) {
        together_rows[i] = link_row(&together[i], together_app);
        together_orders[i] = brake;
        together_orders[i].row = i;
    }
    refuse_call(SYS_pidfd_getfd, EPERM);
}

static unsigned apply_together(void)
{
    unsigned failed = 0;
    marks_begin(&marks, together_rows, together_orders, TOGETHER);
    for (size_t i = 0; i < TOGETHER; i++)
        failed += apply(&together_rows[i], &together_orders[i]) < 0;
    marks_end(&marks);
    return failed;
}

START_TEST(a_round_by_ptrace)
{
    start_together();
    int next = dup(0);
    close(next);
    ck_assert(wait_until(apply_together() == 0)); /* a busy machine: not all of them at once */
    for (int i = 0; i < TOGETHER; i++)
        is_marked(together[i].app);
    ck_assert(wait_until(let_go() == 0));
    for (int i = 0; i < TOGETHER; i++)
        is_clean(together[i].app);
    ck_assert_uint_eq(marks.count, 0);
    ck_assert_int_eq(dup(0), next);
    end_app(together_app);
}
END_TEST

/* What is not asked for after all is not left open; what has not changed is not asked for. */
START_TEST(a_round_by_ptrace_in_part)
{
    start_together();
    int next = dup(0);
    close(next);
    ck_assert(wait_until(apply(&together_rows[0], &together_orders[0]) == 0));
    marks_begin(&marks, together_rows, together_orders, TOGETHER);
    ck_assert_int_eq(apply(&together_rows[0], &together_orders[0]), 0);
    ck_assert_uint_eq(marks.batch.count, 0);
    ck_assert(wait_until(apply(&together_rows[70], &together_orders[70]) == 0));
    is_marked(together[70].app);
    is_clean(together[71].app);
    marks_end(&marks);
    ck_assert(wait_until(let_go() == 0));
    is_clean(together[70].app);
    ck_assert_int_eq(dup(0), next);
    end_app(together_app);
}
END_TEST

static void tear_down(void)
{
    marks_finish(&marks);
}

static void add_orders(TCase *tc)
{
    tcase_add_test(tc, order_by_order);
    tcase_add_test(tc, an_order_for_no_marks_touches_nothing);
    tcase_add_test(tc, exempt_from_now_on);
    tcase_add_loop_test(tc, nodelay_is_never_changed, 0, 2);
    tcase_add_test(tc, blocking_sockets_are_not_braked);
    tcase_add_test(tc, blocking_since_the_cork);
    tcase_add_test(tc, blocking_sockets_ask_for_a_nudge);
    tcase_add_test(tc, the_app_uncorks);
    tcase_add_test(tc, the_app_had_corked);
    tcase_add_test(tc, the_app_has_a_mark_of_its_own);
    tcase_add_test(tc, the_app_closes_a_corked_socket);
}

static void add_letting_go(TCase *tc)
{
    tcase_add_test(tc, one_look_that_misses_it);
    tcase_add_test(tc, missed_and_seen_again);
    tcase_add_test(tc, looks_that_do_not_show_it_any_more);
    tcase_add_test(tc, gone_sockets_are_forgotten);
    tcase_add_test(tc, number_reused);
    tcase_add_test(tc, closed_and_opened_again_between_two_looks);
    tcase_add_loop_test(tc, another_process_has_it, 0, 2);
    tcase_add_test(tc, the_next_look_names_another_process);
    tcase_add_test(tc, missed_and_with_another_process);
    tcase_add_test(tc, processes_gone);
    tcase_add_test(tc, ends_while_it_is_marked);
    tcase_add_test(tc, lets_go_without_a_descriptor_left);
    tcase_add_test(tc, marks_nothing_without_a_reserve);
    tcase_add_test(tc, one_that_cannot_be_cleared);
    tcase_add_test(tc, a_thousand);
    tcase_add_test(tc, a_round_by_ptrace);
    tcase_add_test(tc, a_round_by_ptrace_in_part);
}

int main(void)
{
    Suite *suite = suite_create("marks");
    TCase *tc = tcase_create("marks");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    add_orders(tc);
    add_letting_go(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
