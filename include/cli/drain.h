/* `lastcall drain` and `lastcall resume`. argv[0] is the verb. They return the exit code: what the supervisor said, 1
 * when it could not be asked or ended before it was still, 2 for wrong usage or several instances. */
#ifndef CLI_DRAIN_H
#define CLI_DRAIN_H

int drain_main(int argc, char **argv);
int resume_main(int argc, char **argv);

#endif
