/* What the agent found, made into rows. Pure: no I/O. A right that is missing is a "no" only where the promise hangs on
 * it: the app's own role is enough for the app's own sessions. */
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "common/text.h"
#include "config/url.h"

struct patient {
    struct doctor *doctor;
    const struct config *config;
    const struct doctor_facts *facts;
    size_t index;
    const struct config_target *target;
    enum target_kind kind; /* what it turned out to be */
};

static struct message_found fact_of(const struct doctor_facts *facts, size_t index, enum found_what what)
{
    const struct message_found nothing = {.answer = FOUND_UNKNOWN, .took_us = -1, .text = "not answered in time"};
    return facts->of[index][what].found ? facts->of[index][what].message : nothing;
}

static struct message_found fact(const struct patient *p, enum found_what what)
{
    return fact_of(p->facts, p->index, what);
}

static void so(struct doctor_row *row, const char *consequence)
{
    text_copy(row->consequence, sizeof row->consequence, consequence);
}

/* The user of the URL, fit to be shown. */
static const char *user_of(const struct config_target *target, const char *otherwise)
{
    static char shown[256];
    const char *user = url_param(target->params, "user");
    struct text text = text_in(shown, sizeof shown);
    if (!user)
        return otherwise;
    text_add_escaped(&text, user, strlen(user));
    return shown;
}

static struct doctor_row *not_known(const struct patient *p, const char *what, const struct message_found *found)
{
    return doctor_add(p->doctor, DOCTOR_UNKNOWN, what, p->target->name, "%s", *found->text ? found->text : "not told");
}

/* ---- sockets ---- */

