/* `lastcall drain` and `lastcall resume`: ask, show what comes, exit with what the supervisor says. The decision what
 * "still" means is the supervisor's alone. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/control_client.h"
#include "cli/instance.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "common/fd.h"
#include "common/text.h"

/* What has been shown, so that a log gets a line only when something changed. */
struct progress_view {
    bool quiet;     /* -o json */
    bool terminal;  /* one line that changes */
    int columns;
    struct control_reply last;
};

static void open_view(struct progress_view *view, bool json)
{
    const char *term = getenv("TERM");
    struct winsize size = {0};
    *view = (struct progress_view){.quiet = json, .columns = 80};
    view->terminal = !json && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
    if (view->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10)
        view->columns = size.ws_col;
}

static void add_counts(struct text *line, const struct control_state *state)
{
    if (state->in_flight < 0)
        text_add(line, ", in flight: unknown");
    else if (state->handles < 0)
        text_add(line, ", %d in flight", state->in_flight);
    else
        text_add(line, ", %d of %d connections in flight", state->in_flight, state->handles);
}

static void describe(struct text *line, const struct control_reply *reply)
{
    if (!reply->state.phase[0]) { /* a refusal knows no state */
        text_add(line, "lastcall: %s", reply->text);
        return;
    }
    text_add(line, "%s: %s", reply->state.instance, reply->state.phase);
    if (!reply->text[0]) /* else it says so itself */
        add_counts(line, &reply->state);
    if (reply->state.left_us >= 0) {
        text_add(line, ", ");
        text_add_duration(line, reply->state.left_us);
        text_add(line, " left");
    }
    if (reply->text[0])
        text_add(line, ": %s", reply->text);
}

static bool says_the_same(const struct control_reply *a, const struct control_reply *b)
{
    return a->state.in_flight == b->state.in_flight && a->state.handles == b->state.handles &&
           strcmp(a->state.phase, b->state.phase) == 0 && strcmp(a->text, b->text) == 0;
}

static void show_on_terminal(const struct progress_view *view, const char *line)
{
    char cut[512];
    size_t columns = (size_t)view->columns < sizeof cut ? (size_t)view->columns : sizeof cut;
    struct text text = text_in(cut, columns); /* one less than the columns: no wrap */
    text_add_escaped(&text, line, strlen(line));
    printf("\r\033[K%s", cut);
    fflush(stdout);
}

static void show_progress(struct progress_view *view, const struct control_reply *reply)
{
    char line[512];
    struct text text = text_in(line, sizeof line);
    bool same = says_the_same(&view->last, reply);
    view->last = *reply;
    if (view->quiet)
        return;
    describe(&text, reply);
    if (view->terminal) {
        show_on_terminal(view, line);
    } else if (!same) {
        puts(line);
        fflush(stdout);
    }
}

static void close_view(const struct progress_view *view)
{
    if (view->terminal && view->last.magic) {
        printf("\r\033[K");
        fflush(stdout);
    }
}

/* The end, in words or as JSON. */
static int finish(const struct progress_view *view, const char *verb, const char *result, int code,
                  const struct control_reply *reply)
{
    char line[512];
    struct text text = text_in(line, sizeof line);
    close_view(view);
    if (view->quiet)
        return control_client_print_json(verb, result, code, reply) == -1 ? 1 : code;
    describe(&text, reply);
    FILE *to = code == 0 ? stdout : stderr;
    fprintf(to, "%s\n", line);
    fflush(to);
    return code;
}

/* The supervisor ended while we waited. That is the right end when the stop was under way, and else not. */
static int connection_lost(const struct progress_view *view, const char *verb)
{
    static const char *const after_still[] = {"stopping", "killing", "sweeping", "done"};
    struct control_reply reply = view->last;
    bool stopping = false;
    for (size_t i = 0; i < sizeof after_still / sizeof after_still[0]; i++)
        stopping = stopping || strcmp(reply.state.phase, after_still[i]) == 0;
    const char *text = stopping ? "the app was stopped meanwhile" : "lastcall ended before it was still";
    text_copy(reply.text, sizeof reply.text, text);
    if (!reply.magic) { /* it never said anything: nothing is known */
        reply.state.app_pid = reply.state.handles = reply.state.in_flight = -1;
        reply.state.since_stop_us = reply.state.left_us = -1;
        text_copy(reply.text, sizeof reply.text, "lastcall closed the connection without an answer");
    }
    return finish(view, verb, stopping ? "stopped" : "lost", stopping ? 0 : 1, &reply);
}

static int could_not_hear(const struct progress_view *view, const struct instance *instance)
{
    int error = errno;
    close_view(view);
    fprintf(stderr, "lastcall: %s: %s\n", instance->name, control_client_why(error));
    return 1;
}

/* The first reply comes at once; a drain's later ones when there is something to say. */
static int hear_until_end(struct progress_view *view, const struct instance *instance, const char *verb)
{
    struct control_reply reply;
    for (int limit_ms = CONTROL_ANSWER_MS;; limit_ms = -1) {
        enum control_heard heard = control_client_hear(instance->fd, &reply, limit_ms);
        if (heard == CONTROL_HEARD_ERROR)
            return could_not_hear(view, instance);
        if (heard == CONTROL_HEARD_END)
            return connection_lost(view, verb);
        if (reply.kind == CONTROL_PROGRESS)
            show_progress(view, &reply);
        else
            return finish(view, verb, reply.kind == CONTROL_DONE ? "done" : "refused", reply.exit_code, &reply);
    }
}

static int ask_and_hear(enum verb which, enum control_verb verb, int argc, char **argv)
{
    struct options options;
    struct instance instance;
    struct error error;
    struct progress_view view;
    if (!options_parse(&options, which, argc, argv))
        return options.exit_code;
    signal(SIGPIPE, SIG_IGN); /* whoever reads our output may go away before the drain is over */
    int code = instance_find(&instance, options.name, &error);
    if (code != 0) {
        fprintf(stderr, "lastcall: %s\n", error.text);
        return code;
    }
    open_view(&view, options.json);
    if (control_client_ask(instance.fd, verb, options.now ? CONTROL_NOW : 0) == -1)
        code = could_not_hear(&view, &instance);
    else
        code = hear_until_end(&view, &instance, verb == CONTROL_DRAIN ? "drain" : "resume");
    fd_close(&instance.fd);
    return code;
}

int verb_drain(int argc, char **argv)
{
    return ask_and_hear(VERB_DRAIN, CONTROL_DRAIN, argc, argv);
}

int verb_resume(int argc, char **argv)
{
    return ask_and_hear(VERB_RESUME, CONTROL_RESUME, argc, argv);
}
