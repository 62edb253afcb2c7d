/* Control sockets that nobody listens on any more, as a killed lastcall leaves them: telling and removing.
 * Never waits. A lastcall that is just starting is not taken for a dead one: its socket has no name before it
 * listens (control_place.h). */
#ifndef SUPERVISOR_PLATFORM_CONTROL_DEAD_H
#define SUPERVISOR_PLATFORM_CONTROL_DEAD_H

#include <limits.h>

/* A name beside `path` that no lastcall is found by, as ".1a2b3c": as short as names are, and another one each time. */
void control_dead_name(char name[static PATH_MAX], const char *path);

/* Gives the file `from` the name `to`, unless there is something by that name. Returns 0, or -1 and errno (EEXIST). */
int control_dead_rename(const char *from, const char *to);

/* Removes `path` if it is a socket whose connect(2) is refused. One that took its place meanwhile stays. Returns 1 when
 * it was removed, 0 when it is not dead (or no socket, or gone by itself), -1 and errno when it cannot be removed. */
int control_dead_remove(const char *path);

/* Removes our own dead sockets from a directory of ours, the first few hundred of them: "NAME.sock", and those that a
 * lastcall which was killed while it started has left without a name, when they are older than
 * 10 s. Returns how many. */
unsigned control_dead_sweep(const char *directory);

#endif
