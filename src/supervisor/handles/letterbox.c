/* The letter-box: see supervisor/handles/letterbox.h. Never waits, and never leaves a descriptor open that it does not
 * hand out. */
#include "supervisor/handles/letterbox.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/fd.h"

int letterbox_open(struct sockaddr_un *at, socklen_t *size)
{
    int box _cleanup_close_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    *size = sizeof *at;
    if (box < 0 || bind(box, (struct sockaddr *)&any, sizeof any.sun_family) < 0 ||
        getsockname(box, (struct sockaddr *)at, size) < 0)
        return -1;
    int opened = box;
    box = -1;
    return opened;
}

static unsigned unpack(struct msghdr *message, int *fds, unsigned room)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
        return 0;
    unsigned count = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
    memcpy(fds, CMSG_DATA(head), (count < room ? count : room) * sizeof *fds);
    return count;
}

int letterbox_take(int box, int *fds, unsigned count)
{
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(LETTER_FDS_MOST * sizeof(int))];
    } rights;
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &rights,
                             .msg_controllen = CMSG_LEN(count * sizeof *fds)}; /* what is too many, the kernel closes */
    if (recvmsg(box, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return -1;
    unsigned came = unpack(&message, fds, count);
    if (came == count)
        return 0;
    while (came > 0)
        close(fds[--came]);
    errno = EMFILE; /* they were sent, and there were no numbers for all of them */
    return -1;
}
