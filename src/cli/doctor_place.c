/* Where we run, what that says about the grace period, and how things are mended there. The platform's limit is
 * visible in none of them: what is said is its default, and why it is thought to be that platform. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"

static const struct place {
    const char *name;
    int grace_s; /* -1: not known */
    const char *where, *line; /* that makes it longer; a %d in it */
} places[PLATFORMS] = {
    [PLATFORM_NONE] = {"unknown", -1, NULL, NULL},
    [PLATFORM_KUBERNETES] = {"kubernetes", 30, "pod spec", "terminationGracePeriodSeconds: %d"},
    [PLATFORM_DOCKER] = {"docker", 10, "docker run", "--stop-timeout %d   (Compose: stop_grace_period: %ds)"},
    [PLATFORM_PODMAN] = {"podman", 10, "podman run", "--stop-timeout %d"},
    [PLATFORM_CONTAINER] = {"container", 10, "Compose", "stop_grace_period: %ds"},
    [PLATFORM_SYSTEMD] = {"systemd", 90, "[Service]", "TimeoutStopSec=%d"},
};

const char *doctor_platform_name(enum doctor_platform platform)
{
    return places[platform].name;
}

int doctor_platform_grace(enum doctor_platform platform)
{
    return places[platform].grace_s;
}

static bool is_set(const char *value)
{
    return value && *value;
}

static void decide(struct doctor *doctor, enum doctor_platform platform, const char *why)
{
    doctor->platform = platform;
    text_copy(doctor->platform_why, sizeof doctor->platform_why, why);
}

/* "0::/system.slice/web.service\n" */
static bool is_unit(const char *cgroup)
{
    const char *unit = is_set(cgroup) ? strstr(cgroup, ".service") : NULL;
    return unit && strstr(cgroup, "system.slice/") && (unit[8] == '\n' || unit[8] == 0 || unit[8] == '/');
}

void doctor_judge_place(struct doctor *doctor, const struct doctor_clues *clues)
{
    char why[200];
    struct text text = text_in(why, sizeof why);
    if (is_set(clues->kubernetes_host)) {
        decide(doctor, PLATFORM_KUBERNETES, "KUBERNETES_SERVICE_HOST is set");
    } else if (clues->containerenv || (is_set(clues->container) && strcmp(clues->container, "podman") == 0)) {
        decide(doctor, PLATFORM_PODMAN, clues->containerenv ? "/run/.containerenv is there" : "container=podman");
    } else if (clues->dockerenv) {
        decide(doctor, PLATFORM_DOCKER, "/.dockerenv is there");
    } else if (is_set(clues->container)) {
        text_add(&text, "container=");
        text_add_escaped(&text, clues->container, strlen(clues->container));
        decide(doctor, PLATFORM_CONTAINER, why);
    } else if (is_set(clues->invocation) && is_unit(clues->cgroup)) {
        decide(doctor, PLATFORM_SYSTEMD, "INVOCATION_ID is set, and the control group is a unit's");
    } else {
        decide(doctor, PLATFORM_NONE, "no sign of Kubernetes, Docker, Podman or a systemd unit");
    }
}

void doctor_look_around(struct doctor *doctor)
{
    char cgroup[4096];
    ssize_t length = fd_read_file(AT_FDCWD, "/proc/self/cgroup", cgroup, sizeof cgroup);
    const struct doctor_clues clues = {
        .kubernetes_host = getenv("KUBERNETES_SERVICE_HOST"),
        .container = getenv("container"),
        .invocation = getenv("INVOCATION_ID"),
        .dockerenv = access("/.dockerenv", F_OK) == 0,
        .containerenv = access("/run/.containerenv", F_OK) == 0,
        .cgroup = length < 0 ? NULL : cgroup,
    };
    doctor_judge_place(doctor, &clues);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void add_longer(const struct place *place, int seconds, struct doctor_row *row)
{
    char line[160];
    snprintf(line, sizeof line, place->line, seconds, seconds);
    doctor_cure(row, place->where, "%s", line);
}
#pragma GCC diagnostic pop

/* The limit may have been made longer or shorter, which is not seen from inside: so it is a guess, and never a "no". */
void doctor_judge_grace(struct doctor *doctor, int64_t grace_us)
{
    const struct place *place = &places[doctor->platform];
    int64_t grace_s = (grace_us + US_PER_SECOND - 1) / US_PER_SECOND;
    bool too_long = place->grace_s >= 0 && grace_us > place->grace_s * US_PER_SECOND;
    struct doctor_row *row;
    char grace[32];
    struct text text = text_in(grace, sizeof grace);
    text_add_duration(&text, grace_us);
    if (place->grace_s < 0)
        row = doctor_add(doctor, DOCTOR_UNKNOWN, "grace", "", "%s; the platform's limit is not known: %s", grace,
                         doctor->platform_why);
    else
        row = doctor_add(doctor, too_long ? DOCTOR_PART : DOCTOR_YES, "grace", "",
                         "%s; by default it is %d s here (%s: %s)", grace, place->grace_s, place->name,
                         doctor->platform_why);
    row->needed = false;
    if (!too_long)
        return;
    text_copy(row->consequence, sizeof row->consequence,
              "unless the limit was raised, the platform's SIGKILL comes before lastcall is done");
    add_longer(place, (int)grace_s, row);
    doctor_cure(row, "environment", "LASTCALL_GRACE_PERIOD=%ds", place->grace_s);
}

void doctor_prescribe(const struct doctor *doctor, struct doctor_row *row, const struct doctor_remedy *remedy)
{
    enum doctor_platform platform = doctor->platform;
    bool any = platform == PLATFORM_NONE, container = platform == PLATFORM_CONTAINER;
    bool docker = any || container || platform == PLATFORM_DOCKER || platform == PLATFORM_PODMAN;
    if (remedy->docker && docker)
        doctor_cure(row, platform == PLATFORM_PODMAN ? "podman run" : "docker run", "%s", remedy->docker);
    if (remedy->compose && docker)
        doctor_cure(row, "Compose", "%s", remedy->compose);
    if (remedy->kubernetes && (any || container || platform == PLATFORM_KUBERNETES))
        doctor_cure(row, "container spec", "%s", remedy->kubernetes);
    if (remedy->systemd && (any || platform == PLATFORM_SYSTEMD))
        doctor_cure(row, "[Service]", "%s", remedy->systemd);
}
