/* A child process that plays the app: runs a function, tells when it is done, waits until it may end. */
#ifndef TESTS_APP_CHILD_H
#define TESTS_APP_CHILD_H

#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

struct app_child {
    pid_t pid;
    int talk;          /* both ways, one byte a step */
};

/* In the child: tells the parent that a step is done and waits for the next one; at the end of the parent it exits. */
static inline void app_child_step(int talk)
{
    char byte = 's';
    if (write(talk, &byte, 1) != 1 || read(talk, &byte, 1) != 1)
        _exit(0);
}

/* Starts `run` in a child and waits for its first app_child_step(). */
static inline struct app_child app_child_start(void (*run)(int talk, void *context), void *context)
{
    int ends[2];
    char byte;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(ends[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(ends[1], context);
        _exit(0);
    }
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    return (struct app_child){pid, ends[0]};
}

/* Lets the child go on to its next step and waits until it got there. */
static inline void app_child_next(struct app_child *child)
{
    char byte = 'n';
    ck_assert_int_eq(write(child->talk, &byte, 1), 1);
    ck_assert_int_eq(read(child->talk, &byte, 1), 1);
}

static inline void app_child_end(struct app_child *child)
{
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    close(child->talk);
}

static inline uint64_t inode_of(int fd)
{
    struct stat at;
    ck_assert_int_eq(fstat(fd, &at), 0);
    return at.st_ino;
}

#endif
