/* `lastcall status`: one question, one answer. What is not known is printed as unknown, never as zero. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/control_client.h"
#include "cli/instance.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "common/fd.h"
#include "common/text.h"

static void add_count(struct text *text, int32_t count)
{
    if (count < 0)
        text_add(text, "unknown");
    else
        text_add(text, "%d", count);
}

static int print_words(const struct control_reply *reply)
{
    const struct control_state *state = &reply->state;
    char lines[1024];
    struct text text = text_in(lines, sizeof lines);
    text_add(&text, "%s: %s%s%s\n  app pid     ", state->instance, state->phase, reply->text[0] ? ": " : "",
             reply->text);
    add_count(&text, state->app_pid);
    text_add(&text, "\n  handles     ");
    add_count(&text, state->handles);
    text_add(&text, "\n  in flight   ");
    add_count(&text, state->in_flight);
    if (state->restarts > 0)
        text_add(&text, "\n  restarts    %d", state->restarts);
    if (state->since_stop_us >= 0) {
        text_add(&text, "\n  stop began  ");
        text_add_duration(&text, state->since_stop_us);
        text_add(&text, " ago\n  time left   ");
        text_add_duration(&text, state->left_us);
    }
    return puts(lines) == EOF || fflush(stdout) == EOF ? 1 : 0;
}

static int no_answer(enum control_heard heard, const struct instance *instance)
{
    const char *why = heard == CONTROL_HEARD_END ? "it closed the connection without an answer"
                                                 : control_client_why(errno);
    fprintf(stderr, "lastcall: %s: %s\n", instance->name, why);
    return 1;
}

static int refused(const struct control_reply *reply)
{
    fprintf(stderr, "lastcall: %s\n", reply->text[0] ? reply->text : "refused");
    return reply->exit_code ? reply->exit_code : 1;
}

static int print(const struct options *options, const struct control_reply *reply)
{
    int code = reply->kind == CONTROL_DONE ? reply->exit_code : 1;
    if (options->ready && strcmp(reply->state.phase, "running") != 0)
        code = 1;
    const char *result = reply->kind == CONTROL_DONE ? "done" : "refused";
    if (options->json)
        return control_client_print_json("status", result, code, reply) == -1 ? 1 : code;
    if (reply->kind == CONTROL_REFUSED)
        return refused(reply);
    return print_words(reply) == 0 ? code : 1;
}

static int ask(const struct options *options, const struct instance *instance)
{
    struct control_reply reply;
    if (control_client_ask(instance->fd, CONTROL_STATUS, 0) == -1)
        return no_answer(CONTROL_HEARD_ERROR, instance);
    enum control_heard heard = control_client_hear(instance->fd, &reply, CONTROL_ANSWER_MS);
    return heard == CONTROL_HEARD_REPLY ? print(options, &reply) : no_answer(heard, instance);
}

int verb_status(int argc, char **argv)
{
    struct options options;
    struct instance instance;
    struct error error;
    if (!options_parse(&options, VERB_STATUS, argc, argv))
        return options.exit_code;
    signal(SIGPIPE, SIG_IGN);
    int code = instance_find(&instance, options.name, &error);
    if (code != 0) {
        fprintf(stderr, "lastcall: %s\n", error.text);
        return code;
    }
    code = ask(&options, &instance);
    fd_close(&instance.fd);
    return code;
}
