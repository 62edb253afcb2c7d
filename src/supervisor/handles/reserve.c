/* The reserve: see supervisor/handles/reserve.h. Never keeps half of it. */
#include "supervisor/handles/reserve.h"

#include <sys/eventfd.h>

#include "common/fd.h"

void reserve_give(struct reserve *reserve)
{
    if (!reserve->kept)
        return;
    fd_close(&reserve->fds[0]);
    fd_close(&reserve->fds[1]);
    reserve->kept = false;
}

bool reserve_keep(struct reserve *reserve)
{
    if (reserve->kept)
        return true;
    int first _cleanup_close_ = eventfd(0, EFD_CLOEXEC);
    int second _cleanup_close_ = first < 0 ? -1 : eventfd(0, EFD_CLOEXEC);
    if (second < 0)
        return false;
    reserve->fds[0] = first;
    reserve->fds[1] = second;
    first = second = -1;
    return reserve->kept = true;
}
