/* The packets of a look, put together. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "supervisor/platform/facts_buffer.h"

static struct facts_buffer buffer;
static union {
    struct message_rows rows;
    unsigned char room[sizeof(struct message_rows) + WIRE_ROWS * sizeof(struct handle_row)];
} packet;
static uint64_t next_inode;

static void open_buffer(void)
{
    ck_assert_int_eq(facts_buffer_init(&buffer), 0);
    next_inode = 1;
}

static void close_buffer(void)
{
    facts_buffer_finish(&buffer);
}

static enum facts_progress add_rows(uint32_t look, unsigned count, _Bool last)
{
    packet.rows = (struct message_rows){.header = {0, MESSAGE_ROWS, (uint16_t)count}, .look = look, .last = last,
                                        .sockets_seen = 1, .owners_seen = 1};
    for (unsigned i = 0; i < count; i++)
        packet.rows.rows[i] = (struct handle_row){.inode = next_inode++, .target = 1};
    return facts_buffer_add_rows(&buffer, &packet.rows, 2);
}

static enum facts_progress add_target(uint32_t look, unsigned target)
{
    struct message_target_state state = {.look = look, .target = (uint16_t)target};
    return facts_buffer_add_target(&buffer, &state, 2);
}

START_TEST(packets_become_one_look)
{
    ck_assert_int_eq(add_target(5, 0), FACTS_MORE);
    ck_assert_int_eq(add_target(5, 1), FACTS_MORE);
    ck_assert_int_eq(add_rows(5, 64, 0), FACTS_MORE);
    ck_assert_int_eq(add_rows(5, 3, 1), FACTS_COMPLETE);
    struct facts facts = facts_buffer_take(&buffer, 1234, 99);
    ck_assert_uint_eq(facts.look, 5);
    ck_assert_uint_eq(facts.count, 67);
    ck_assert_uint_eq(facts.target_count, 2);
    ck_assert_uint_eq(facts.targets[1].target, 1);
    ck_assert_int_eq(facts.took_us, 1234);
    ck_assert_int_eq(facts.received_at_us, 99);
    ck_assert(facts.sockets_seen == 1 && facts.owners_seen == 1);
    for (size_t i = 0; i < facts.count; i++)
        ck_assert_uint_eq(facts.rows[i].inode, i + 1);
}
END_TEST

START_TEST(what_comes_in_is_of_its_look)
{
    struct message_inbound inbound = {.header = {sizeof inbound, MESSAGE_INBOUND, 0}, .look = 5, .left_out = 3};
    facts_buffer_add_inbound(&buffer, &inbound);
    add_rows(5, 0, 1);
    struct facts facts = facts_buffer_take(&buffer, 0, 0);
    ck_assert_ptr_nonnull(facts.inbound);
    ck_assert_uint_eq(facts.inbound->left_out, 3);
    add_rows(6, 0, 1);
    ck_assert_ptr_null(facts_buffer_take(&buffer, 0, 0).inbound);
}
END_TEST

START_TEST(another_look_begins_anew)
{
    add_target(5, 0);
    add_rows(5, 10, 0);
    add_target(6, 1);
    ck_assert_int_eq(add_rows(6, 2, 1), FACTS_COMPLETE);
    struct facts facts = facts_buffer_take(&buffer, 0, 0);
    ck_assert_uint_eq(facts.look, 6);
    ck_assert_uint_eq(facts.count, 2);
    ck_assert_uint_eq(facts.rows[0].inode, 11);
    ck_assert_uint_eq(facts.target_count, 1);
}
END_TEST

/* Samples all have the number 0: the next one must not be added to the last one. */
START_TEST(the_same_number_begins_anew_after_its_end)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(add_rows(0, 4, 1), FACTS_COMPLETE);
        ck_assert_uint_eq(facts_buffer_take(&buffer, 0, 0).count, 4);
    }
}
END_TEST

