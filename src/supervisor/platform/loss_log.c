/* Which losses are said, on the caller's clock. No I/O: the caller says them. */
#include "supervisor/platform/loss_log.h"

#include <string.h>

#include "common/clock.h"
#include "common/text.h"

#define PAUSE_FIRST_US (10 * US_PER_SECOND)
#define PAUSE_LAST_US (600 * US_PER_SECOND)

static struct loss_reason *find(struct loss_log *log, const char *reason)
{
    for (size_t i = 0; i < LOSS_REASONS; i++)
        if (strncmp(log->list[i].text, reason, LOSS_REASON - 1) == 0)
            return &log->list[i];
    return NULL;
}

/* A free one, else the one that was not seen for longest. */
static struct loss_reason *least_recent(struct loss_log *log)
{
    struct loss_reason *least = &log->list[0];
    for (size_t i = 1; i < LOSS_REASONS; i++)
        if (log->list[i].seen_us < least->seen_us)
            least = &log->list[i];
    return least;
}

static bool is_forgotten(const struct loss_reason *reason, int64_t now_us)
{
    return now_us - reason->seen_us >= PAUSE_LAST_US;
}

static void note_new(struct loss_reason *reason, const char *text, int64_t now_us)
{
    *reason = (struct loss_reason){.said_us = now_us, .seen_us = now_us, .pause_us = PAUSE_FIRST_US};
    text_copy(reason->text, sizeof reason->text, text);
}

bool loss_log_may_say(struct loss_log *log, const char *text, int64_t now_us, unsigned *unsaid)
{
    struct loss_reason *reason = find(log, text);
    *unsaid = 0;
    if (!reason || is_forgotten(reason, now_us)) {
        note_new(reason ? reason : least_recent(log), text, now_us);
        return true;
    }
    reason->seen_us = now_us;
    if (now_us - reason->said_us < reason->pause_us) {
        reason->unsaid++;
        return false;
    }
    *unsaid = reason->unsaid;
    reason->unsaid = 0;
    reason->said_us = now_us;
    reason->pause_us = reason->pause_us * 2 < PAUSE_LAST_US ? reason->pause_us * 2 : PAUSE_LAST_US;
    return true;
}
