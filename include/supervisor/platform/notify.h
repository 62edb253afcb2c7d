/* The service manager's notifications, by the protocol of sd_notify(3) (one datagram of NAME=value lines to
 * $NOTIFY_SOCKET). Never blocks: what cannot be sent now is sent again soon, from the loop. Without NOTIFY_SOCKET
 * all of it does nothing. */
#ifndef SUPERVISOR_PLATFORM_NOTIFY_H
#define SUPERVISOR_PLATFORM_NOTIFY_H

#include <stdint.h>

struct ev_loop;
struct notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment, so that neither the app
 * nor the agent speaks in our name. To be called before the app's environment is made. NULL when there is no socket to
 * talk to (a vsock address is refused quietly); every call below takes NULL. `loop` must outlive it. */
struct notify *notify_create(struct ev_loop *loop);
void notify_destroy(struct notify *notify);

/* READY=1, once the app runs; from then on WATCHDOG=1 at half of WATCHDOG_USEC, if the watchdog is meant for us. */
void notify_ready(struct notify *notify, const char *status);

/* STOPPING=1, at the stop signal. */
void notify_stopping(struct notify *notify, const char *status);

/* STATUS=… : one line for `systemctl status`; line ends in it become blanks. */
void notify_status(struct notify *notify, const char *status);

/* Half of WATCHDOG_USEC, or 0 when no watchdog waits for us. */
int64_t notify_watchdog_interval_us(const struct notify *notify);

#endif
