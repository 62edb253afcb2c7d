/* A growing table of sessions, used again for each question. */
#ifndef AGENT_TARGETS_SESSION_TABLE_H
#define AGENT_TARGETS_SESSION_TABLE_H

#include <stddef.h>

#include "agent/targets/target.h"

struct session_table {
    struct session *rows; /* heap */
    size_t count, room;
};

/* A new row in which nothing is known: state unknown, no client, ages -1, tls 255. NULL and errno ENOMEM. The row moves
 * with the next call. */
struct session *session_table_add(struct session_table *table);
void session_table_clear(struct session_table *table);  /* keeps the memory */
void session_table_finish(struct session_table *table);

/* Copies text from a server into a fixed array; what does not fit is cut before the character that does not. */
void session_copy_text(char *at, size_t size, const char *from, size_t length);

#endif
