/* Loading: the sources in their order, then what only the whole can tell. No decision about a key is made here: that is
 * the table's (keys.c), its values' (value.c) and the sources'. */
#include "config/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/duration.h"
#include "config/environment.h"
#include "config/errors.h"
#include "config/file.h"
#include "config/keys.h"
#include "config/print.h"
#include "config/targets.h"
#include "config/value.h"
#include "config/wait_for.h"

static void apply_defaults(struct config *config)
{
    struct error error;
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        value_set(config, &keys[i], keys[i].fallback, &error);
}

/* The last of several counts; those of a map come together (-e 143 -e 130). */
static void apply_option(struct config *config, const struct config_option *option, struct config_errors *errors)
{
    struct error error;
    const struct key *key = key_find(option->key);
    if (!key) {
        config_errors_add(errors, "%s: sets the unknown key %s", option->written, option->key);
        return;
    }
    bool again = config->origins[key - keys].source == FROM_OPTION;
    if ((again ? value_set_more : value_set)(config, key, option->value, &error) == -1)
        config_errors_add(errors, "%.*s: %s", (int)strcspn(option->written, "="), option->written, error.text);
    config->origins[key - keys] = (struct config_origin){.source = FROM_OPTION, .written = option->written};
}

/* "<host name>", and as not PID 1 (several may run on one host) "-<pid>" behind it. */
static void name_instance(struct config *config)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    char host[65] = "";
    if (*config->instance)
        return;
    if (gethostname(host, sizeof host - 1) == -1 || *host == '\0')
        strcpy(host, "localhost");
    for (char *at = host + strspn(host, letters); *at; at += strspn(at, letters))
        *at = '-';
    if (*host == '.' || *host == '-')
        *host = '_';
    if (getpid() == 1)
        snprintf(config->instance, sizeof config->instance, "%.54s", host);
    else
        snprintf(config->instance, sizeof config->instance, "%.40s-%ld", host, (long)getpid());
}

static bool is_default(const struct config *config, const char *key)
{
    return config->origins[key_find(key) - keys].source == FROM_DEFAULT;
}

static void check_backoff(const struct config *config, struct config_errors *errors)
{
    char first[32], longest[32], where[320];
    struct text first_text = text_in(first, sizeof first), longest_text = text_in(longest, sizeof longest);
    struct text where_text = text_in(where, sizeof where);
    if (config->restart_backoff_us <= config->restart_backoff_max_us)
        return;
    duration_format(config->restart_backoff_us, &first_text);
    duration_format(config->restart_backoff_max_us, &longest_text);
    bool first_is_default = is_default(config, "restart.backoff");
    print_origin(config, key_find(first_is_default ? "restart.backoff_max" : "restart.backoff"), &where_text);
    config_errors_add(errors, "%s: restart.backoff: %s is longer than restart.backoff_max, which is %s", where, first,
                      longest);
}

/* By its default name an instance is the host's, or one of many: the sessions of a neighbour would be ended, too. */
static void check_predecessor(const struct config *config, bool named, struct config_errors *errors)
{
    char where[320];
    struct text where_text = text_in(where, sizeof where);
    if (!config->sweep_predecessor || named)
        return;
    print_origin(config, key_find("sweep.predecessor"), &where_text);
    config_errors_add(errors, "%s: sweep.predecessor: needs `instance`, a name that no other app on this host has: the "
                      "default, %s, may be a neighbour's, too", where, config->instance);
}

/* The place is that of the key which was changed. */
static void check_settle(const struct config *config, struct config_errors *errors)
{
    char settle[32], grace[32], where[320];
    struct text settle_text = text_in(settle, sizeof settle), grace_text = text_in(grace, sizeof grace);
    struct text where_text = text_in(where, sizeof where);
    if (config->stop_settle_us < config->grace_period_us)
        return;
    duration_format(config->stop_settle_us, &settle_text);
    duration_format(config->grace_period_us, &grace_text);
    print_origin(config, key_find(is_default(config, "stop.settle") ? "grace_period" : "stop.settle"), &where_text);
    config_errors_add(errors, "%s: stop.settle: %s does not fit into grace_period, which is %s", where, settle, grace);
}

static void tell_sequence(const struct config *config, struct config_errors *errors, const char *story)
{
    char where[320];
    struct text text = text_in(where, sizeof where);
    print_origin(config, key_find("stop.sequence"), &text);
    config_errors_add(errors, "%s: stop.sequence: %s", where, story);
}

/* How late a signal may come only the division of the grace can tell: supervisor/preflight.c. */
static void check_sequence(const struct config *config, struct config_errors *errors)
{
    const struct config_sequence *sequence = &config->stop_sequence;
    bool first = sequence->count > 0 && sequence->list[0].after_us == 0;
    if (first && config->stop_signal && config->stop_signal != sequence->list[0].signo)
        tell_sequence(config, errors, "its signal at 0s is not that of stop.signal: leave one of them out");
    if (sequence->count > 0 && config->stop_end == END_KILL && config->stop_order == ORDER_DRAIN_FIRST)
        tell_sequence(config, errors, "with stop.end: kill the app gets no signal but SIGKILL: leave one of them out");
}

/* What no single key can tell. */
static void check_together(const struct config *config, bool named, struct config_errors *errors)
{
    check_settle(config, errors);
    check_sequence(config, errors);
    check_backoff(config, errors);
    check_predecessor(config, named, errors);
}

int config_load(struct config *config, const struct config_option *options, size_t option_count,
                struct config_errors *errors)
{
    memset(config, 0, sizeof *config);
    errors->count = 0;
    apply_defaults(config);
    for (size_t i = 0; i < option_count; i++)
        apply_option(config, &options[i], errors);
    environment_apply(config, errors);
    log_set_level(config->log_level);
    if (*config->file)
        file_load(config, errors);
    log_set_level(config->log_level);
    environment_warn_unknown();
    if (!config->targets_in_file)
        targets_take_environment(config, errors);
    bool named = *config->instance != '\0';
    name_instance(config);
    if (errors->count == 0)
        check_together(config, named, errors);
    if (errors->count == 0)
        wait_for_check(config, errors);
    return errors->count > 0 ? -1 : 0;
}
