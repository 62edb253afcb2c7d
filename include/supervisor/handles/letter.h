/* The message that carries descriptors to us, as it lies in the memory of the thread that sends it (sendmsg(2), unix(7)
 * SCM_RIGHTS). */
#ifndef SUPERVISOR_HANDLES_LETTER_H
#define SUPERVISOR_HANDLES_LETTER_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "supervisor/handles/letterbox.h"

struct letter {
    struct sockaddr_un to;
    struct iovec bytes;
    struct msghdr message;
    long byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(LETTER_FDS_MOST * sizeof(int))];
    } rights;
};

/* Only as much of it is used as the descriptors need: a multiple of sizeof(long). */
size_t letter_size(unsigned count);

/* For the memory that begins at `at` over there. */
void letter_write(struct letter *letter, unsigned long at, const struct sockaddr_un *to, socklen_t to_size,
                  const int *fds, unsigned count);

/* Where sendmsg(2) finds it. */
unsigned long letter_message(unsigned long at);

#endif
