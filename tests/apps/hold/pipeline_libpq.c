/* LANES threads, each with a libpq connection in pipeline mode that keeps DEPTH (4) autocommit INSERTs under way at all
 * times: as soon as one is answered, the next is sent. No SIGTERM handler. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lane.h"

enum { LANES_MAX = 64 };
static int depth;

static void name_of(char *id, size_t room, int lane, long number)
{
    snprintf(id, room, "%d.%d.%ld", getpid(), lane, number);
}

static bool send_one(PGconn *pg, int lane, long number)
{
    char id[64];
    name_of(id, sizeof id, lane, number);
    lane_say("I %s", id);
    const char *insert = "INSERT INTO work(id) SELECT $1 FROM pg_sleep(0.002)";
    bool sent = PQsendQueryParams(pg, insert, 1, NULL, (const char *const[]){id}, NULL, NULL, 0) == 1 &&
                PQpipelineSync(pg) == 1 && PQflush(pg) >= 0;
    if (!sent)
        lane_see_error(id, PQerrorMessage(pg));
    return sent;
}

/* The INSERT's result, the NULL after it, the sync's. */
static bool read_one(PGconn *pg, int lane, long number)
{
    char id[64];
    name_of(id, sizeof id, lane, number);
    PGresult *result = PQgetResult(pg);
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    PQclear(PQgetResult(pg));
    PGresult *synced = PQgetResult(pg);
    good = good && PQresultStatus(synced) == PGRES_PIPELINE_SYNC;
    PQclear(synced);
    if (good)
        lane_say("C %s", id);
    else
        lane_see_error(id, PQerrorMessage(pg));
    return good;
}

static void *work(void *argument)
{
    int lane = (int)(intptr_t)argument;
    PGconn *pg = lane_connect();
    if (!PQenterPipelineMode(pg))
        lane_die("pipeline", PQerrorMessage(pg));
    long sent = 0, answered = 0;
    for (;;) {
        for (; sent - answered < depth; sent++) {
            if (!send_one(pg, lane, sent))
                return NULL;
        }
        if (!read_one(pg, lane, answered++))
            return NULL;
    }
}

int main(void)
{
    static pthread_t threads[LANES_MAX];
    int lanes = (int)lane_setting("LANES", 8);
    depth = (int)lane_setting("DEPTH", 4);
    lane_open_journal();
    for (int lane = 0; lane < lanes; lane++)
        pthread_create(&threads[lane], NULL, work, (void *)(intptr_t)lane);
    lane_say("O ready %d", getpid());
    for (int lane = 0; lane < lanes; lane++)
        pthread_join(threads[lane], NULL);
    pause();
    return 0;
}
