/* What each verb does; main.c's table calls them. Each returns the exit code. argv[0] is the verb, argv[argc] NULL. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "config/config.h"

/* Runs the app and supervises it to its end. config->command is set. Returns the app's code, 128+n, 126, 127 or 125. */
int verb_run(const struct config *config);

/* These parse their options with options_parse(): 0 done, 1 failed or refused, 2 wrong usage. */
int verb_drain(int argc, char **argv);
int verb_resume(int argc, char **argv);
int verb_status(int argc, char **argv);

/* Validates and prints what is in force: 0, or 1 after printing all that is wrong. */
int verb_check(int argc, char **argv);

/* Tries what works here and prints it: 0 all that is needed, 1 something is missing or not known. */
int verb_doctor(int argc, char **argv);

#endif
