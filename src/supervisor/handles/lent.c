/* The steps of a lent thread: see supervisor/handles/lent.h. Never waits, and never leaves out the last step: what was
 * begun is undone by it. */
#include "supervisor/handles/lent.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/signals.h"
#include "supervisor/handles/letter.h"

enum { PAGE_BYTES = 4096, SYSCALL_STOP = SIGTRAP | 0x80 /* PTRACE_O_TRACESYSGOOD */ };
_Static_assert(sizeof(struct letter) <= PAGE_BYTES, "it fits");

/* -- its memory ---------------------------------------------------------------------------------------------------- */

/* What the ABI keeps for a function that has no frame; and how far from its beginning a main stack is one for sure. */
enum { RED_ZONE_BYTES = 128, ALIGNED = 64, STACK_MOST = 8 << 20 };

/* In one piece, or by ptrace(2) where process_vm_writev(2) is refused. */
static bool put(const struct lent *lent, void *bytes, size_t size)
{
    struct iovec from = {bytes, size}, to = {(void *)lent->page, size};
    if (process_vm_writev(lent->tid, &from, 1, &to, 1, 0) == (ssize_t)size)
        return true;
    for (size_t at = 0; at < size; at += sizeof(long)) {
        long word;
        memcpy(&word, (char *)bytes + at, sizeof word);
        if (ptrace(PTRACE_POKEDATA, lent->tid, lent->page + (long)at, word) < 0)
            return false;
    }
    return true;
}

static bool put_letter(const struct lent *lent)
{
    struct letter letter;
    letter_write(&letter, (unsigned long)lent->page, &lent->to, lent->to_size, lent->fds, lent->count);
    return put(lent, &letter, letter_size(lent->count));
}

/* Where a signal handler's frame would go, and as far from what is in use. */
static void borrow_stack(struct lent *lent)
{
    unsigned long in_use = registers_stack(&lent->saved);
    if (in_use >= lent->stack || lent->stack - in_use > STACK_MOST)
        return;
    unsigned long at = (in_use - RED_ZONE_BYTES - sizeof lent->kept) & ~(unsigned long)(ALIGNED - 1);
    struct iovec to = {&lent->kept, letter_size(lent->count)}, from = {(void *)at, to.iov_len};
    lent->borrowed = process_vm_readv(lent->tid, &to, 1, &from, 1, 0) == (ssize_t)to.iov_len;
    if (lent->borrowed)
        lent->page = (long)at;
}

static void give_back(struct lent *lent)
{
    if (lent->borrowed)
        put(lent, &lent->kept, letter_size(lent->count));
}

/* -- the steps: what each calls, when it is to be made, and where its result goes ---------------------------------- */

struct call {
    long number;
    unsigned long args[6];
};

static bool call_map(const struct lent *lent, struct call *call)
{
    *call = (struct call){SYS_mmap, {0, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                     (unsigned long)-1, 0}};
    return !lent->borrowed;
}

static bool call_socket(const struct lent *lent, struct call *call)
{
    *call = (struct call){SYS_socket, {AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0}};
    return lent->error == 0;
}

static bool call_send(const struct lent *lent, struct call *call)
{
    *call = (struct call){SYS_sendmsg, {(unsigned long)lent->socket,
                                        letter_message((unsigned long)lent->page), MSG_DONTWAIT}};
    return lent->error == 0 && put_letter(lent);
}

static bool call_close(const struct lent *lent, struct call *call)
{
    *call = (struct call){SYS_close, {(unsigned long)lent->socket}};
    return lent->socket >= 0;
}

static bool call_unmap(const struct lent *lent, struct call *call)
{
    *call = (struct call){SYS_munmap, {(unsigned long)lent->page, PAGE_BYTES}};
    return lent->page > 0 && !lent->borrowed;
}

static const struct {
    bool (*make)(const struct lent *, struct call *); /* false: left out */
    size_t result;                                    /* where it goes; 0: nobody asks */
} steps[] = {
    [LENT_MAP] = {call_map, offsetof(struct lent, page)},
    [LENT_SOCKET] = {call_socket, offsetof(struct lent, socket)},
    [LENT_SEND] = {call_send, offsetof(struct lent, sent)},
    [LENT_CLOSE] = {call_close, 0},
    [LENT_UNMAP] = {call_unmap, 0},
};
_Static_assert(sizeof steps / sizeof *steps == LENT_LEAVE, "a step without a call");

static void note_result(struct lent *lent, long result)
{
    if (!steps[lent->step].result)
        return; /* of one that was refused by a signal */
    memcpy((char *)lent + steps[lent->step].result, &result, sizeof result);
    if (result < 0 && !lent->error)
        lent->error = -result;
}

/* -- from stop to stop --------------------------------------------------------------------------------------------- */

static enum __ptrace_request way_on(const struct lent *lent)
{
    return lent->step == LENT_LEAVE ? PTRACE_CONT : lent->stepping ? PTRACE_SINGLESTEP : PTRACE_SYSCALL;
}

