/* The log: see common/log.h. It must never block, and never change the description behind descriptor 2. */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/text.h"

enum sink { SINK_PLAIN, SINK_SOCKET, SINK_GUARDED };

static struct {
    const char *program;
    enum log_level level;
    enum sink sink;
    int fd;
    int journald;
    unsigned long dropped;
} log_state = {.program = "lastcall", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO, .sink = SINK_GUARDED};

/* Under journald JOURNAL_STREAM is "device:inode" of the stream it gave us (systemd.exec(5)). */
static int is_journal(const struct stat *st)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && device == (unsigned long long)st->st_dev &&
           inode == (unsigned long long)st->st_ino;
}

/* A pipe or a terminal: a description of our own may be non-blocking. Without the right to open it again (a pipe of
 * another user), each write is guarded instead. */
static void open_own_description(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    log_state.sink = fd >= 0 ? SINK_PLAIN : SINK_GUARDED;
    log_state.fd = fd >= 0 ? fd : STDERR_FILENO;
}

void log_init(const char *program, enum log_level level)
{
    struct stat st;
    log_state.program = program;
    log_state.level = level;
    if (log_state.fd > STDERR_FILENO)
        close(log_state.fd);
    log_state.fd = STDERR_FILENO;
    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    log_state.journald = is_journal(&st);
    if (S_ISSOCK(st.st_mode))
        log_state.sink = SINK_SOCKET;
    else if (S_ISREG(st.st_mode))
        log_state.sink = SINK_PLAIN;
    else
        open_own_description();
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

enum log_level log_level(void)
{
    return log_state.level;
}

static ssize_t write_guarded(const char *bytes, size_t length)
{
    struct iovec iov = {(void *)bytes, length};
    ssize_t n = pwritev2(log_state.fd, &iov, 1, -1, RWF_NOWAIT);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return n;
    struct pollfd p = {.fd = log_state.fd, .events = POLLOUT};
    if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) {
        errno = EAGAIN;
        return -1;
    }
    return write(log_state.fd, bytes, length);
}

static ssize_t write_once(const char *bytes, size_t length)
{
    if (log_state.sink == SINK_SOCKET)
        return send(log_state.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (log_state.sink == SINK_PLAIN)
        return write(log_state.fd, bytes, length);
    return write_guarded(bytes, length);
}

unsigned long log_raw(const char *text, unsigned long length)
{
    unsigned long done = 0;
    int error = errno;
    while (done < length) {
        size_t piece = length - done < 4096 ? length - done : 4096;
        ssize_t n = write_once(text + done, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (unsigned long)n;
    }
    errno = error;
    return done;
}

static void prefix(struct text *line, enum log_level level)
{
    static const struct { int priority; const char *word; } levels[] = {
        [LOG_LEVEL_ERROR] = {3, "error: "}, [LOG_LEVEL_WARNING] = {4, "warning: "}, [LOG_LEVEL_INFO] = {6, ""},
        [LOG_LEVEL_DEBUG] = {7, "debug: "}};
    if (log_state.journald)
        text_add(line, "<%d>", levels[level].priority);
    text_add(line, "%s: %s", log_state.program, levels[level].word);
    if (log_state.dropped)
        text_add(line, "(%lu lines before this one did not fit into standard error) ", log_state.dropped);
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > log_state.level)
        return;
    char room[1024];
    int error = errno;
    struct text line = text_in(room, sizeof room - 1);
    prefix(&line, level);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line.at + line.length, line.size - line.length, format, args);
    va_end(args);
    if (n > 0)
        line.length = line.length + (size_t)n < line.size ? line.length + (size_t)n : line.size - 1;
    room[line.length++] = '\n';
    if (log_raw(room, line.length) == line.length)
        log_state.dropped = 0;
    else
        log_state.dropped++;
    errno = error;
}
