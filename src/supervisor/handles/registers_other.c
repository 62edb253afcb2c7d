/* Any other processor: there is no way to a duplicate by ptrace(2). See supervisor/handles/registers.h. */
#if !defined(__x86_64__) && !defined(__aarch64__)
#include "supervisor/handles/registers.h"

const unsigned char registers_call_code[] = {0};
const unsigned registers_call_size = 0; /* nothing is found */
const bool registers_can_step = false;

void registers_set_call(struct registers *registers, unsigned long address, long number, const unsigned long args[6])
{
    (void)registers, (void)address, (void)number, (void)args;
}

long registers_result(const struct registers *registers)
{
    (void)registers;
    return -1;
}

unsigned long registers_stack(const struct registers *registers)
{
    (void)registers;
    return 0;
}

bool registers_may_call(pid_t tid, const struct registers *registers)
{
    (void)tid, (void)registers;
    return false;
}
#endif
