/* Values of keys about signals and exit codes. Knows their form, not what becomes of them; never says where a value
 * stood. */
#include "config/value_lists.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/signals.h"
#include "config/duration.h"
#include "config/errors.h"
#include "config/value.h"

static const char no_signal[] = "is not a signal: write TERM, INT, QUIT, RTMIN+3 or a number";

static void *field(const struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

bool signal_may_stop(int signo)
{
    static const int never[] = {SIGKILL, SIGSTOP, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS, SIGFPE,
                                SIGILL};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (never[i] == signo)
            return false;
    return true;
}

void signal_format(int signo, struct text *text)
{
    const char *name = signal_name(signo);
    if (strncmp(name, "SIG", 3) == 0)
        text_add(text, "%s", name + 3);
    else
        text_add(text, "%d", signo);
}

/* ---- items of a text ---- */

static char *trim(char *word)
{
    word += strspn(word, " \t");
    for (size_t length = strlen(word); length > 0 && strchr(" \t", word[length - 1]); length--)
        word[length - 1] = '\0';
    return word;
}

int value_lists_add_all(struct config *config, const struct key *key, const char *value, struct error *error)
{
    char copy[4096], *rest = NULL;
    if (!text_copy(copy, sizeof copy, value))
        return error_set(error, "is too long");
    for (char *item = strtok_r(copy, "[]{},", &rest); item; item = strtok_r(NULL, "[]{},", &rest))
        if (*trim(item) && value_add_item(config, key, trim(item), error) == -1)
            return -1;
    return 0;
}

/* Cuts "a : b" in two, in `copy`. NULL: there is no ':'; then `copy` is the whole. */
static const char *cut(char copy[static 128], const char *item)
{
    if (!text_copy(copy, 128, item))
        copy[127] = '\0'; /* too long for anything that is right */
    char *colon = strchr(copy, ':');
    if (!colon)
        return NULL;
    *colon = '\0';
    trim(copy); /* what stands before the name was skipped with the item */
    return trim(colon + 1);
}

/* ---- one signal ---- */

static int set_signal(struct config *config, const struct key *key, const char *value, bool any, struct error *error)
{
    int signo = *value ? signal_parse(value) : 0;
    if (signo == -1)
        return config_refuse(error, value, no_signal);
    if (signo == SIGKILL && !any)
        return config_refuse(error, value, "cannot be the stop signal: write stop.end: kill for an app that is to be "
                                           "ended by SIGKILL");
    if (signo && !any && !signal_may_stop(signo))
        return config_refuse(error, value, "cannot be the stop signal: choose TERM, INT, QUIT, USR1 or the like");
    *(int *)field(config, key) = signo;
    return 0;
}

int stop_signal_set(struct config *config, const struct key *key, const char *value, struct error *error)
{
    return set_signal(config, key, value, false, error);
}

int any_signal_set(struct config *config, const struct key *key, const char *value, struct error *error)
{
    return set_signal(config, key, value, true, error);
}

void one_signal_format(const struct config *config, const struct key *key, struct text *text)
{
    int signo = *(int *)field(config, key);
    if (signo)
        signal_format(signo, text);
}

void one_signal_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a signal");
}

/* ---- maps ---- */

void map_clear(struct config *config, const struct key *key)
{
    *(struct config_map *)field(config, key) = (struct config_map){0};
}

static void map_add(struct config *config, const struct key *key, int from, int to)
{
    struct config_map *map = field(config, key);
    map->set[from] = true;
    map->to[from] = (uint8_t)to;
}

/* "TERM:QUIT", "15:3", "HUP:0". */
int signal_map_add(struct config *config, const struct key *key, const char *item, struct error *error)
{
    char from_word[128];
    const char *to_word = cut(from_word, item);
    if (!to_word)
        return config_refuse(error, item, "rewrites nothing: write TERM:QUIT, or TERM:0 to swallow it");
    int from = signal_parse(from_word), to = strcmp(to_word, "0") == 0 ? 0 : signal_parse(to_word);
    if (from == -1)
        return config_refuse(error, from_word, no_signal);
    if (to == -1)
        return config_refuse(error, to_word, "is not a signal: write TERM, INT, QUIT, RTMIN+3, a number, or 0 to "
                                             "swallow it");
    if (from == SIGKILL || from == SIGSTOP || from == SIGCHLD)
        return config_refuse(error, from_word, "cannot be rewritten: lastcall never has it to pass on");
    map_add(config, key, from, to);
    return 0;
}

