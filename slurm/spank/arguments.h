/* What srun, sbatch or salloc was told, where Slurm hides it from its plugins: read from the arguments as text. */
#ifndef BB_ARGUMENTS_H
#define BB_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

struct bb_arguments {
	bool interactive;        /* --interactive, with which salloc starts its own srun */
	bool multi_prog;         /* --multi-prog */
	const char *container;   /* the value of --container, a part of the text; NULL where it was not given */
	const char *task_prolog; /* the same of --task-prolog */
};

/* Reads the `size` bytes of /proc/PID/cmdline (proc(5)) at `text`: arguments, each ended by NUL, the first `count` of them
 * and at most up to "--".  The last one may be cut off; two NULs of the caller's follow the text. */
void bb_arguments_read(const char *text, size_t size, int count, struct bb_arguments *arguments);

/* Whether the components of a heterogeneous step (arguments parted by ":") have the same --container, or all none.  What an
 * application is given counts too: where its options begin is not to be seen here. */
bool bb_arguments_agree(const char *text, size_t size);

#endif
