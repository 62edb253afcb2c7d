/* Of the report's JSON what was before this life of the app: its earlier ends, and what a predecessor had left. Each
 * returns a new reference, or NULL without memory. */
#ifndef SUPERVISOR_REPORT_JSON_BEFORE_H
#define SUPERVISOR_REPORT_JSON_BEFORE_H

#include <jansson.h>
#include <stdint.h>

#include "supervisor/report/record.h"

json_t *json_earlier(const struct record_past *past);
json_t *json_predecessor(const struct record *record); /* null when it was not asked for */
json_t *json_wall(int64_t wall_us);                    /* RFC 3339, UTC; null: not known */

#endif
