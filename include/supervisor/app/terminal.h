/* Job control: the app's process group is the terminal's foreground group while lastcall's shell thinks that lastcall
 * is, and a stop of the app (^Z) becomes a stop of lastcall, so that fg and bg work as they would without it. */
#ifndef SUPERVISOR_APP_TERMINAL_H
#define SUPERVISOR_APP_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>

struct terminal {
    int fd;          /* of the controlling terminal, close-on-exec; -1: none, or we are not in its foreground */
    pid_t own_group; /* ours: gets the terminal back */
    pid_t app_group; /* 0 until the app runs */
    bool can_stop;   /* a parent in our session, but outside our group, can continue us (not an orphaned group) */
};

/* Finds the controlling terminal (/dev/tty). Never fails: without one, fd is -1 and the rest does nothing. */
void terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);

/* The app's group got stopped by the terminal (SIGTSTP, SIGTTIN, SIGTTOU): take the terminal back and stop ourselves,
 * or continue the app at once when nobody could continue us. Returns when somebody continued us; the terminal is then
 * given to the app again if we are in the foreground, and the app is continued. */
void terminal_app_stopped(struct terminal *terminal);

/* SIGCONT came: give the terminal to the app if our group has it. The caller continues the app. */
void terminal_continued(struct terminal *terminal);

/* The app ended: our group takes the terminal back, so that a script's next command has it. */
void terminal_take_back(struct terminal *terminal);

#endif