void doctor_judge_sockets(struct doctor *doctor, const struct doctor_facts *facts, bool needed)
{
    static const struct doctor_remedy remedy = {
        .systemd = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"};
    struct message_found found = fact_of(facts, WIRE_TARGETS, FOUND_SOCKETS);
    struct doctor_row *row;
    if (found.answer == FOUND_UNKNOWN)
        row = doctor_add(doctor, DOCTOR_UNKNOWN, "sockets", "", "%s", found.text);
    else if (found.answer == FOUND_YES)
        row = doctor_add(doctor, DOCTOR_YES, "sockets", "", "%s", found.text);
    else
        row = doctor_add(doctor, DOCTOR_NO, "sockets", "", "sock_diag is refused%s%s", *found.text ? "; seen by " : "",
                         found.text);
    row->needed = needed;
    if (found.answer != FOUND_NO)
        return;
    so(row, *found.text ? "what is on its way is not seen, so that nothing can be held"
                        : "no connection is seen, so that a stop is a signal and a deadline");
    doctor_prescribe(doctor, row, &remedy);
}

/* ---- reach ---- */

/* What servers say, and the line that mends it: %s is the user. No `where`: where the URL came from. */
static const struct ailment {
    const char *says, *where, *line;
} ailments[] = {
    {"not allowed", "pgbouncer.ini", "stats_users = %s"},
    {"no pg_hba.conf entry", "pg_hba.conf",
     "host all %s samenet scram-sha-256   (hostssl for TLS; then: SELECT pg_reload_conf();)"},
    {"NOPERM", "redis-cli",
     "ACL SETUSER %s +ping +client|list +client|id +client|setname +client|kill +info +config|get"},
    {"permission denied", "SQL", "GRANT pg_monitor TO \"%s\";"},
    {"authentication failed", NULL, "its user or password is not the server's: user %s"},
    {"WRONGPASS", NULL, "its user or password is not the server's: user %s"},
    {"NOAUTH", NULL, "redis://:PASSWORD@HOST/"},
};

static void cure_reach(const struct patient *p, struct doctor_row *row)
{
    for (size_t i = 0; i < sizeof ailments / sizeof *ailments; i++) {
        const struct ailment *ailment = &ailments[i];
        const char *user = user_of(p->target, p->target->kind == TARGET_REDIS ? "default" : "USER");
        char *slot = strstr(ailment->line, "%s");
        if (!strstr(row->detail, ailment->says))
            continue;
        int head = (int)(slot ? slot - ailment->line : (long)strlen(ailment->line));
        doctor_cure(row, ailment->where ? ailment->where : p->target->origin, "%.*s%s%s", head, ailment->line,
                    slot ? user : "", slot ? slot + 2 : "");
        return;
    }
    doctor_cure(row, p->target->origin, "%s", "this URL must lead to the server that the app uses, from here");
}

static bool judge_reach(struct patient *p)
{
    char took[32];
    struct text text = text_in(took, sizeof took);
    struct message_found found = fact(p, FOUND_REACHED), version = fact(p, FOUND_VERSION);
    if (found.answer == FOUND_YES) {
        bool named = version.answer == FOUND_YES && *version.text;
        text_add_duration(&text, found.took_us);
        doctor_add(p->doctor, DOCTOR_YES, "reach", p->target->name, "%s answers in %s",
                   named ? version.text : target_kind_name(p->kind), took);
        return true;
    }
    struct doctor_row *row = found.answer == FOUND_UNKNOWN
                                 ? not_known(p, "reach", &found)
                                 : doctor_add(p->doctor, DOCTOR_NO, "reach", p->target->name, "%s", found.text);
    so(row, "the states of its sessions are unknown, and a stop of an app that uses it waits until its deadline");
    if (found.answer == FOUND_NO)
        cure_reach(p, row);
    doctor_add(p->doctor, DOCTOR_UNKNOWN, "rights", p->target->name, "it was not reached");
    return false;
}

/* ---- what is between ---- */

static void judge_pooler(struct patient *p)
{
    bool found = p->target->kind != TARGET_PGBOUNCER;
    const char *how = found ? "a PgBouncer behind a plain URL" : "a PgBouncer";
    if (p->kind != TARGET_PGBOUNCER)
        return;
    if (p->target->server >= 0) {
        doctor_add(p->doctor, DOCTOR_YES, "pooler", p->target->name, "%s, and %s leads to the server behind it", how,
                   p->config->targets[p->target->server].name);
        return;
    }
    struct doctor_row *row = doctor_add(p->doctor, DOCTOR_PART, "pooler", p->target->name,
                                        "%s, and no URL leads to the server behind it", how);
    so(row, "in session mode it is not known what a client's transaction does, and a stop waits until its deadline");
    if (p->config->targets_in_file)
        doctor_cure(row, p->config->file, "targets: %s: server: NAME-OF-THE-POSTGRES-TARGET", p->target->name);
    else
        doctor_cure(row, "environment", "DATABASE_URL_DIRECT=postgresql://%s:PASSWORD@POSTGRES-HOST:5432/DATABASE",
                    user_of(p->target, "USER"));
}

static void judge_addresses(struct patient *p)
{
    struct message_found found = fact(p, FOUND_UNCHANGED);
    if (found.answer == FOUND_YES) {
        doctor_add(p->doctor, DOCTOR_YES, "addresses", p->target->name, "the same at both ends");
    } else if (found.answer == FOUND_UNKNOWN) {
        not_known(p, "addresses", &found)->needed = false;
    } else {
        struct doctor_row *row = doctor_add(p->doctor, DOCTOR_PART, "addresses", p->target->name, "changed on the way");
        bool redis = p->target->kind == TARGET_REDIS;
        so(row, "sessions are told by the app's name and by what moves together: a stop takes a moment longer");
        doctor_cure(row, redis ? "app" : "environment", "%s",
                    redis ? "CLIENT SETNAME with the value of PGAPPNAME, which lastcall sets"
                          : "unset PGAPPNAME, and no application_name in the app's URL: lastcall names it");
    }
}

/* ---- rights ---- */

static enum target_kind kind_of(const struct config *config, const struct doctor_facts *facts, size_t index)
{
    enum target_kind found = fact_of(facts, index, FOUND_REACHED).kind;
    return found ? found : config->targets[index].kind;
}

/* Must it see and end other roles' sessions? Behind a pooler whose clients log in as somebody else. */
static bool needs_others(const struct patient *p)
{
    const char *user = url_param(p->target->params, "user");
    for (size_t i = 0; i < p->config->target_count; i++) {
        const struct config_target *pooler = &p->config->targets[i];
        const char *login = url_param(pooler->params, "user");
        bool before = pooler->server == (int)p->index && kind_of(p->config, p->facts, i) == TARGET_PGBOUNCER;
        if (before && !(user && login && strcmp(user, login) == 0))
            return true;
    }
    return false;
}

/* A right of PostgreSQL's that a predefined role gives. */
struct grant {
    const char *what, *verb, *role, *consequence;
    enum found_what fact;
};

static void judge_grant(struct patient *p, const struct grant *grant)
{
    struct message_found found = fact(p, grant->fact);
    bool needed = needs_others(p);
    if (found.answer == FOUND_UNKNOWN) {
        not_known(p, grant->what, &found);
    } else if (found.answer == FOUND_YES) {
        doctor_add(p->doctor, DOCTOR_YES, grant->what, p->target->name, "%s %s every role's sessions", found.text,
                   grant->verb);
    } else {
        struct doctor_row *row =
            doctor_add(p->doctor, needed ? DOCTOR_NO : DOCTOR_YES, grant->what, p->target->name,
                       "%s %s its own sessions%s", found.text, grant->verb,
                       needed ? ", and the pooler's role is another one" : "; another role's not");
        if (!needed)
            return;
        so(row, grant->consequence);
        doctor_cure(row, "SQL", "GRANT %s TO %s;", grant->role, found.text);
    }
}

static void judge_tracking(struct patient *p)
{
    struct message_found found = fact(p, FOUND_TRACKS);
    if (found.answer != FOUND_NO)
        return;
    struct doctor_row *row = doctor_add(p->doctor, DOCTOR_PART, "tracking", p->target->name, "track_activities is off");
    so(row, "only locks tell who is in a transaction, and the report has no query texts");
    doctor_cure(row, "SQL", "ALTER ROLE %s SET track_activities = on;", found.text);
}

static void judge_postgres(struct patient *p)
{
    static const struct grant see = {"see", "sees", "pg_read_all_stats", "the states of the app's sessions are "
                                     "unknown, and a stop waits until its deadline", FOUND_SEES_OTHERS};
    static const struct grant end = {"end", "may end", "pg_signal_backend", "what the app leaves open is not ended by "
                                     "command, and may stay as an orphan", FOUND_ENDS_OTHERS};
    judge_tracking(p);
    judge_grant(p, &see);
    judge_grant(p, &end);
}

/* "PgBouncer 1.24.0": from then on it has KILL_CLIENT as it is used here. */
static bool is_old_pgbouncer(const char *version)
{
    const char *digits = strpbrk(version, "0123456789");
    char *end = NULL;
    long major = digits ? strtol(digits, &end, 10) : 0;
    long minor = end && *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major < 1 || (major == 1 && minor < 24);
}

static void judge_pgbouncer(struct patient *p)
{
    struct message_found admin = fact(p, FOUND_ENDS_OTHERS), version = fact(p, FOUND_VERSION);
    bool old = version.answer == FOUND_YES && is_old_pgbouncer(version.text);
    doctor_add(p->doctor, DOCTOR_YES, "see", p->target->name, "the console shows all clients");
    if (admin.answer == FOUND_UNKNOWN || version.answer != FOUND_YES) {
        not_known(p, "end", admin.answer == FOUND_UNKNOWN ? &admin : &version)->needed = false;
        return;
    }
    if (admin.answer == FOUND_YES && !old) {
        doctor_add(p->doctor, DOCTOR_YES, "end", p->target->name, "an admin, and KILL_CLIENT is there");
        return;
    }
    struct doctor_row *row = doctor_add(p->doctor, DOCTOR_PART, "end", p->target->name, "%s%s%s",
                                        admin.answer == FOUND_NO ? "not an admin" : "",
                                        admin.answer == FOUND_NO && old ? "; " : "",
                                        old ? "no KILL_CLIENT before PgBouncer 1.24" : "");
    so(row, "a client that is left open is ended by its socket only");
    if (admin.answer == FOUND_NO)
        doctor_cure(row, "pgbouncer.ini", "admin_users = %s", user_of(p->target, "USER"));
    if (old)
        doctor_cure(row, "upgrade", "%s", "PgBouncer 1.24 or later");
}

static void judge_redis(struct patient *p)
{
    struct message_found kill = fact(p, FOUND_ENDS_OTHERS);
    doctor_add(p->doctor, DOCTOR_YES, "see", p->target->name, "CLIENT LIST is allowed");
    if (kill.answer == FOUND_UNKNOWN) {
        not_known(p, "end", &kill)->needed = false;
    } else if (kill.answer == FOUND_YES) {
        doctor_add(p->doctor, DOCTOR_YES, "end", p->target->name, "CLIENT KILL is allowed");
    } else {
        struct doctor_row *row =
            doctor_add(p->doctor, DOCTOR_PART, "end", p->target->name, "CLIENT KILL is not allowed");
        so(row, "a client that is left open is ended by its socket only");
        doctor_cure(row, "redis-cli", "ACL SETUSER %s +client|kill", user_of(p->target, "default"));
    }
}

void doctor_judge_targets(struct doctor *doctor, const struct config *config, const struct doctor_facts *facts)
{
    static void (*const rights[])(struct patient *) = {
        [TARGET_POSTGRES] = judge_postgres, [TARGET_PGBOUNCER] = judge_pgbouncer, [TARGET_REDIS] = judge_redis};
    if (config->target_count == 0) {
        struct doctor_row *row = doctor_add(doctor, DOCTOR_PART, "targets", "", "none: no connection is watched");
        so(row, "a stop waits for the requests of the app's own clients, then it is a signal and a deadline");
        doctor_cure(row, "environment", "%s",
                    "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE   (REDIS_URL, or targets: in a file)");
    }
    for (size_t i = 0; i < config->target_count; i++) {
        struct patient patient = {doctor, config, facts, i, &config->targets[i], kind_of(config, facts, i)};
        if (!judge_reach(&patient))
            continue;
        judge_pooler(&patient);
        judge_addresses(&patient);
        rights[patient.kind](&patient);
    }
}
