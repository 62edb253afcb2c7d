/* refusal: what makes a process refuse is named, each time; and what does not, is not. A process of another
 * architecture is left alone, and says so. */
#include <check.h>
#include <errno.h>
#include <linux/elf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "refuse.h"
#include "supervisor/handles/ptrace_duplicate.h"
#include "supervisor/handles/refusal.h"
#include "waiting.h"

static pid_t app, debugger;
static volatile char *said; /* in memory that all see */

static void start(void (*become)(void))
{
    said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert((void *)said != MAP_FAILED);
    app = fork();
    ck_assert_int_ge(app, 0);
    if (app == 0) {
        become();
        said[0] = 1;
        for (;;)
            pause();
    }
    ck_assert(wait_until(said[0] || waitpid(app, NULL, WNOHANG) != 0) && said[0]);
}

static const char *explain(int error)
{
    static char text[256];
    refusal_explain(app, error, text, sizeof text);
    return text;
}

static void expect_reason(const char *reason)
{
    ck_assert_msg(strstr(explain(EPERM), reason), "%s", explain(EPERM));
    ck_assert_msg(strstr(explain(ENOSYS), reason), "%s", explain(ENOSYS));
    ck_assert_str_eq(explain(EMFILE), strerror(EMFILE));
}

static void become_nothing(void)
{
}

START_TEST(nothing_is_odd)
{
    start(become_nothing);
    ck_assert_str_eq(explain(EPERM), strerror(EPERM));
    ck_assert_str_eq(explain(ENOSYS), strerror(ENOSYS));
}
END_TEST

START_TEST(gone)
{
    start(become_nothing);
    kill(app, SIGKILL);
    ck_assert_int_eq(waitpid(app, NULL, 0), app);
    ck_assert_str_eq(explain(EPERM), strerror(EPERM));
    app = 0;
}
END_TEST

START_TEST(traced)
{
    char wanted[64];
    start(become_nothing);
    debugger = fork();
    if (debugger == 0) {
        said[1] = ptrace(PTRACE_SEIZE, app, 0, 0) == 0 ? 1 : 2;
        for (;;)
            pause();
    }
    ck_assert(wait_until(said[1] != 0) && said[1] == 1);
    snprintf(wanted, sizeof wanted, "is traced already, by process %d", debugger);
    expect_reason(wanted);
}
END_TEST

static void become_not_dumpable(void)
{
    ck_assert(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
}

START_TEST(not_dumpable)
{
    start(become_not_dumpable);
    expect_reason("is not dumpable");
}
END_TEST

static void become_filtered(void)
{
    refuse_call(SYS_io_uring_setup, ENOSYS);
}

START_TEST(filtered)
{
    start(become_filtered);
    expect_reason("seccomp filter of its own");
}
END_TEST

static void become_far(void)
{
    ck_assert_int_eq(unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET), 0);
}

START_TEST(in_another_network)
{
    start(become_far);
    expect_reason("network namespace of its own");
}
END_TEST

#if defined(__x86_64__)
/* A program for i386 that waits: mov eax, 29 (pause); int 0x80; jmp. */
static const unsigned char code[] = {0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7};
enum { AT = 0x8048000 };

static void write_program(int file)
{
    Elf32_Ehdr head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_EXEC,
                       .e_machine = EM_386, .e_version = EV_CURRENT, .e_phoff = sizeof head, .e_ehsize = sizeof head,
                       .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1};
    Elf32_Phdr part = {.p_type = PT_LOAD, .p_vaddr = AT, .p_flags = PF_R | PF_X, .p_align = 4096};
    head.e_entry = AT + sizeof head + sizeof part;
    part.p_filesz = part.p_memsz = sizeof head + sizeof part + sizeof code;
    ck_assert_int_eq(write(file, &head, sizeof head), sizeof head);
    ck_assert_int_eq(write(file, &part, sizeof part), sizeof part);
    ck_assert_int_eq(write(file, code, sizeof code), sizeof code);
}

static bool is_running_it(void)
{
    char path[64], link[64] = "";
    snprintf(path, sizeof path, "/proc/%d/exe", app);
    return readlink(path, link, sizeof link - 1) > 0 && strstr(link, "i386");
}

/* Where the kernel runs no such programs, there is nothing to refuse. */
START_TEST(of_another_architecture)
{
    int status;
    int program = memfd_create("i386", MFD_CLOEXEC);
    write_program(program);
    app = fork();
    if (app == 0) {
        fexecve(program, (char *[]){"i386", NULL}, (char *[]){NULL});
        _exit(errno == ENOEXEC ? 77 : 1);
    }
    ck_assert(wait_until(is_running_it() || waitpid(app, &status, WNOHANG) == app));
    if (!is_running_it()) {
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 77);
        app = 0;
        return;
    }
    expect_reason("runs another architecture's code (ELF machine 3,");
    errno = 0;
    ck_assert(wait_until(ptrace_duplicate(app, 0) < 0 && errno != EAGAIN));
    ck_assert_int_eq(errno, ENOSYS);
    ck_assert_int_eq(kill(app, 0), 0);
    ck_assert_int_eq(waitpid(app, &status, WNOHANG), 0);
}
END_TEST
#endif

static void tear_down(void)
{
    if (debugger > 0)
        kill(debugger, SIGKILL);
    if (app > 0)
        kill(app, SIGKILL);
}

int main(void)
{
    Suite *suite = suite_create("refusal");
    TCase *tc = tcase_create("refusal");

    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, nothing_is_odd);
    tcase_add_test(tc, gone);
    tcase_add_test(tc, traced);
    tcase_add_test(tc, not_dumpable);
    tcase_add_test(tc, filtered);
    tcase_add_test(tc, in_another_network);
#if defined(__x86_64__)
    tcase_add_test(tc, of_another_architecture);
#endif
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
