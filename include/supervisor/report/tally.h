/* Counting a record: what the JSON and the human form both say is counted here, once. Pure. */
#ifndef SUPERVISOR_REPORT_TALLY_H
#define SUPERVISOR_REPORT_TALLY_H

#include <stdbool.h>

#include "supervisor/report/record.h"

/* One target. handles = closed_by_app + closed_unseen + ended_by_server + leaked + outcome_unknown. */
struct tally {
    bool known;               /* false: its handles were not (all) seen; every number is then unknown */
    unsigned handles, closed_by_app, closed_unseen, ended_by_server, outcome_unknown;
    unsigned leaked;          /* handed_back + already_ended + still_there */
    unsigned handed_back;     /* by the protocol's goodbye, by command, or as an orphan */
    unsigned already_ended;   /* by the server, before the app ended: half closed */
    unsigned still_there;
    unsigned sessions_killed; /* ended by a server command: each is one FATAL line in PostgreSQL's log */
    unsigned orphans_ended;   /* of these, the ones that outlived the app */
    unsigned aborted, transactions_unknown;
    int known_by;             /* enum known_by: the weakest of its handles; -1: it has none */
};
struct tally tally_target(const struct record *record, unsigned target);

/* The stop. in_flight = finished + aborted + unknown; aborted_later and unseen_later began after the stop did. */
struct tally_stop {
    bool in_flight_known; /* false: no stop, no target, or handles that were not seen */
    bool ends_known;      /* false: what became of some of these is not known */
    bool later_known;     /* false: or of one that began later */
    unsigned in_flight, finished, aborted, unknown, aborted_later, unseen_later;
};
struct tally_stop tally_stop(const struct record *record);

/* The record's unknowns, and those that follow from the counts. Returns how many there are; at most `room` are put
 * into the list. */
enum { TALLY_UNKNOWN = 56 }; /* never more than these */
unsigned tally_unknown(const struct record *record, struct record_unknown *list, unsigned room);

#endif
