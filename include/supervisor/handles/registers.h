/* The registers of a thread that stands stopped for us as its tracer, and the system calls that it is to make: what
 * differs between processors. x86-64 and aarch64; on others every call fails with ENOSYS. ptrace(2), syscall(2). */
#ifndef SUPERVISOR_HANDLES_REGISTERS_H
#define SUPERVISOR_HANDLES_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct registers {
    struct user_regs_struct user;
};

/* -1 and errno: ENOSYS (it runs another architecture's code than we do), ESRCH (it is not stopped for us any more). */
int registers_read(pid_t tid, struct registers *registers);
int registers_write(pid_t tid, const struct registers *registers);

/* Where a system call instruction stands in the memory of `pid`: in its vdso(7), which is the same code as ours. 0
 * and errno: ENOSYS (there is none), ESRCH (the process ends). */
unsigned long registers_find_call(pid_t pid);

/* Is one there, in the memory of a stopped thread? If not, errno says why: ENOSYS, or ESRCH. */
bool registers_is_call(pid_t tid, unsigned long address);

/* The registers for a system call by the instruction at `address`; on the way back, what it returned (-errno). */
void registers_set_call(struct registers *registers, unsigned long address, long number, const unsigned long args[6]);
long registers_result(const struct registers *registers);

/* The stack pointer. */
unsigned long registers_stack(const struct registers *registers);

/* May a thread that was stopped like this make a system call of ours, and go on unharmed? */
bool registers_may_call(pid_t tid, const struct registers *registers);

/* May PTRACE_SINGLESTEP be used to make one call? */
extern const bool registers_can_step;

/* The processor's system call instruction. */
extern const unsigned char registers_call_code[];
extern const unsigned registers_call_size;

#endif
