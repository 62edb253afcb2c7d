/* message_is_valid(): every kind in its right form passes; each way to be wrong is refused, field by field. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

struct sample {
    uint64_t align;
    unsigned char bytes[65536];
};

static struct sample sample;

static void *begin(size_t size, uint16_t kind, uint16_t count)
{
    struct message_header *header = (void *)sample.bytes;
    memset(sample.bytes, 0, sizeof sample.bytes);
    *header = (struct message_header){(uint32_t)size, kind, count};
    return sample.bytes;
}

static void make_settings(void)
{
    struct message_settings *message = begin(sizeof *message, MESSAGE_SETTINGS, 0);
    message->supervisor_pid = 1;
    message->log_level = 2;
    strcpy(message->application_name, "lastcall/web");
}

static void make_target(void)
{
    struct message_target *message = begin(sizeof *message, MESSAGE_TARGET, 0);
    message->kind = TARGET_PGBOUNCER;
    message->server = -1;
    strcpy(message->name, "pool");
    memcpy(message->params, "host=a\0port=6432\0", sizeof "host=a\0port=6432\0");
}

static void make_ready(void)
{
    begin(sizeof(struct message_ready), MESSAGE_READY, 0);
}

static void make_look(void)
{
    struct message_look *message = begin(sizeof *message, MESSAGE_LOOK, 0);
    message->look = 1;
}

static void make_state(void)
{
    struct message_target_state *message = begin(sizeof *message, MESSAGE_TARGET_STATE, 0);
    message->up = TARGET_UP;
    message->answer_us = message->server_sessions = message->server_max = -1;
}

static void make_rows(void)
{
    struct message_rows *message = begin(sizeof *message + 2 * sizeof message->rows[0], MESSAGE_ROWS, 2);
    message->last = 1;
    message->rows[1].tls = 255;
    message->rows[1].state = SESSION_REPLICATION;
    message->rows[1].fd = -1;
}

static void make_end(void)
{
    struct message_end *message = begin(sizeof *message + 3 * sizeof message->sessions[0], MESSAGE_END, 3);
    message->target = WIRE_TARGETS - 1;
}

static void make_ended(void)
{
    struct message_ended *message = begin(sizeof *message + 3, MESSAGE_ENDED, 3);
    message->how[2] = ENDED_IN_TRANSACTION;
}

static void make_found(void)
{
    struct message_found *message = begin(sizeof *message, MESSAGE_FOUND, 0);
    message->target = -1;
    message->what = FOUND_KINDS - 1;
    message->answer = FOUND_YES;
    message->took_us = -1;
}

static void make_inbound(void)
{
    struct message_inbound *message = begin(sizeof *message + 2 * sizeof message->rows[0], MESSAGE_INBOUND, 2);
    message->sockets_seen = message->owners_seen = 1;
    message->rows[0].pid = message->rows[1].fd = -1;
}

static void make_predecessor(void)
{
    struct message_predecessor *message = begin(sizeof *message, MESSAGE_PREDECESSOR, 0);
    message->started_us = 1;
}

static void make_predecessor_ended(void)
{
    struct message_predecessor_ended *message = begin(sizeof *message, MESSAGE_PREDECESSOR_ENDED, 0);
    message->target = WIRE_TARGETS - 1;
    message->known = 1;
    message->ended = 3;
}

static void (*const makers[])(void) = {make_settings, make_target, make_ready, make_look, make_state,
                                       make_rows,     make_end,    make_ended, make_found,
                                       make_inbound, make_predecessor, make_predecessor_ended};
enum { MAKERS = sizeof makers / sizeof makers[0] };
_Static_assert(MAKERS == MESSAGE_KINDS - 1, "a maker for each kind");

static uint32_t size_of_sample(void)
{
    return ((struct message_header *)(void *)sample.bytes)->size;
}

static _Bool sample_is_valid(void)
{
    return message_is_valid(sample.bytes, size_of_sample());
}

/* In a block of exactly its size: the sanitizer sees a byte too far. */
static _Bool is_valid_alone(size_t size)
{
    unsigned char *alone = malloc(size ? size : 1);
    memcpy(alone, sample.bytes, size);
    _Bool valid = message_is_valid(alone, size);
    free(alone);
    return valid;
}

START_TEST(right_form_passes)
{
    makers[_i]();
    ck_assert(is_valid_alone(size_of_sample()));
}
END_TEST

START_TEST(every_other_length_is_refused)
{
    makers[_i]();
    size_t size = size_of_sample();
    for (size_t wrong = 0; wrong < size + 9; wrong++)
        if (wrong != size)
            ck_assert_msg(!is_valid_alone(wrong), "kind %d with %zu of %zu bytes", _i + 1, wrong, size);
}
END_TEST

