/* Could a program be executed? For saying so before it is tried. */
#ifndef SUPERVISOR_APP_PROGRAM_H
#define SUPERVISOR_APP_PROGRAM_H

/* A path, or a name that is looked up in our PATH as execvp(3) does it. 0: yes; else errno (ENOENT, EACCES, …). */
int program_why_not(const char *program);

#endif
