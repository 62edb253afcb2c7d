/* Registers and the system call instruction, whatever the processor: see supervisor/handles/registers.h. Never writes
 * to the memory of another process. */
#include "supervisor/handles/registers.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "common/fd.h"

int registers_read(pid_t tid, struct registers *registers)
{
    struct iovec at = {&registers->user, sizeof registers->user};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &at) < 0)
        return -1;
    if (at.iov_len == sizeof registers->user)
        return 0;
    errno = ENOSYS; /* a 32-bit program's set is smaller */
    return -1;
}

int registers_write(pid_t tid, const struct registers *registers)
{
    struct registers copy = *registers;
    struct iovec at = {&copy.user, sizeof copy.user};
    return (int)ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &at);
}

static size_t size_of_code(const ElfW(Ehdr) *vdso)
{
    const ElfW(Phdr) *parts = (const void *)((const char *)vdso + vdso->e_phoff);
    for (unsigned i = 0; i < vdso->e_phnum; i++)
        if (parts[i].p_type == PT_LOAD)
            return parts[i].p_offset + parts[i].p_filesz;
    return 0;
}

/* From the beginning of our own vdso; 0: there is none. */
static size_t offset_of_call(void)
{
    const ElfW(Ehdr) *vdso = (const void *)getauxval(AT_SYSINFO_EHDR);
    size_t size = vdso ? size_of_code(vdso) : 0;
    const char *found = size ? memmem(vdso, size, registers_call_code, registers_call_size) : NULL;
    return found ? (size_t)(found - (const char *)vdso) : 0;
}

static unsigned long vdso_of(pid_t pid)
{
    char path[32];
    unsigned long pairs[128];
    snprintf(path, sizeof path, "/proc/%d/auxv", pid);
    ssize_t size = fd_read_file(AT_FDCWD, path, (char *)pairs, sizeof pairs);
    for (size_t i = 0; size > 0 && (i + 2) * sizeof *pairs <= (size_t)size && pairs[i] != AT_NULL; i += 2)
        if (pairs[i] == AT_SYSINFO_EHDR)
            return pairs[i + 1];
    errno = size > 0 ? ENOSYS : ESRCH;
    return 0;
}

unsigned long registers_find_call(pid_t pid)
{
    static size_t offset; /* that of a program does not change */
    if (!offset)
        offset = offset_of_call();
    errno = ENOSYS;
    unsigned long vdso = offset ? vdso_of(pid) : 0;
    return vdso ? vdso + offset : 0;
}

bool registers_is_call(pid_t tid, unsigned long address)
{
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, tid, address, 0);
    if (errno == 0 && memcmp(&word, registers_call_code, registers_call_size) == 0)
        return true;
    errno = errno == ESRCH ? ESRCH : ENOSYS;
    return false;
}