static enum lent_state goes_on(const struct lent *lent, int signo)
{
    return ptrace(way_on(lent), lent->tid, 0, (void *)(long)signo) == 0 ? LENT_GOES_ON : LENT_LOST;
}

static enum lent_state make_call(const struct lent *lent, const struct call *call)
{
    struct registers registers = lent->saved;
    registers_set_call(&registers, lent->call, call->number, call->args);
    return registers_write(lent->tid, &registers) < 0 ? LENT_LOST : goes_on(lent, 0);
}

static enum lent_state let_go(struct lent *lent)
{
    uint64_t mask = lent->saved_mask;
    give_back(lent);
    if (registers_write(lent->tid, &lent->saved) < 0)
        return LENT_LOST;
    ptrace(PTRACE_SETSIGMASK, lent->tid, sizeof mask, &mask);
    if (ptrace(PTRACE_DETACH, lent->tid, 0, 0) < 0)
        return LENT_LOST;
    if (lent->trapped)
        syscall(SYS_tkill, lent->tid, SIGTRAP);
    return LENT_DONE;
}

/* The last step: on to the stop that stands where the kernel looks for signals and restarts interrupted calls.
 * Registers that are put back anywhere else may be too late for that. After a single step it stands there already. */
static enum lent_state leave(struct lent *lent)
{
    lent->step = LENT_LEAVE;
    if (lent->stepping)
        return let_go(lent);
    ptrace(PTRACE_INTERRUPT, lent->tid, 0, 0);
    return goes_on(lent, 0);
}

static enum lent_state make_step(struct lent *lent)
{
    struct call call;
    for (; lent->step < LENT_LEAVE; lent->step++)
        if (steps[lent->step].make(lent, &call))
            return make_call(lent, &call);
    return leave(lent);
}

static enum lent_state take_result(struct lent *lent)
{
    struct registers registers;
    if (steps[lent->step].result) {
        if (registers_read(lent->tid, &registers) < 0)
            return LENT_LOST;
        note_result(lent, registers_result(&registers));
    }
    lent->step++;
    return make_step(lent);
}

/* All signals wait, but that of a single step: one that is blocked would change the app's disposition of it
 * (force_sig_info_to_task() in the kernel). */
static bool block_signals(struct lent *lent)
{
    uint64_t mask = UINT64_MAX;
    if (ptrace(PTRACE_GETSIGMASK, lent->tid, sizeof lent->saved_mask, &lent->saved_mask) < 0)
        return false;
    lent->stepping &= registers_can_step && !(lent->saved_mask & SIGNAL_BIT(SIGTRAP));
    if (lent->stepping)
        mask &= ~SIGNAL_BIT(SIGTRAP);
    return ptrace(PTRACE_SETSIGMASK, lent->tid, sizeof mask, &mask) == 0;
}

enum lent_state lent_begin(struct lent *lent)
{
    lent->page = lent->socket = -1;
    if (registers_read(lent->tid, &lent->saved) < 0)
        return LENT_LOST;
    if (!registers_is_call(lent->tid, lent->call))
        return LENT_LOST;
    borrow_stack(lent);
    errno = EAGAIN;
    return registers_may_call(lent->tid, &lent->saved) && block_signals(lent) ? make_step(lent) : LENT_LOST;
}

/* Only SIGKILL and SIGSTOP can come; or what the call itself has brought about, which is no signal of the app's. */
static bool is_by_call(int signo)
{
    return signo == SIGSYS || signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGTRAP;
}

static enum lent_state on_signal(struct lent *lent, int signo)
{
    if (!is_by_call(signo))
        return goes_on(lent, signo);
    lent->inside = false;
    if (lent->step == LENT_LEAVE)
        return goes_on(lent, 0);
    note_result(lent, -EPERM);
    lent->step++;
    return make_step(lent);
}

/* The kernel's own, for the step; somebody else's waits until the thread has been let go. */
static enum lent_state on_trap(struct lent *lent)
{
    siginfo_t info = {0};
    if (ptrace(PTRACE_GETSIGINFO, lent->tid, 0, &info) < 0)
        return LENT_LOST;
    if (info.si_code > 0)
        return take_result(lent);
    lent->trapped = true;
    return goes_on(lent, 0);
}

static enum lent_state on_call(struct lent *lent)
{
    lent->inside = !lent->inside;
    if (!lent->inside)
        return take_result(lent);
    return lent->step == LENT_UNMAP ? leave(lent) : goes_on(lent, 0); /* the last one: nobody asks for its result */
}

enum lent_state lent_goes_on(struct lent *lent, int status)
{
    bool event = status >> 8 != 0, leaving = lent->step == LENT_LEAVE;
    if (event)
        return leaving ? let_go(lent) : goes_on(lent, 0);
    if (status == SIGTRAP && lent->stepping)
        return on_trap(lent);
    if (status == SYSCALL_STOP)
        return leaving ? goes_on(lent, 0) : on_call(lent);
    return on_signal(lent, status);
}

void lent_give_up(struct lent *lent)
{
    lent->fds = NULL;
    if (!lent->error)
        lent->error = ETIMEDOUT;
}
