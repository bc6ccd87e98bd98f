/* The callbacks that Slurm looks for, and which part each leads to. */
#define _GNU_SOURCE
#include "plugin.h"

SPANK_PLUGIN(bareboat, 1)

/* Set by slurmstepd before it forks the ranks, which inherit it. */
static struct bb_share *share;
static int failure;

int slurm_spank_init(spank_t sp, int argc, char **argv)
{
	spank_context_t context = spank_context();

	(void)sp, (void)argc, (void)argv;
	if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR)
		bb_local_init();
	return 0;
}

int slurm_spank_init_post_opt(spank_t sp, int argc, char **argv)
{
	spank_context_t context = spank_context();

	if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR)
		bb_local_post_opt(sp);
	/* Newer releases drain the node for anything but 0 from here, so failures wait for the ranks to tell them. */
	if (context == S_CTX_REMOTE)
		share = bb_remote_open(sp, argc, argv, &failure);
	return 0;
}

int slurm_spank_task_init(spank_t sp, int argc, char **argv)
{
	(void)argc, (void)argv;
	if (share)
		bb_task_join(sp, share);
	else if (failure)
		bb_task_refuse(sp, failure);
	return 0;
}

int slurm_spank_exit(spank_t sp, int argc, char **argv)
{
	(void)sp, (void)argc, (void)argv;
	if (share && spank_context() == S_CTX_REMOTE)
		bb_step_over(share);
	if (spank_context() == S_CTX_LOCAL)
		bb_compare_finish();
	return 0;
}
