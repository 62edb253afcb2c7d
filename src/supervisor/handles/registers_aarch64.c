/* aarch64: see supervisor/handles/registers.h. Arguments in x0 to x5, the number in x8, the result in x0: syscall(2).
 *
 * The kernel has put back x0 and pc of a call that is to be restarted before the tracer sees them
 * (arch/arm64/kernel/signal.c, do_signal), so it is made anew: a wait with a limit has its whole limit again. */
#if defined(__aarch64__)
#include "supervisor/handles/registers.h"

const unsigned char registers_call_code[] = {0x01, 0x00, 0x00, 0xd4}; /* svc #0 */
const unsigned registers_call_size = sizeof registers_call_code;
const bool registers_can_step = false; /* not tried on one */

void registers_set_call(struct registers *registers, unsigned long address, long number, const unsigned long args[6])
{
    struct user_regs_struct *user = &registers->user;
    user->pc = address;
    user->regs[8] = (unsigned long)number;
    for (int i = 0; i < 6; i++)
        user->regs[i] = args[i];
}

long registers_result(const struct registers *registers)
{
    return (long)registers->user.regs[0];
}

unsigned long registers_stack(const struct registers *registers)
{
    return registers->user.sp;
}

/* Only at a call of its own, before or behind it: any other moment may have values in vector registers that no system
 * call keeps (Documentation/arch/arm64/sve.rst, 4). */
bool registers_may_call(pid_t tid, const struct registers *registers)
{
    unsigned long pc = registers->user.pc;
    return registers_is_call(tid, pc) || registers_is_call(tid, pc - registers_call_size);
}
#endif
