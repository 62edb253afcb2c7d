/* without_getfd COMMAND…: runs it with pidfd_getfd(2) refused, as Docker's default profile does it without
 * CAP_SYS_PTRACE. */
#include "run_without.h"

int main(int argc, char **argv)
{
    (void)argc;
    return run_without(argv, (const unsigned[]){SYS_pidfd_getfd}, 1);
}
