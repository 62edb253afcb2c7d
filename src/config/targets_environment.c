/* DATABASE_URL, its direct companion and REDIS_URL, each also as NAME_FILE: what an app's environment says by itself.
 * They were not written for lastcall, so another database's URL is a warning; a broken one of ours is an error. */
#include <stdlib.h>
#include <string.h>

#include "common/fd.h"
#include "common/log.h"
#include "config/errors.h"
#include "config/source.h"
#include "config/targets.h"

/* A variable that was found. */
struct found {
    char *url;        /* heap; NULL: not set, or an error was told */
    char written[64]; /* the name it came from */
};

static const char *get_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int fetch(struct found *found, const char *name, struct config_errors *errors)
{
    struct error error;
    char file_name[64];
    struct text text = text_in(file_name, sizeof file_name);
    text_add(&text, "%s_FILE", name);
    const char *value = get_set(name), *path = get_set(file_name);
    if (value && path)
        return config_errors_add(errors, "%s and %s are both set: keep one", name, file_name);
    text_copy(found->written, sizeof found->written, path ? file_name : name);
    if (path)
        found->url = source_read_secret(path, &error);
    else if (value)
        found->url = strdup(value);
    if (path && !found->url)
        return config_errors_add(errors, "%s: %.200s %.200s", file_name, path, error.text);
    return 0;
}

static bool is_redis(enum target_kind kind)
{
    return kind == TARGET_REDIS;
}

/* Makes a target of what was found. NULL: none, an error or a warning was told. */
static struct config_target *make(struct config *config, const struct found *found, const char *name, bool redis,
                                  struct config_errors *errors)
{
    struct url_target url;
    struct error error;
    if (!found->url)
        return NULL;
    enum url_verdict verdict = url_read(&url, found->url, &error);
    if (verdict == URL_OK && is_redis(url.kind) != redis) {
        verdict = URL_FOREIGN;
        error_set(&error, "column 1: this is a URL of %s", redis ? "PostgreSQL" : "Redis");
    }
    if (verdict == URL_FOREIGN)
        log_warning("%s, %s: lastcall goes without this target", found->written, error.text);
    if (verdict == URL_BROKEN)
        config_errors_add(errors, "%s, %s", found->written, error.text);
    struct config_target *target = verdict == URL_OK ? targets_add(config, name, found->written) : NULL;
    if (target)
        targets_apply_url(target, &url);
    return target;
}

static bool is_same_param(const struct config_target *a, const struct config_target *b, const char *keyword)
{
    const char *x = url_param(a->params, keyword), *y = url_param(b->params, keyword);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool is_same_server(const struct config_target *a, const struct config_target *b)
{
    return is_same_param(a, b, "host") && is_same_param(a, b, "hostaddr") && is_same_param(a, b, "port");
}

/* The first of the names that is set. */
static int fetch_direct(struct found *found, struct config_errors *errors)
{
    static const char *const names[] = {"DATABASE_URL_DIRECT", "DIRECT_URL", "DIRECT_DATABASE_URL",
                                        "DATABASE_URL_UNPOOLED"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !found->url; i++)
        if (fetch(found, names[i], errors) == -1)
            return -1;
    return 0;
}

/* Beside a pooler's URL the direct one is there to look through. One that leads to the very same place is no second
 * target (Prisma wants both to be set). */
static void take_direct(struct config *config, struct config_target *database, struct config_errors *errors)
{
    struct found found = {0};
    fetch_direct(&found, errors);
    struct config_target *direct = make(config, &found, "direct", false, errors);
    free(found.url);
    if (!direct || !database)
        return;
    if (is_same_server(direct, database)) {
        log_debug("%s leads to the same server as %s: one target", direct->origin, database->origin);
        config->target_count--;
        return;
    }
    direct->look_only = true;
    /* A database that is a pooler, or may turn out to be one. */
    if (database->kind != TARGET_REDIS && direct->kind == TARGET_POSTGRES)
        database->server = (int)(direct - config->targets);
}

void targets_take_environment(struct config *config, struct config_errors *errors)
{
    struct found database = {0}, redis = {0};
    fetch(&database, "DATABASE_URL", errors);
    take_direct(config, make(config, &database, "database", false, errors), errors);
    fetch(&redis, "REDIS_URL", errors);
    make(config, &redis, "redis", true, errors);
    free(database.url);
    free(redis.url);
}
