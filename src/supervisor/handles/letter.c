/* The letter: see supervisor/handles/letter.h. Writes to our own memory only. */
#include "supervisor/handles/letter.h"

#include <string.h>

_Static_assert(offsetof(struct letter, rights) % sizeof(long) == 0, "also when it is cut");
_Static_assert(CMSG_SPACE(sizeof(int)) % sizeof(long) == 0, "also when it is cut");

size_t letter_size(unsigned count)
{
    return offsetof(struct letter, rights) + CMSG_SPACE(count * sizeof(int));
}

unsigned long letter_message(unsigned long at)
{
    return at + offsetof(struct letter, message);
}

static void *there(unsigned long at, size_t offset)
{
    return (void *)(at + offset);
}

void letter_write(struct letter *letter, unsigned long at, const struct sockaddr_un *to, socklen_t to_size,
                  const int *fds, unsigned count)
{
    memset(letter, 0, letter_size(count));
    letter->to = *to;
    letter->bytes = (struct iovec){there(at, offsetof(struct letter, byte)), 1};
    letter->message = (struct msghdr){
        .msg_name = there(at, offsetof(struct letter, to)), .msg_namelen = to_size,
        .msg_iov = there(at, offsetof(struct letter, bytes)), .msg_iovlen = 1,
        .msg_control = there(at, offsetof(struct letter, rights)), .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    letter->rights.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(count * sizeof(int))};
    memcpy(CMSG_DATA(&letter->rights.head), fds, count * sizeof(int));
}
