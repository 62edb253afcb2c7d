/* predecessor_rules: whose session is a predecessor's, and what PostgreSQL is told. The whole of it, with servers, is
 * in tests/system/test_restart.py. */
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/predecessor_rules.h"

static struct endpoint at(const char *address, uint16_t port)
{
    struct endpoint endpoint;
    ck_assert_int_eq(endpoint_parse(&endpoint, address, port), 0);
    return endpoint;
}

static struct session session(uint64_t id, const char *name, struct endpoint client)
{
    struct session made = {.id = id, .client = client, .start = (int64_t)id * 10};
    strcpy(made.application_name, name);
    return made;
}

START_TEST(the_name_tells)
{
    static const struct { const char *name; bool taken; } rows[] = {
        {"lastcall/web", true}, {"lastcall/web - 10.0.0.5:40312", true}, {"lastcall/web-1", false},
        {"lastcall/we", false}, {"lastcall/web ", false}, {"lastcall-agent/web", false}, {"", false},
        {"LASTCALL/web", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct session one = session(7, rows[i].name, at("10.0.0.5", 1000));
        struct former_list list;
        former_list_fill(&list, &one, 1, "lastcall/web");
        ck_assert_msg(list.count == rows[i].taken, "%s", rows[i].name);
    }
}
END_TEST

START_TEST(a_client_that_is_not_to_be_seen_is_left_alone)
{
    struct session rows[3];
    struct former_list list;
    rows[0] = session(7, "lastcall/web", (struct endpoint){.family = ENDPOINT_UNIX});
    rows[1] = session(8, "lastcall/web", (struct endpoint){.family = ENDPOINT_NONE});
    rows[2] = session(0, "lastcall/web", at("10.0.0.5", 1000));
    former_list_fill(&list, rows, 3, "lastcall/web");
    ck_assert_uint_eq(list.count, 0);
}
END_TEST

/* Only our own address, as a socket here has it, and only ports that no socket here has. */
START_TEST(whose_socket_is_here_is_alive)
{
    static const struct { const char *address; uint16_t port; } clients[] = {
        {"10.0.0.5", 1001}, {"10.0.0.5", 1002}, {"10.0.0.6", 1003}, {"::1", 1002}};
    struct session rows[4];
    for (uint64_t i = 0; i < 4; i++)
        rows[i] = session(i + 1, "lastcall/web", at(clients[i].address, clients[i].port));
    struct socket_fact facts[] = {{.local = at("10.0.0.5", 1002)}, {.local = at("::1", 99)}};
    struct socket_table sockets = {.at = facts, .count = 2}, none = {0};
    struct former_list list;
    former_list_fill(&list, rows, 4, "lastcall/web");
    ck_assert_uint_eq(list.count, 4);
    former_list_choose(&list, &sockets);
    ck_assert_uint_eq(list.count, 2);
    ck_assert(list.sessions[0].session == 1 && list.sessions[1].session == 4);
    ck_assert_int_eq(list.sessions[0].session_start, 10);
    former_list_choose(&list, &none); /* nobody knows which address is ours */
    ck_assert_uint_eq(list.count, 0);
}
END_TEST

START_TEST(more_than_one_message_holds)
{
    static struct session rows[WIRE_SESSIONS + 5];
    struct former_list list;
    for (size_t i = 0; i < WIRE_SESSIONS + 5; i++)
        rows[i] = session(i + 1, "lastcall/web", at("10.0.0.5", (uint16_t)(i + 1)));
    former_list_fill(&list, rows, WIRE_SESSIONS + 5, "lastcall/web");
    ck_assert_uint_eq(list.count, WIRE_SESSIONS);
}
END_TEST

START_TEST(the_command_names_what_is_alive)
{
    struct socket_fact facts[] = {{.local = at("10.0.0.5", 1002)}, {.local = at("10.0.0.5", 65535)}};
    struct socket_table sockets = {.at = facts, .count = 2};
    char *command = former_command("lastcall/web", 1234567, &sockets);
    ck_assert_ptr_nonnull(strstr(command, "= 'lastcall/web' OR left(a.application_name, 15) = 'lastcall/web - ')"));
    ck_assert_ptr_nonnull(strstr(command, "::bigint < 1234567 "));
    ck_assert_ptr_nonnull(strstr(command, "<> ALL ('{1002,65535}'::int[])"));
    free(command);
}
END_TEST

START_TEST(no_command_is_cut_or_holds_what_it_must_not)
{
    static struct socket_fact facts[4097];
    struct socket_table sockets = {.at = facts, .count = 4096};
    for (size_t i = 0; i < 4097; i++)
        facts[i].local = at("10.0.0.5", 65535);
    char *command = former_command("lastcall/web", INT64_MAX, &sockets);
    ck_assert_ptr_nonnull(strstr(command, ",65535}'::int[])"));
    free(command);
    sockets.count = 4097;
    ck_assert_ptr_null(former_command("lastcall/web", 1, &sockets));
    sockets.count = 0;
    ck_assert_ptr_null(former_command("lastcall/w'eb", 1, &sockets));
    ck_assert_ptr_null(former_command("", 1, &sockets));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("predecessor");
    TCase *tcase = tcase_create("rules");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, the_name_tells);
    tcase_add_test(tcase, a_client_that_is_not_to_be_seen_is_left_alone);
    tcase_add_test(tcase, whose_socket_is_here_is_alive);
    tcase_add_test(tcase, more_than_one_message_holds);
    tcase_add_test(tcase, the_command_names_what_is_alive);
    tcase_add_test(tcase, no_command_is_cut_or_holds_what_it_must_not);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
