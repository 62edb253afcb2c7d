/* The configuration as the lifecycle understands it. */
#include "supervisor/state.h"

/* A signal at 0s is the stop signal itself. */
static void take_sequence(struct lifecycle_settings *settings, const struct config_sequence *sequence)
{
    _Static_assert((int)SEQUENCE_MOST == (int)LIFECYCLE_SEQUENCE_MOST, "room for each");
    for (unsigned i = 0; i < sequence->count; i++)
        if (sequence->list[i].after_us > 0)
            settings->sequence_us[settings->sequence_count++] = sequence->list[i].after_us;
}

static struct lifecycle_restart restart_of(const struct config *config)
{
    return (struct lifecycle_restart){.after_failure = config->restart_policy != RESTART_NEVER,
                                      .after_success = config->restart_policy == RESTART_ALWAYS,
                                      .backoff_us = config->restart_backoff_us,
                                      .backoff_max_us = config->restart_backoff_max_us,
                                      .window_us = config->restart_window_us, .limit = config->restart_limit};
}

struct lifecycle_settings supervisor_settings(const struct config *config)
{
    bool announces = hooks_has(config, HOOK_ANNOUNCE);
    struct lifecycle_settings settings = {.grace_us = config->grace_period_us - hooks_share_us(config),
                                          .settle_us = config->stop_settle_us,
                                          .announce_us = announces ? config->hooks[HOOK_ANNOUNCE].timeout_us : 0,
                                          .drain_hold_us = config->drain_hold_us,
                                          .has_targets = config->target_count > 0,
                                          .drains = config->stop_idle_us > 0,
                                          .signal_first = config->stop_order == ORDER_SIGNAL_FIRST,
                                          .end_by_kill = config->stop_end == END_KILL,
                                          .restart = restart_of(config)};
    take_sequence(&settings, &config->stop_sequence);
    return settings;
}