START_TEST(size_in_header_must_agree)
{
    makers[_i]();
    uint32_t size = size_of_sample();
    ((struct message_header *)(void *)sample.bytes)->size = size - 1;
    ck_assert(!message_is_valid(sample.bytes, size));
    ck_assert(!message_is_valid(sample.bytes, size - 1));
    ((struct message_header *)(void *)sample.bytes)->size = size + 1;
    ck_assert(!message_is_valid(sample.bytes, size + 1));
}
END_TEST

START_TEST(count_must_agree)
{
    makers[_i]();
    struct message_header *header = (void *)sample.bytes;
    header->count++;
    ck_assert(!sample_is_valid());
    header->count = UINT16_MAX;
    ck_assert(!sample_is_valid());
}
END_TEST

START_TEST(unknown_kinds_are_refused)
{
    static const unsigned kinds[] = {0, MESSAGE_KINDS, MESSAGE_KINDS + 1, UINT16_MAX};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        make_ready();
        ((struct message_header *)(void *)sample.bytes)->kind = (uint16_t)kinds[i];
        ck_assert(!sample_is_valid());
    }
}
END_TEST

START_TEST(most_elements_pass_and_one_more_does_not)
{
    for (unsigned extra = 0; extra < 2; extra++) {
        size_t count = WIRE_ROWS + extra;
        begin(sizeof(struct message_rows) + count * sizeof(struct handle_row), MESSAGE_ROWS, (uint16_t)count);
        ck_assert(sample_is_valid() == !extra);
        count = WIRE_SESSIONS + extra;
        begin(sizeof(struct message_end) + count * sizeof(struct end_session), MESSAGE_END, (uint16_t)count);
        ck_assert(sample_is_valid() == !extra);
        begin(sizeof(struct message_ended) + count, MESSAGE_ENDED, (uint16_t)count);
        ck_assert(sample_is_valid() == !extra);
    }
}
END_TEST

