/* Targets that answer when the test says so. Defines all of agent/targets/target.h, so that no
 * real target is linked. */
#ifndef TESTS_FAKE_TARGET_H
#define TESTS_FAKE_TARGET_H

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/target.h"

struct target {
    struct message_target message;
    char application_name[80];
    target_answer_fn *done; /* NULL: nothing is asked */
    void *context;
    int asked;              /* how often */
    int64_t limit_us;
    bool want_text;
    enum target_up up;
    int translated;
    struct endpoint addresses[4];
    size_t address_count;
    target_ended_fn *ended;
    void *ended_context;
    uint32_t request;
};

static struct target *fake_targets[WIRE_TARGETS];
static int fake_create_error, fake_end_error;

struct target *target_create(struct ev_loop *loop, const struct message_target *message, const char *application_name)
{
    (void)loop;
    errno = fake_create_error;
    struct target *target = fake_create_error ? NULL : calloc(1, sizeof *target);
    if (!target)
        return NULL;
    target->message = *message;
    target->up = TARGET_UP;
    target->translated = 0;
    strncpy(target->application_name, application_name, sizeof target->application_name - 1);
    fake_targets[message->index] = target;
    return target;
}

void target_destroy(struct target *target)
{
    free(target);
}

int target_ask(struct target *target, int64_t limit_us, bool want_text, target_answer_fn *done, void *context)
{
    if (target->done) {
        errno = EBUSY;
        return -1;
    }
    target->done = done;
    target->context = context;
    target->limit_us = limit_us;
    target->want_text = want_text;
    target->asked++;
    return 0;
}

/* The server answers (or fails, with a reason). */
static inline void fake_answer(int i, const struct session *sessions, size_t count, const char *why_not)
{
    struct target *target = fake_targets[i];
    target_answer_fn *done = target->done;
    struct target_answer answer = {.ok = !why_not, .asked_at_us = 11, .took_us = 22, .sessions = sessions,
                                   .session_count = count, .server_sessions = (int32_t)count, .server_max = 100,
                                   .why = why_not ? why_not : ""};
    target->done = NULL;
    done(target->context, target, &answer);
}

int target_say(struct target *target, int64_t limit_us, const char *command, target_answer_fn *done, void *context)
{
    (void)target, (void)limit_us, (void)command, (void)done, (void)context;
    return -1;
}

int target_end_sessions(struct target *target, const struct message_end *message, target_ended_fn *done, void *context)
{
    errno = fake_end_error;
    if (fake_end_error)
        return -1;
    target->ended = done;
    target->ended_context = context;
    target->request = message->request;
    return 0;
}

const struct message_target *target_message(const struct target *target)
{
    return &target->message;
}

enum target_up target_up(const struct target *target)
{
    return target->up;
}

const char *target_why(const struct target *target)
{
    return target->up == TARGET_UP ? "" : "nobody listens";
}

size_t target_addresses(const struct target *target, struct endpoint *at, size_t room)
{
    for (size_t i = 0; i < target->address_count && i < room; i++)
        at[i] = target->addresses[i];
    return target->address_count;
}

const char *target_unix_path(const struct target *target)
{
    (void)target;
    return NULL;
}

int target_is_translated(const struct target *target)
{
    return target->translated;
}

#endif
