/* The table of a probe's questions: see agent/probe_questions.h. A row must never change anything on a server: what may
 * be done is asked, or tried on what cannot be there. */
#include "agent/probe_questions.h"

#include <string.h>

#include "common/text.h"

static enum found_answer not_told(const char *said, char *text, size_t size)
{
    text_copy(text, size, said);
    return FOUND_UNKNOWN;
}

/* "yes NAME", "no NAME". */
static enum found_answer judge_word(bool ok, const char *said, char *text, size_t size)
{
    bool yes = strncmp(said, "yes", 3) == 0, no = strncmp(said, "no", 2) == 0;
    if (!ok || (!yes && !no))
        return not_told(said, text, size);
    const char *rest = said + (yes ? 3 : 2);
    text_copy(text, size, rest + (*rest == ' '));
    return yes ? FOUND_YES : FOUND_NO;
}

static enum found_answer judge_name(bool ok, const char *said, char *text, size_t size)
{
    text_copy(text, size, said);
    return ok && *said ? FOUND_YES : FOUND_UNKNOWN;
}

/* "# Server\x0d\x0aredis_version:7.0.15\x0d\x0a…", escaped as all that comes from a server. */
static enum found_answer judge_redis_version(bool ok, const char *said, char *text, size_t size)
{
    static const char key[] = "redis_version:";
    const char *at = ok ? strstr(said, key) : NULL;
    struct text name = text_in(text, size);
    if (!at)
        return not_told(said, text, size);
    at += sizeof key - 1;
    text_add(&name, "Redis %.*s", (int)strcspn(at, "\\ "), at);
    return FOUND_YES;
}

/* An admin's try fails because there is no such setting; another one's because he is none. */
static enum found_answer judge_admin(bool ok, const char *said, char *text, size_t size)
{
    if (strstr(said, "admin access"))
        return FOUND_NO;
    return ok || strstr(said, "SET failed") ? FOUND_YES : not_told(said, text, size);
}

static enum found_answer judge_kill(bool ok, const char *said, char *text, size_t size)
{
    if (!ok && strncmp(said, "NOPERM", 6) == 0)
        return FOUND_NO;
    return ok ? FOUND_YES : not_told(said, text, size);
}

#define HAS_ROLE(role)                                                                                                \
    "SELECT CASE WHEN pg_catalog.pg_has_role('" role "', 'USAGE') THEN 'yes ' ELSE 'no ' END"                        \
    " || pg_catalog.quote_ident(current_user)"

static const struct probe_question questions[] = {
    {TARGET_POSTGRES, FOUND_VERSION,
     "SELECT 'PostgreSQL ' || pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1)", judge_name},
    {TARGET_POSTGRES, FOUND_TRACKS,
     "SELECT CASE WHEN pg_catalog.current_setting('track_activities')::bool THEN 'yes ' ELSE 'no ' END"
     " || pg_catalog.quote_ident(current_user)", judge_word},
    {TARGET_POSTGRES, FOUND_SEES_OTHERS, HAS_ROLE("pg_read_all_stats"), judge_word},
    {TARGET_POSTGRES, FOUND_ENDS_OTHERS, HAS_ROLE("pg_signal_backend"), judge_word},
    {TARGET_PGBOUNCER, FOUND_VERSION, "SHOW VERSION", judge_name},
    {TARGET_PGBOUNCER, FOUND_ENDS_OTHERS, "SET lastcall_there_is_no_such_setting = '0'", judge_admin},
    {TARGET_REDIS, FOUND_VERSION, "INFO server", judge_redis_version},
    /* The last number there is: never a client's. Not 0: that was "any client" before Redis 7. */
    {TARGET_REDIS, FOUND_ENDS_OTHERS, "CLIENT KILL ID 9223372036854775807", judge_kill},
};

const struct probe_question *probe_question_next(enum target_kind kind, const struct probe_question *from)
{
    const struct probe_question *end = questions + sizeof questions / sizeof *questions;
    for (from = from ? from + 1 : questions; from < end; from++)
        if (from->kind == kind)
            return from;
    return NULL;
}
