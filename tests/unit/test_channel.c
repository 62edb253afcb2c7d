/* The channel: whole messages, or a clear errno; never a wait. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/channel.h"
#include "wire/message.h"

static int ends[2];
static union channel_packet packet;
static const struct message_look a_look = {.header = {sizeof a_look, MESSAGE_LOOK, 0}, .look = 7, .answer_ms = 250};

static void open_ends(void)
{
    ck_assert_int_eq(channel_open_pair(ends), 0);
}

static void close_ends(void)
{
    close(ends[0]);
    close(ends[1]);
}

static void expect_error(long result, int error)
{
    int was = errno;
    ck_assert_int_eq(result, -1);
    ck_assert_msg(was == error, "%s, expected %s", strerror(was), strerror(error));
}

START_TEST(a_message_arrives_whole)
{
    ck_assert_int_eq(channel_send(ends[0], &a_look), 0);
    ck_assert_int_eq(channel_send(ends[0], &a_look), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(channel_receive(ends[1], &packet), sizeof a_look);
        ck_assert_mem_eq(packet.bytes, &a_look, sizeof a_look);
    }
    expect_error(channel_receive(ends[1], &packet), EAGAIN);
}
END_TEST

START_TEST(ends_are_private_and_do_not_block)
{
    for (int i = 0; i < 2; i++) {
        ck_assert(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        ck_assert(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    }
}
END_TEST

START_TEST(an_invalid_message_is_not_sent)
{
    struct message_look wrong = a_look;
    wrong.want_text = 9;
    expect_error(channel_send(ends[0], &wrong), EINVAL);
    expect_error(channel_receive(ends[1], &packet), EAGAIN);
}
END_TEST

START_TEST(garbage_is_refused)
{
    ck_assert_int_eq(send(ends[0], "hello there", 11, 0), 11);
    expect_error(channel_receive(ends[1], &packet), EBADMSG);
    ck_assert_int_eq(send(ends[0], &a_look, sizeof a_look - 1, 0), (long)sizeof a_look - 1);
    expect_error(channel_receive(ends[1], &packet), EBADMSG);
}
END_TEST

/* Longer than any buffer: its beginning may look like a message, and must not be taken for one. */
START_TEST(a_packet_that_does_not_fit_is_refused)
{
    static unsigned char large[sizeof packet.bytes + 1];
    memcpy(large, &a_look, sizeof a_look);
    ck_assert_int_eq(send(ends[0], large, sizeof large, 0), (long)sizeof large);
    expect_error(channel_receive(ends[1], &packet), EBADMSG);
}
END_TEST

START_TEST(the_end_is_seen_after_the_last_message)
{
    ck_assert_int_eq(channel_send(ends[0], &a_look), 0);
    close(ends[0]);
    ck_assert_int_eq(channel_receive(ends[1], &packet), sizeof a_look);
    ck_assert_int_eq(channel_receive(ends[1], &packet), 0);
    expect_error(channel_send(ends[1], &a_look), EPIPE); /* and no SIGPIPE */
}
END_TEST

START_TEST(a_full_channel_says_so)
{
    int sent = 0;
    while (sent < 100000 && channel_send(ends[0], &a_look) == 0)
        sent++;
    expect_error(channel_send(ends[0], &a_look), EAGAIN);
    ck_assert_int_gt(sent, 16);
    for (int i = 0; i < sent; i++)
        ck_assert_int_eq(channel_receive(ends[1], &packet), sizeof a_look);
    ck_assert_int_eq(channel_send(ends[0], &a_look), 0);
}
END_TEST

/* All that is said to a new agent is said before it reads: SETTINGS, every target there may be, READY. */
START_TEST(the_longest_greeting_fits)
{
    static struct message_target target = {.header = {sizeof target, MESSAGE_TARGET, 0}, .kind = TARGET_REDIS};
    for (int i = 0; i < WIRE_TARGETS + 2; i++)
        ck_assert_int_eq(channel_send(ends[0], &target), 0);
}
END_TEST

START_TEST(without_descriptors_there_is_no_channel)
{
    struct rlimit none = {0, 0}, before;
    int more[2];
    getrlimit(RLIMIT_NOFILE, &before);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    int result = channel_open_pair(more), error = errno;
    setrlimit(RLIMIT_NOFILE, &before);
    errno = error;
    expect_error(result, EMFILE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("channel");
    TCase *tcase = tcase_create("channel");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, open_ends, close_ends);
    tcase_add_test(tcase, a_message_arrives_whole);
    tcase_add_test(tcase, ends_are_private_and_do_not_block);
    tcase_add_test(tcase, an_invalid_message_is_not_sent);
    tcase_add_test(tcase, garbage_is_refused);
    tcase_add_test(tcase, a_packet_that_does_not_fit_is_refused);
    tcase_add_test(tcase, the_end_is_seen_after_the_last_message);
    tcase_add_test(tcase, a_full_channel_says_so);
    tcase_add_test(tcase, the_longest_greeting_fits);
    tcase_add_test(tcase, without_descriptors_there_is_no_channel);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
