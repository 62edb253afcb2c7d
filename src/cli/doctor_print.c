/* What the doctor found, for people and as one JSON object (its keys are in the README). Text from outside has been
 * escaped by who took it in, and is made fit for JSON once more. */
#include <jansson.h>
#include <string.h>
#include <sys/param.h>

#include "cli/doctor.h"
#include "common/text.h"

const char *doctor_verdict_name(enum doctor_verdict verdict)
{
    static const char *const names[] = {"yes", "part", "no", "unknown"};
    return names[verdict];
}

static void print_row(const struct doctor_row *row, FILE *stream)
{
    fprintf(stream, "%-7s  %-11s  %s%s%s\n", doctor_verdict_name(row->verdict), row->what, row->target,
            *row->target ? ": " : "", row->detail);
    if (*row->consequence)
        fprintf(stream, "%-7s  %-11s  %s\n", "", "  so", row->consequence);
    for (size_t i = 0; i < row->cure_count; i++)
        fprintf(stream, "%-7s  %-11s  %s: %s\n", "", "  cure", row->cures[i].where, row->cures[i].line);
}

int doctor_print_text(const struct doctor *doctor, FILE *stream)
{
    for (size_t i = 0; i < doctor->count; i++)
        print_row(&doctor->rows[i], stream);
    return fflush(stream) == EOF || ferror(stream) ? -1 : 0;
}

/* jansson takes valid UTF-8 only; empty is null. */
static json_t *json_text(const char *value)
{
    char shown[2048];
    struct text text = text_in(shown, sizeof shown);
    text_add_escaped(&text, value, strlen(value));
    return *value ? json_string(shown) : json_null();
}

static json_t *json_row(const struct doctor_row *row)
{
    json_t *cures = json_array();
    for (size_t i = 0; i < row->cure_count; i++)
        json_array_append_new(cures, json_pack("{s:o, s:o}", "where", json_text(row->cures[i].where), "line",
                                               json_text(row->cures[i].line)));
    return json_pack("{s:s, s:b, s:s, s:o, s:o, s:o, s:o}", "answer", doctor_verdict_name(row->verdict), "needed",
                     row->needed, "what", row->what, "target", json_text(row->target), "detail", json_text(row->detail),
                     "consequence", json_text(row->consequence), "cures", cures);
}

/* Nothing was looked at when there are errors. */
static json_t *json_platform(const struct doctor *doctor, bool looked)
{
    int grace = doctor_platform_grace(doctor->platform);
    if (!looked)
        return json_null();
    return json_pack("{s:s, s:o, s:o}", "name", doctor_platform_name(doctor->platform), "why",
                     json_text(doctor->platform_why), "grace_seconds", grace < 0 ? json_null() : json_integer(grace));
}

int doctor_print_json(const struct doctor *doctor, const struct config_errors *errors, FILE *stream)
{
    json_t *rows = json_array(), *list = json_array();
    for (size_t i = 0; i < doctor->count; i++)
        json_array_append_new(rows, json_row(&doctor->rows[i]));
    for (size_t i = 0; i < MIN(errors->count, sizeof errors->list / sizeof *errors->list); i++)
        json_array_append_new(list, json_text(errors->list[i].text));
    json_t *all = json_pack("{s:s, s:b, s:o, s:o, s:o}", "schema", "lastcall.doctor/1", "ok",
                            errors->count == 0 && doctor_is_well(doctor), "platform",
                            json_platform(doctor, errors->count == 0), "rows", rows, "errors", list);
    int failed = !all || json_dumpf(all, stream, JSON_INDENT(2)) == -1 || fputc('\n', stream) == EOF ||
                 fflush(stream) == EOF;
    json_decref(all);
    return failed ? -1 : 0;
}