START_TEST(an_empty_look_is_complete)
{
    ck_assert_int_eq(add_rows(3, 0, 1), FACTS_COMPLETE);
    struct facts facts = facts_buffer_take(&buffer, 0, 0);
    ck_assert(facts.count == 0 && facts.sockets_seen == 1);
}
END_TEST

START_TEST(what_one_packet_did_not_see_was_not_seen)
{
    add_rows(3, 1, 0);
    packet.rows.owners_seen = packet.rows.sockets_seen = 0;
    facts_buffer_add_rows(&buffer, &packet.rows, 2);
    add_rows(3, 1, 1);
    struct facts facts = facts_buffer_take(&buffer, 0, 0);
    ck_assert(facts.sockets_seen == 0 && facts.owners_seen == 0);
    ck_assert_uint_eq(facts.count, 3);
}
END_TEST

START_TEST(the_way_by_proc_is_remembered)
{
    add_rows(3, 1, 0);
    packet.rows.sockets_seen = 2;
    facts_buffer_add_rows(&buffer, &packet.rows, 2);
    add_rows(3, 1, 1);
    ck_assert_uint_eq(facts_buffer_take(&buffer, 0, 0).sockets_seen, 2);
}
END_TEST

START_TEST(unknown_targets_are_refused)
{
    ck_assert_int_eq(add_target(1, 2), FACTS_REFUSED);
    ck_assert_int_eq(errno, EBADMSG);
    add_rows(1, 2, 0);
    packet.rows.rows[1].target = 2;
    errno = 0;
    ck_assert_int_eq(facts_buffer_add_rows(&buffer, &packet.rows, 2), FACTS_REFUSED);
    ck_assert_int_eq(errno, EBADMSG);
}
END_TEST

START_TEST(as_many_rows_as_allowed_and_no_more)
{
    for (unsigned i = 0; i < FACTS_ROWS / WIRE_ROWS; i++)
        ck_assert_int_eq(add_rows(1, WIRE_ROWS, 0), FACTS_MORE);
    ck_assert_int_eq(add_rows(1, 0, 0), FACTS_MORE);
    ck_assert_int_eq(add_rows(1, 1, 1), FACTS_REFUSED);
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_uint_eq(facts_buffer_take(&buffer, 0, 0).count, FACTS_ROWS);
}
END_TEST

START_TEST(too_many_target_states_are_refused)
{
    for (int i = 0; i < WIRE_TARGETS; i++)
        ck_assert_int_eq(add_target(1, 0), FACTS_MORE);
    ck_assert_int_eq(add_target(1, 0), FACTS_REFUSED);
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_int_eq(add_target(2, 0), FACTS_MORE);
}
END_TEST

/* Rows that could not be kept: then it is not known what is there. */
START_TEST(lost_rows_make_the_look_unknown)
{
    add_rows(1, 1, 0);
    buffer.lossy = true;
    add_rows(1, 1, 1);
    struct facts facts = facts_buffer_take(&buffer, 0, 0);
    ck_assert(facts.sockets_seen == 0 && facts.owners_seen == 0);
    add_rows(2, 1, 1);
    ck_assert_uint_eq(facts_buffer_take(&buffer, 0, 0).sockets_seen, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keeper_facts");
    TCase *tcase = tcase_create("facts");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, open_buffer, close_buffer);
    tcase_add_test(tcase, packets_become_one_look);
    tcase_add_test(tcase, what_comes_in_is_of_its_look);
    tcase_add_test(tcase, another_look_begins_anew);
    tcase_add_test(tcase, the_same_number_begins_anew_after_its_end);
    tcase_add_test(tcase, an_empty_look_is_complete);
    tcase_add_test(tcase, what_one_packet_did_not_see_was_not_seen);
    tcase_add_test(tcase, the_way_by_proc_is_remembered);
    tcase_add_test(tcase, unknown_targets_are_refused);
    tcase_add_test(tcase, as_many_rows_as_allowed_and_no_more);
    tcase_add_test(tcase, too_many_target_states_are_refused);
    tcase_add_test(tcase, lost_rows_make_the_look_unknown);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
