/* x86-64: see supervisor/handles/registers.h. Register by register after the x86-64 ABI, A.2, "Linux Conventions". */
#if defined(__x86_64__)
#include "supervisor/handles/registers.h"

#include <errno.h>
#include <linux/rseq.h>
#include <stddef.h>
#include <sys/ptrace.h>

const unsigned char registers_call_code[] = {0x0f, 0x05}; /* syscall */
const unsigned registers_call_size = sizeof registers_call_code;
const bool registers_can_step = true;

void registers_set_call(struct registers *registers, unsigned long address, long number, const unsigned long args[6])
{
    struct user_regs_struct *user = &registers->user;
    user->rip = address;
    user->rax = (unsigned long)number;
    user->orig_rax = (unsigned long)-1; /* nothing to restart */
    user->rdi = args[0];
    user->rsi = args[1];
    user->rdx = args[2];
    user->r10 = args[3];
    user->r8 = args[4];
    user->r9 = args[5];
}

long registers_result(const struct registers *registers)
{
    return (long)registers->user.rax;
}

unsigned long registers_stack(const struct registers *registers)
{
    return registers->user.rsp;
}

/* A critical section of rseq(2) is told by where the thread stands, and has no system calls in it: one that is called
 * away from it would go on as if it had never been interrupted. */
static bool is_in_critical_section(pid_t tid)
{
    struct __ptrace_rseq_configuration rseq = {0};
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof rseq, &rseq) < 0)
        return true; /* not known: before Linux 5.13 */
    if (!rseq.rseq_abi_pointer)
        return false;
    errno = 0;
    long section = ptrace(PTRACE_PEEKDATA, tid, rseq.rseq_abi_pointer + offsetof(struct rseq, rseq_cs), 0);
    return errno != 0 || section != 0;
}

bool registers_may_call(pid_t tid, const struct registers *registers)
{
    bool in_call = (long)registers->user.orig_rax >= 0;
    return in_call || !is_in_critical_section(tid);
}
#endif
