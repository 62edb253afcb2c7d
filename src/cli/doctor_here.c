/* What the supervisor does to an app, tried on a child of our own: a duplicate of its socket, and stopping it; and the
 * place of the control socket. Each within a fraction of a second; nothing is left behind but an empty directory. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"
#include "supervisor/app/freeze.h"
#include "supervisor/handles/duplicate.h"
#include "supervisor/platform/control_place.h"

#define TRY_US (250 * US_PER_MS)

/* A child that does nothing, and has a socket. */
struct subject {
    pid_t pid;
    int fd;
    uint64_t inode;
};

/* Dumpable, as a process is that was executed: ours may not be after a change of uid, and its children neither. It dies
 * with us. 0, or -1 and errno. */
static int subject_start(struct subject *subject)
{
    struct stat st;
    int fd _cleanup_close_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    prctl(PR_SET_DUMPABLE, 1);
    *subject = (struct subject){.fd = fd, .inode = st.st_ino, .pid = fork()};
    if (subject->pid != 0)
        return subject->pid < 0 ? -1 : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

static void subject_end(const struct subject *subject)
{
    kill(subject->pid, SIGKILL);
    waitpid(subject->pid, NULL, 0);
}

/* ---- hands ---- */

static int read_yama(void)
{
    char text[16];
    return fd_read_file(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", text, sizeof text) < 0 ? -1 : atoi(text);
}

static bool has_filter(void)
{
    char text[4096];
    bool read = fd_read_file(AT_FDCWD, "/proc/self/status", text, sizeof text) >= 0;
    const char *at = read ? strstr(text, "\nSeccomp:") : NULL;
    return at && atoi(at + 9) == 2;
}

/* Both refuse with EPERM: which one it was cannot be seen, so what is there is named. */
static void say_why_not(const struct doctor *doctor, struct doctor_row *row)
{
    static const struct doctor_remedy remedy = {
        .docker = "--cap-add SYS_PTRACE",
        .compose = "cap_add: [SYS_PTRACE]",
        .kubernetes = "securityContext: {capabilities: {add: [SYS_PTRACE]}}",
        .systemd = "SystemCallFilter=pidfd_getfd ptrace",
    };
    int yama = read_yama();
    struct text detail = {.at = row->detail, .size = sizeof row->detail, .length = strlen(row->detail)};
    if (has_filter())
        text_add(&detail, "; there is a seccomp filter");
    if (yama >= 2)
        text_add(&detail, "; kernel.yama.ptrace_scope is %d", yama);
    if (yama == 2)
        doctor_cure(row, "the host", "sysctl -w kernel.yama.ptrace_scope=1");
    if (has_filter() || yama < 2)
        doctor_prescribe(doctor, row, &remedy);
}

static void try_hands(struct doctor *doctor, const struct subject *subject)
{
    int64_t until_us = clock_now_us() + TRY_US;
    int duplicate _cleanup_close_ = duplicate_take_until(subject->pid, subject->fd, subject->inode, until_us);
    bool second = strcmp(duplicate_way(), "pidfd_getfd") != 0;
    if (duplicate >= 0) {
        doctor_add(doctor, DOCTOR_YES, "hands", "", "%s%s", duplicate_way(), second ? " (pidfd_getfd is refused)" : "");
        return;
    }
    const char *why = strerror(errno);
    struct doctor_row *row = doctor_add(doctor, DOCTOR_NO, "hands", "",
                                        "none: no socket of a child can be duplicated: %s", why);
    text_copy(row->consequence, sizeof row->consequence, "nothing can be held: a stop waits for an instant at which "
              "all connections are idle by themselves, and idle sessions are ended by the server");
    say_why_not(doctor, row);
}

/* ---- freeze ---- */

/* 1: all stopped; 0: not within the time; -1 and errno. */
static int wait_until_frozen(struct freeze *freeze)
{
    int64_t until_us = freeze->began_us + TRY_US;
    for (;;) {
        int complete = freeze_is_complete(freeze, getpid(), 0, clock_now_us());
        if (complete != 0 || clock_now_us() >= until_us)
            return complete;
        poll(NULL, 0, 1);
    }
}

static void try_freeze(struct doctor *doctor)
{
    struct freeze freeze = {0};
    char took[32];
    struct text text = text_in(took, sizeof took);
    int frozen = freeze_begin(&freeze, getpid(), 0, clock_now_us()) == 0 ? wait_until_frozen(&freeze) : -1;
    const char *why = frozen < 0 ? strerror(errno) : "it did not stop in time";
    if (frozen > 0) {
        text_add_duration(&text, freeze.complete_us - freeze.began_us);
        doctor_add(doctor, DOCTOR_YES, "freeze", "", "a child was seen stopped after %s", took);
    } else {
        struct doctor_row *row = doctor_add(doctor, DOCTOR_NO, "freeze", "", "a child cannot be stopped: %s", why);
        text_copy(row->consequence, sizeof row->consequence, "the last look is taken while the app runs, so that a "
                  "transaction may begin between it and the signal");
    }
    freeze_finish(&freeze);
}

/* ---- the control socket ---- */

static void try_control(struct doctor *doctor, const struct config *config)
{
    static const struct doctor_remedy remedy = {
        .docker = "--tmpfs /run:mode=1777",
        .compose = "tmpfs: [\"/run:mode=1777\"]",
        .kubernetes = "volumeMounts: [{name: run, mountPath: /run}]"
                      "   (pod spec: volumes: [{name: run, emptyDir: {medium: Memory}}])",
        .systemd = "RuntimeDirectory=%N   and   Environment=LASTCALL_SOCKET=%t/%N/lastcall.sock",
    };
    struct control_place place;
    struct error error = {""};
    int done = config->socket[0] ? control_place_bind(&place, config->socket, &error)
                                 : control_place_choose(&place, config->instance, &error);
    if (done == 0) {
        doctor_add(doctor, DOCTOR_YES, "control", "", "%s", place.path);
        control_place_close(&place);
        return;
    }
    if (errno == EADDRINUSE) {
        doctor_add(doctor, DOCTOR_YES, "control", "", "a running lastcall has it: %s", error.text);
        return;
    }
    struct doctor_row *row = doctor_add(doctor, DOCTOR_NO, "control", "", "no place for it: %s", error.text);
    text_copy(row->consequence, sizeof row->consequence,
              "lastcall drain, resume and status cannot reach it; a stop by signal works");
    if (config->socket[0])
        doctor_cure(row, "environment", "LASTCALL_SOCKET=%s", "a path in a directory where this user may write");
    else
        doctor_prescribe(doctor, row, &remedy);
}

void doctor_try_here(struct doctor *doctor, const struct config *config)
{
    struct subject subject;
    if (subject_start(&subject) == 0) {
        try_hands(doctor, &subject);
        try_freeze(doctor);
        subject_end(&subject);
    } else {
        const char *why = strerror(errno);
        doctor_add(doctor, DOCTOR_UNKNOWN, "hands", "", "no child to try it on: %s", why);
        doctor_add(doctor, DOCTOR_UNKNOWN, "freeze", "", "no child to try it on: %s", why);
    }
    try_control(doctor, config);
}
