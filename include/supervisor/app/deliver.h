/* Who gets the stop signal, and what it will do to them. */
#ifndef SUPERVISOR_APP_DELIVER_H
#define SUPERVISOR_APP_DELIVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/process.h"

enum deliver_to { DELIVER_AUTO, DELIVER_MAIN, DELIVER_GROUP, DELIVER_TREE };

struct delivery {
    pid_t *pids;            /* heap: who gets it, parents first */
    unsigned count;
    bool ends_at_once;      /* in none of them is the signal caught, ignored, or blocked in any thread */
    pid_t handed_on_to;     /* auto: the child that a waiting main process hands it on to (a chain's last), or 0 */
};

/* Chooses the receivers. AUTO: main; and when main does not catch the signal, has exactly one child, and every thread
 * of it only waits for children (wait4, waitid, rt_sigsuspend, by /proc/PID/syscall or wchan; when that cannot be read,
 * a known shell's name with one child): that child too, again for the child (sh -c, npm). A main process that is PID 1
 * of its own namespace, ignores or catches the signal gets it alone. One exception: npm catches it and passes it to the
 * shell that it has started, and to nobody else; what that shell waits for gets it, too. A zombie gets nothing.
 * `tree` is the app tree. Returns 0, or -1 and errno. */
int delivery_plan(struct delivery *delivery, enum deliver_to to, int signo, pid_t main,
                  const struct process_tree *tree);

/* Plan before a freeze where it matters: a process that was stopped on its way into a signal handler shows the signals
 * that this handler blocks, and is not said to end at once. */

/* Adds those receivers of `former` that are not in it yet and still in the tree. Returns 0, or -1 and errno. */
int delivery_carry_over(struct delivery *delivery, const struct delivery *former, const struct process_tree *tree);

/* kill(2) to each. Returns how many could be signalled. */
unsigned delivery_send(const struct delivery *delivery, int signo);
void delivery_finish(struct delivery *delivery);

#endif