/* One field set wrongly, for every field that has a rule. */
struct wrong_field {
    void (*make)(void);
    size_t offset, size;
    int64_t value;
    const char *name;
};
#define WRONG(make, type, member, value)                                                                              \
    {make, offsetof(type, member), sizeof(((type *)0)->member), value, #type "." #member}
#define WRONG_ROW(member, value)                                                                                      \
    {make_rows, sizeof(struct message_rows) + sizeof(struct handle_row) + offsetof(struct handle_row, member),        \
     sizeof(((struct handle_row *)0)->member), value, "row." #member}

static const struct wrong_field wrong_fields[] = {
    WRONG(make_settings, struct message_settings, sample_interval_us, -1),
    WRONG(make_settings, struct message_settings, supervisor_pid, 0),
    WRONG(make_settings, struct message_settings, supervisor_pid, -5),
    WRONG(make_settings, struct message_settings, log_level, 4),
    WRONG(make_settings, struct message_settings, log_level, -1),
    WRONG(make_settings, struct message_settings, query_text, 2),
    WRONG(make_target, struct message_target, index, WIRE_TARGETS),
    WRONG(make_target, struct message_target, kind, 0),
    WRONG(make_target, struct message_target, kind, TARGET_REDIS + 1),
    WRONG(make_target, struct message_target, look_only, 2),
    WRONG(make_target, struct message_target, server, -2),
    WRONG(make_target, struct message_target, server, WIRE_TARGETS),
    WRONG(make_look, struct message_look, want_text, 2),
    WRONG(make_look, struct message_look, with_own, 2),
    WRONG(make_look, struct message_look, whole, 2),
    WRONG(make_look, struct message_look, inbound, INBOUND_ALONE + 1),
    WRONG(make_look, struct message_look, left_out, -1),
    WRONG(make_state, struct message_target_state, target, WIRE_TARGETS),
    WRONG(make_state, struct message_target_state, up, TARGET_DOWN + 1),
    WRONG(make_state, struct message_target_state, answered, 255),
    WRONG(make_state, struct message_target_state, answer_us, -2),
    WRONG(make_state, struct message_target_state, server_sessions, -2),
    WRONG(make_state, struct message_target_state, server_max, INT32_MIN),
    WRONG(make_state, struct message_target_state, translated, 2),
    WRONG(make_rows, struct message_rows, last, 2),
    WRONG(make_rows, struct message_rows, sockets_seen, 3),
    WRONG(make_rows, struct message_rows, owners_seen, 2),
    WRONG(make_rows, struct message_rows, alone, 2),
    WRONG(make_end, struct message_end, target, WIRE_TARGETS),
    WRONG(make_end, struct message_end, only_if_still_there, 2),
    WRONG(make_end, struct message_end, spare_busy, 2),
    WRONG(make_ended, struct message_ended, target, WIRE_TARGETS),
    {make_ended, sizeof(struct message_ended) + 2, 1, ENDED_IN_TRANSACTION + 1, "ended.how"},
    WRONG_ROW(pid, -2),
    WRONG_ROW(fd, -2),
    WRONG_ROW(local.family, ENDPOINT_UNIX + 1),
    WRONG_ROW(remote.family, ENDPOINT_UNIX + 1),
    WRONG_ROW(target, WIRE_TARGETS),
    WRONG_ROW(known_by, KNOWN_EXACT + 1),
    WRONG_ROW(state, SESSION_REPLICATION + 1),
    WRONG_ROW(tls, 2),
    WRONG_ROW(has_info, 2),
    WRONG_ROW(epoll, 254),
    WRONG_ROW(waits_for_client, 2),
    WRONG_ROW(told_apart, 254),
    WRONG_ROW(others[0].pid, -1),
    WRONG_ROW(others[0].fd, -2),
    WRONG_ROW(others[SOCKET_OTHERS - 1].pid, INT32_MIN),
    WRONG_ROW(others[SOCKET_OTHERS - 1].fd, -2),
};
enum { WRONG_FIELDS = sizeof wrong_fields / sizeof wrong_fields[0] };

START_TEST(numbers_out_of_bounds_are_refused)
{
    const struct wrong_field *wrong = &wrong_fields[_i];
    wrong->make();
    ck_assert(sample_is_valid());
    memcpy(sample.bytes + wrong->offset, &wrong->value, wrong->size); /* little-endian, as all we run on */
    ck_assert_msg(!sample_is_valid(), "%s = %lld", wrong->name, (long long)wrong->value);
}
END_TEST

#define ENDLESS(make, type, member) WRONG(make, type, member, 0)
static const struct wrong_field strings[] = {
    ENDLESS(make_settings, struct message_settings, application_name),
    ENDLESS(make_target, struct message_target, name),
    ENDLESS(make_target, struct message_target, params),
    ENDLESS(make_state, struct message_target_state, why),
    ENDLESS(make_ended, struct message_ended, why),
    WRONG_ROW(query, 0),
};
enum { STRINGS = sizeof strings / sizeof strings[0] };

START_TEST(strings_without_end_are_refused)
{
    const struct wrong_field *string = &strings[_i];
    string->make();
    ck_assert(sample_is_valid());
    memset(sample.bytes + string->offset, 'x', string->size);
    ck_assert_msg(!sample_is_valid(), "%s", string->name);
}
END_TEST

/* A NUL at the very end closes a string, but not a list of strings: that needs an empty one behind it. */
START_TEST(string_lists_need_an_empty_string)
{
    make_target();
    struct message_target *target = (void *)sample.bytes;
    memset(target->params, 'x', sizeof target->params);
    target->params[WIRE_PARAMS - 1] = 0;
    ck_assert(!sample_is_valid());
    target->params[WIRE_PARAMS - 2] = 0;
    ck_assert(sample_is_valid());
    memset(target->params, 0, sizeof target->params);
    ck_assert(sample_is_valid());
}
END_TEST

START_TEST(any_alignment_is_fine)
{
    static unsigned char moved[4096];
    make_rows();
    for (size_t by = 0; by < 9; by++) {
        memcpy(moved + by, sample.bytes, size_of_sample());
        ck_assert(message_is_valid(moved + by, size_of_sample()));
    }
}
END_TEST

START_TEST(names_are_never_null)
{
    ck_assert_str_eq(message_kind_name(MESSAGE_LOOK), "LOOK");
    ck_assert_str_eq(session_state_name(SESSION_IN_TRANSACTION), "idle in transaction");
    ck_assert_str_eq(known_by_name(KNOWN_EXACT), "exact");
    ck_assert_str_eq(target_kind_name(TARGET_REDIS), "redis");
    ck_assert_str_eq(message_kind_name(0), "?");
    ck_assert_str_eq(target_kind_name(0), "?");
    for (unsigned i = 0; i < 300; i++)
        ck_assert(message_kind_name(i) && session_state_name(i) && known_by_name(i) && target_kind_name(i));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tcase = tcase_create("valid");
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, right_form_passes, 0, MAKERS);
    tcase_add_loop_test(tcase, every_other_length_is_refused, 0, MAKERS);
    tcase_add_loop_test(tcase, size_in_header_must_agree, 0, MAKERS);
    tcase_add_loop_test(tcase, count_must_agree, 0, MAKERS);
    tcase_add_test(tcase, unknown_kinds_are_refused);
    tcase_add_test(tcase, most_elements_pass_and_one_more_does_not);
    tcase_add_loop_test(tcase, numbers_out_of_bounds_are_refused, 0, WRONG_FIELDS);
    tcase_add_loop_test(tcase, strings_without_end_are_refused, 0, STRINGS);
    tcase_add_test(tcase, string_lists_need_an_empty_string);
    tcase_add_test(tcase, any_alignment_is_fine);
    tcase_add_test(tcase, names_are_never_null);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
