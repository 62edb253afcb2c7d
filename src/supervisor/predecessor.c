/* What one before the app has left on the servers: a life of ours, or a lastcall of the same instance that is gone. The
 * agent finds and ends it; here it is asked for, with each life, and what came of it is kept for the report. */
#include "common/log.h"
#include "common/text.h"
#include "supervisor/state.h"

void predecessor_begin(struct supervisor *s)
{
    s->record.predecessor = (struct record_predecessor){.asked = s->config->sweep_predecessor};
    predecessor_ask(s);
}

static bool is_answered(const struct supervisor *s)
{
    for (size_t i = 0; i < s->config->target_count; i++)
        if (!s->record.predecessor.targets[i].told)
            return false;
    return true;
}

/* An agent that was lost on the way has answered for some targets: they are asked again, and have nothing more. */
void predecessor_ask(struct supervisor *s)
{
    if (!s->record.predecessor.asked || !s->keeper || !agent_keeper_is_up(s->keeper) || is_answered(s))
        return;
    if (agent_keeper_predecessor(s->keeper, ++s->predecessor_request, s->app_started_us) < 0)
        log_debug("the agent could not be told of the predecessor: %m");
}

static void say(const char *target, const struct message_predecessor_ended *ended)
{
    if (!ended->known)
        log_warning("predecessor: %s: not known what it left there: %s", target, ended->why);
    else if (ended->left)
        log_warning("predecessor: %s: %u sessions ended, %u still there: %s", target, ended->ended, ended->left,
                    ended->why);
    else
        log_info("predecessor: %s: %u session%s ended", target, ended->ended, ended->ended == 1 ? "" : "s");
}

void predecessor_ended(void *supervisor, const struct message_predecessor_ended *ended)
{
    struct supervisor *s = supervisor;
    struct record_predecessor *predecessor = &s->record.predecessor;
    if (ended->request != s->predecessor_request)
        return;
    predecessor->targets[ended->target].told = true;
    predecessor->targets[ended->target].known = ended->known;
    text_copy(predecessor->targets[ended->target].why, sizeof predecessor->targets[ended->target].why, ended->why);
    predecessor->ended += ended->ended;
    predecessor->still_there += ended->left;
    say(s->config->targets[ended->target].name, ended);
}
