/* `lastcall doctor`: what works here of all that a stop needs, what follows where it does not, and the line that mends
 * it. Tries on processes of its own only; changes nothing on a server; prints no password; ends within 5 s. */
#include "cli/doctor.h"

#include <limits.h>
#include <stdarg.h>
#include <sys/param.h>

#include "cli/options.h"
#include "cli/verbs.h"
#include "common/text.h"
#include "config/errors.h"
#include "supervisor/platform/agent_program.h"
#include "supervisor/supervisor.h"

struct doctor_row *doctor_add(struct doctor *doctor, enum doctor_verdict verdict, const char *what, const char *target,
                              const char *format, ...)
{
    va_list arguments;
    doctor->count = MIN(doctor->count + 1, (size_t)DOCTOR_ROWS);
    struct doctor_row *row = &doctor->rows[doctor->count - 1];
    *row = (struct doctor_row){.verdict = verdict, .needed = true};
    text_copy(row->what, sizeof row->what, what);
    text_copy(row->target, sizeof row->target, target);
    va_start(arguments, format);
    vsnprintf(row->detail, sizeof row->detail, format, arguments);
    va_end(arguments);
    return row;
}

void doctor_cure(struct doctor_row *row, const char *where, const char *format, ...)
{
    va_list arguments;
    if (row->cure_count == DOCTOR_CURES)
        return;
    struct doctor_cure *cure = &row->cures[row->cure_count++];
    text_copy(cure->where, sizeof cure->where, where);
    va_start(arguments, format);
    vsnprintf(cure->line, sizeof cure->line, format, arguments);
    va_end(arguments);
}

bool doctor_is_well(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->count; i++)
        if (doctor->rows[i].needed && doctor->rows[i].verdict >= DOCTOR_NO)
            return false;
    return true;
}

static void add_missing(void *context, const char *key, const char *what)
{
    doctor_add(context, DOCTOR_NO, key ? key : "agent", "", "%s", what);
}

static void examine_servers(struct doctor *doctor, const struct config *config, const char *agent)
{
    static struct doctor_facts facts;
    struct error error = {""};
    bool needed = config->target_count > 0;
    if (doctor_ask_agent(agent, config, &facts, &error) == -1)
        doctor_add(doctor, DOCTOR_UNKNOWN, "agent", "", "%s", error.text)->needed = needed;
    doctor_judge_sockets(doctor, &facts, needed);
    doctor_judge_targets(doctor, config, &facts);
}

/* In this order: supervisor_check() becomes the user, and all that follows is tried as that user. The agent is looked
 * for before, since /proc/self/exe may not be readable after it. */
static void examine(struct doctor *doctor, const struct config *config)
{
    char agent[PATH_MAX];
    if (agent_program_find(agent, sizeof agent) == -1)
        text_copy(agent, sizeof agent, "lastcall-agent");
    supervisor_check(config, add_missing, doctor);
    doctor_look_around(doctor);
    doctor_try_here(doctor, config);
    doctor_try_user(doctor);
    doctor_judge_grace(doctor, config->grace_period_us);
    examine_servers(doctor, config, agent);
}

static void print_errors(const struct config_errors *errors)
{
    size_t room = sizeof errors->list / sizeof *errors->list;
    for (size_t i = 0; i < MIN(errors->count, room); i++)
        fprintf(stderr, "lastcall: %s\n", errors->list[i].text);
    if (errors->count > room)
        fprintf(stderr, "lastcall: ... and %zu more\n", errors->count - room);
}

int verb_doctor(int argc, char **argv)
{
    static struct options options;
    static struct config config;
    static struct config_errors errors;
    static struct doctor doctor;
    if (!options_parse(&options, VERB_DOCTOR, argc, argv))
        return options.exit_code;
    bool loaded = config_load(&config, options.config, options.config_count, &errors) == 0;
    if (config.log_level < LOG_LEVEL_DEBUG)
        config.log_level = LOG_LEVEL_ERROR; /* what goes wrong is told by the rows, here and in the agent */
    log_set_level(config.log_level);
    if (loaded)
        examine(&doctor, &config);
    else if (!options.json)
        print_errors(&errors);
    int printed = options.json ? doctor_print_json(&doctor, &errors, stdout) : doctor_print_text(&doctor, stdout);
    return loaded && printed == 0 && doctor_is_well(&doctor) ? 0 : 1;
}