static int parse_code(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return digits > 0 && digits <= 3 && !word[digits] && atoi(word) <= 255 ? atoi(word) : -1;
}

/* "143:0", or tini's "143". */
int exit_codes_add(struct config *config, const struct key *key, const char *item, struct error *error)
{
    char from_word[128];
    const char *to_word = cut(from_word, item);
    int from = parse_code(from_word), to = to_word ? parse_code(to_word) : 0;
    if (from == -1 || to == -1)
        return config_refuse(error, from == -1 ? from_word : to_word, "is not an exit code: write 0 to 255, as in 143 "
                                                                      "or 143:0");
    map_add(config, key, from, to);
    return 0;
}

static void format_map(const struct config *config, const struct key *key, struct text *text,
                       void (*number)(int, struct text *))
{
    const struct config_map *map = field(config, key);
    const char *separator = "{";
    for (int from = 0; from < 256; from++) {
        if (!map->set[from])
            continue;
        text_add(text, "%s", separator);
        number(from, text);
        text_add(text, ": ");
        number(map->to[from], text);
        separator = ", ";
    }
    text_add(text, "%s", *separator == '{' ? "{}" : "}");
}

static void add_code(int code, struct text *text)
{
    text_add(text, "%d", code);
}

static void add_signal(int signo, struct text *text)
{
    if (signo)
        signal_format(signo, text);
    else
        text_add(text, "0");
}

void signal_map_format(const struct config *config, const struct key *key, struct text *text)
{
    format_map(config, key, text, add_signal);
}

void exit_codes_format(const struct config *config, const struct key *key, struct text *text)
{
    format_map(config, key, text, add_code);
}

void signal_map_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a map of signals, as {TERM: QUIT, HUP: 0}");
}

void exit_codes_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a map of codes, as {143: 0}, or a list of those that become 0");
}

/* ---- the sequence ---- */

void sequence_clear(struct config *config, const struct key *key)
{
    *(struct config_sequence *)field(config, key) = (struct config_sequence){0};
}

static int refuse_order(const struct config_sequence *sequence, const char *item, struct error *error)
{
    char story[128];
    struct text text = text_in(story, sizeof story);
    text_add(&text, "must come later than ");
    signal_format(sequence->list[sequence->count - 1].signo, &text);
    text_add(&text, " ");
    duration_format(sequence->list[sequence->count - 1].after_us, &text);
    text_add(&text, ", which stands before it");
    return config_refuse(error, item, story);
}

/* "INT 3s". */
int sequence_add(struct config *config, const struct key *key, const char *item, struct error *error)
{
    struct config_sequence *sequence = field(config, key);
    char copy[128], *rest = NULL;
    int64_t after_us;
    bool fits = text_copy(copy, sizeof copy, item);
    char *name = strtok_r(copy, " \t", &rest), *time = strtok_r(NULL, " \t", &rest);
    if (!fits || !name || !time || strtok_r(NULL, " \t", &rest) || duration_parse(time, &after_us) == -1)
        return config_refuse(error, item, "is not a signal and a time: write [INT 3s, QUIT 5s]");
    int signo = signal_parse(name);
    if (signo == -1)
        return config_refuse(error, name, no_signal);
    if (signo == SIGKILL)
        return config_refuse(error, item, "is not needed: SIGKILL comes by itself at the end of grace_period");
    if (!signal_may_stop(signo))
        return config_refuse(error, name, "does not stop an app: choose TERM, INT, QUIT, USR1 or the like");
    if (sequence->count == SEQUENCE_MOST)
        return error_set(error, "holds more than %d signals", SEQUENCE_MOST);
    if (sequence->count > 0 && after_us <= sequence->list[sequence->count - 1].after_us)
        return refuse_order(sequence, item, error);
    sequence->list[sequence->count].signo = signo;
    sequence->list[sequence->count++].after_us = after_us;
    return 0;
}

void sequence_format(const struct config *config, const struct key *key, struct text *text)
{
    const struct config_sequence *sequence = field(config, key);
    text_add(text, "[");
    for (unsigned i = 0; i < sequence->count; i++) {
        text_add(text, "%s", i ? ", " : "");
        signal_format(sequence->list[i].signo, text);
        text_add(text, " ");
        duration_format(sequence->list[i].after_us, text);
    }
    text_add(text, "]");
}

void sequence_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "a list of signals with times, as [INT 3s, QUIT 5s]");
}
