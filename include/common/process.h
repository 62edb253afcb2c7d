/* Facts about processes, read from procfs (proc(5)). Reads only; never waits for a process, never signals one. */
#ifndef COMMON_PROCESS_H
#define COMMON_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The app tree at one moment: every descendant of `root` except `except` and what descends from it. Parents stand
 * before their children. A process that appears or ends while it is read may be missing. */
struct process_tree {
    pid_t *pids; /* heap */
    size_t count, room;
};

/* Reads the tree by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN), else by the parents in /proc/PID/stat.
 * `root` itself is not in it. Returns 0, or -1 and errno (the tree is then empty). The tree may be used again. */
int process_tree_read(struct process_tree *tree, pid_t root, pid_t except);
void process_tree_finish(struct process_tree *tree);

/* Has `pid` a child but `except`? Zombies count. Much cheaper than its tree, and the same answer to "is nothing left?"
 * where `pid` adopts its orphans. 1: yes; 0: no; -1 and errno. Allocates nothing. */
int process_has_child(pid_t pid, pid_t except);

/* Something runs beside the app that is a child of `root`, too (a hook, the leader of its process group): it, what
 * descends from it and what is in its group is in no tree that this process reads from here on, and is no child. 0:
 * nothing is left out any more. */
void process_leave_out(pid_t pid);
pid_t process_left_out(void);

/* The fields of /proc/PID/stat that lastcall uses. */
struct process_stat {
    pid_t ppid, pgrp, session;
    char state;            /* R S D T t Z X I */
    uint64_t start_ticks;  /* since boot: with the pid it names a process for good */
    char name[16];
};
/* Returns 0, or -1 and errno (ENOENT, ESRCH: gone). */
int process_read_stat(pid_t pid, struct process_stat *stat);

/* Signal sets of /proc/PID/status as bits, bit n-1 for signal n. `blocked` is the union over all threads
 * (/proc/PID/task/TID/status): a signal that some thread blocks may be taken by sigwait(3) or signalfd(2). */
struct process_signals {
    uint64_t caught, ignored, blocked;
};
/* Returns 0, or -1 and errno. */
int process_read_signals(pid_t pid, struct process_signals *signals);

/* The effective uid, or -1 and errno. */
int process_read_uid(pid_t pid, uid_t *uid);

/* Calls `each` for every socket that pid has open, by readlink(2) on /proc/PID/fd (needs PTRACE_MODE_READ: the same
 * uid, or CAP_SYS_PTRACE). Returns 0, or -1 and errno: EACCES when the app changed its uid, ENOENT when it is gone. */
int process_each_socket(pid_t pid, void (*each)(void *context, pid_t pid, int fd, uint64_t inode), void *context);

/* A descriptor of a socket: a process may have several (dup(2)), and so may several processes (fork(2), SCM_RIGHTS).
 * Beside one that stands for all, so many others are named. */
struct socket_holder {
    int32_t pid, fd; /* pid 0: none */
};
enum { SOCKET_OTHERS = 7 };

/* The inode behind one descriptor of pid if it is a socket, else 0 (closed, no socket, no right). */
uint64_t process_socket_inode(pid_t pid, int fd);

#endif
