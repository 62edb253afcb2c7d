/* `lastcall status`. argv[0] is the verb. Returns the exit code; with --ready 0 only in the phase `running`. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

int status_main(int argc, char **argv);

#endif
