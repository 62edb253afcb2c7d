/* Duplicates of many sockets at once, for who is about to ask for them one after the other. By ptrace one stop of one
 * thread brings them all; by pidfd_getfd(2) nothing is taken before it is asked for.
 *
 * What is taken lives until it is handed out, or batch_finish(): a batch is for one bounded piece of work, in which
 * each duplicate is closed as soon as its socket has been touched (or is kept by the table of the adopted). */
#ifndef SUPERVISOR_HANDLES_BATCH_H
#define SUPERVISOR_HANDLES_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/handles/duplicate.h"

struct batch_item {
    pid_t pid;
    int fd;
    uint64_t inode;
    int duplicate;  /* -1: none, or it has been handed out */
    int error;      /* why there is none; 0: that is not known */
    bool tried;
};

struct batch {
    struct batch_item items[DUPLICATES_MOST];
    unsigned count, next;
};

/* False: it is full (of `most`, at the most DUPLICATES_MOST). */
bool batch_add(struct batch *batch, unsigned most, pid_t pid, int fd, uint64_t inode);

/* Takes what was added. A process none of whose threads can be stopped is tried until `until_us` of the monotonic
 * clock; 0: once. */
void batch_take(struct batch *batch, int64_t until_us);

/* As duplicate_take_until(), out of the batch when it is there; the caller's from now on. */
int batch_hand_out(struct batch *batch, pid_t pid, int fd, uint64_t inode, int64_t until_us);

/* Closes what was not handed out; the batch is empty. */
void batch_finish(struct batch *batch);

#endif
