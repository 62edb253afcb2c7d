/* Any bytes as Redis' CLIENT LIST, whole and as one line: nothing is read past them, texts end, and what is not said is
 * not made up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/targets/redis_client_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(_Bool holds)
{
    if (!holds)
        abort();
}

static void check_session(const struct session *session, bool want_text)
{
    require(memchr(session->application_name, 0, sizeof session->application_name) != NULL);
    require(memchr(session->query, 0, sizeof session->query) != NULL);
    require(want_text || !*session->query);
    require(session->state < SESSION_REPLICATION + 1 && session->state != SESSION_ABSENT);
    require(session->client.family <= ENDPOINT_UNIX && session->client.reserved == 0);
    require(session->state_age_us >= -1 && session->transaction_age_us == -1 && session->tls == 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int want_text = 0; want_text < 2; want_text++) {
        struct session_table table = {0};
        long clients = redis_read_client_list(&table, (const char *)data, size, want_text);
        require(clients < 0 || (size_t)clients == table.count);
        for (size_t i = 0; i < table.count; i++)
            check_session(&table.rows[i], want_text);
        session_table_clear(&table);
        struct session *session = session_table_add(&table);
        if (session) {
            (void)redis_read_client(session, (const char *)data, size, want_text);
            check_session(session, want_text);
        }
        session_table_finish(&table);
    }
    return 0;
}
