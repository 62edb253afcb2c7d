/* no_hands COMMAND…: runs it with every way to a duplicate of another process's descriptor refused, pidfd_getfd(2) and
 * ptrace(2), as in a hardened container. */
#include "run_without.h"

int main(int argc, char **argv)
{
    (void)argc;
    return run_without(argv, (const unsigned[]){SYS_pidfd_getfd, SYS_ptrace}, 2);
}
