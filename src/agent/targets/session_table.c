/* A table of sessions: see agent/targets/session_table.h. */
#include "agent/targets/session_table.h"

#include <stdlib.h>
#include <string.h>

static int session_table_grow(struct session_table *table)
{
    size_t room = table->room ? table->room * 2 : 64;
    struct session *rows = reallocarray(table->rows, room, sizeof *rows);
    if (!rows)
        return -1;
    table->rows = rows;
    table->room = room;
    return 0;
}

struct session *session_table_add(struct session_table *table)
{
    if (table->count == table->room && session_table_grow(table) < 0)
        return NULL;
    struct session *row = &table->rows[table->count++];
    memset(row, 0, sizeof *row);
    row->tls = 255;
    row->waits_for_client = 255;
    row->state = SESSION_UNKNOWN;
    row->state_age_us = row->transaction_age_us = -1;
    return row;
}

void session_table_clear(struct session_table *table)
{
    table->count = 0;
}

void session_table_finish(struct session_table *table)
{
    free(table->rows);
    *table = (struct session_table){0};
}

void session_copy_text(char *at, size_t size, const char *from, size_t length)
{
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(at, from, length);
    memset(at + length, 0, size - length);
}
