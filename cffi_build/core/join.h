/* Join: a rank enters namespaces that exist, and settles in them. */
#ifndef BB_JOIN_H
#define BB_JOIN_H

#include <stdint.h>
#include <sys/types.h>

#include "program.h"

/* Which namespaces: the process that holds them, their inode numbers, which tell a reused pid from the holder, and the
 * device and inode of their root. */
struct bb_namespaces {
	pid_t pid;
	uint64_t user, mnt;
	uint64_t root_device, root_inode;
};

/* Opens the directory by which bb_namespaces_self asks: to be done before the process enters a root that may have no
 * /proc. */
int bb_namespaces_open(struct bb_err *err);

/* Fills in the namespaces that the calling process is in now. */
int bb_namespaces_self(int directory, struct bb_namespaces *namespaces, struct bb_err *err);

/* What a process that enters for others tells them, each in one write(2): that it wants its groups mapped (the answer is
 * one byte, BB_MAPPED or another), then how it ended. */
enum bb_told { BB_ENTERED, BB_NOT_ENTERED, BB_ASKS_FOR_GROUPS };
enum { BB_MAPPED = 'y' };

struct bb_entered {
	enum bb_told told;
	struct bb_err err; /* where it failed */
	struct bb_namespaces namespaces;
};

/* Moves the calling single-threaded process into them; fails where their root is another one by now. */
int bb_join(const struct bb_namespaces *namespaces, struct bb_err *err);

/* How a rank's environment is reached: the plugin's is Slurm's, bareboat-enter's is its own.  Each returns 0 or -1;
 * `get` fails where the variable is not set or longer than `size`. */
struct bb_environment {
	void *data;
	int (*get)(void *data, const char *name, char *value, size_t size);
	int (*set)(void *data, const char *name, const char *value);
	int (*unset)(void *data, const char *name);
};

/* Applies what the program says about the environment: before or after joining. */
int bb_set_environment(const struct bb_program *program, const struct bb_environment *environment, struct bb_err *err);

/* Applies what the program says about the process itself, once that is inside: working directory, no_new_privs. */
int bb_settle(const struct bb_program *program, struct bb_err *err);

#endif
