/* What a probe asks a server besides its sessions, and what an answer to it means. Pure; nothing here changes anything
 * on a server, whatever its answer is. */
#ifndef AGENT_PROBE_QUESTIONS_H
#define AGENT_PROBE_QUESTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/message.h"

struct probe_question {
    enum target_kind kind;
    enum found_what what;
    const char *command; /* as target_say() wants it */
    /* From `said` (see target_say()) to the answer; writes what is told with it into `text`, an empty one. */
    enum found_answer (*judge)(bool ok, const char *said, char *text, size_t size);
};

/* The question to a target of that kind that comes after `from` (NULL: the first one), or NULL. */
const struct probe_question *probe_question_next(enum target_kind kind, const struct probe_question *from);

#endif
