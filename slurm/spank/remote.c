/* slurmstepd, as root, before it forks the ranks. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugin.h"

void bb_step_over(struct bb_share *step)
{
	bb_groups_withdraw(step);
	/* The helper holds the container for ranks that ended before they joined: no more will come. */
	atomic_store(&step->joined, step->ranks);
	bb_futex_wake(&step->joined);
}

struct bb_share *bb_remote_open(spank_t sp, int argc, char **argv, int *failure)
{
	char image[PATH_MAX];
	struct bb_share *share;
	uint32_t step = 0;
	spank_err_t got;

	/* The extern step holds the job's place on the node and runs nothing of the user's. */
	if (spank_get_item(sp, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step == SLURM_EXTERN_CONT)
		return NULL;
	got = spank_getenv(sp, BB_CONTAINER, image, sizeof image);
	if (got == ESPANK_ENV_NOEXIST)
		return NULL;
	/* What is too long for a path could be cut off to that of another file. */
	if (got != ESPANK_SUCCESS)
		image[0] = '\0';
	share = mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* For the ranks to tell: of a slurmstepd that ends here, srun learns nothing, and waits. */
	if (share == MAP_FAILED) {
		*failure = errno;
		return NULL;
	}
	share->stepd = getpid();
	if (spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &share->ranks) != ESPANK_SUCCESS)
		share->ranks = 1;
	bb_put(share->named, sizeof share->named, 0, image);
	share->image = bb_store_mount(image, argc, argv, &share->file, share->note, sizeof share->note);
	bb_rundir_make(sp);
	bb_groups_offer(sp, share);
	return share;
}
