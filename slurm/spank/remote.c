/* slurmstepd, as root, before it forks the ranks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

/* Makes the user's cache directory, in a directory that is root's alone.  Without one, nothing is cached. */
static void make_cache(spank_t sp)
{
	char name[24];
	struct stat status;
	uid_t uid;
	gid_t gid;
	int run;

	if (spank_get_item(sp, S_JOB_UID, &uid) != ESPANK_SUCCESS || spank_get_item(sp, S_JOB_GID, &gid) != ESPANK_SUCCESS)
		return;
	if (mkdir(BB_RUN, 0755) == 0)
		chmod(BB_RUN, 0755); /* whatever slurmd's umask is */
	run = open(BB_RUN, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bb_put_number(name, sizeof name, 0, uid);
	/* An empty one that is still root's was left by a slurmstepd that was ended before it gave it away. */
	if (run >= 0 && fstatat(run, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_uid == 0 && uid != 0)
		unlinkat(run, name, AT_REMOVEDIR);
	if (run >= 0 && fstat(run, &status) == 0 && status.st_uid == 0 && !(status.st_mode & 022) &&
	    mkdirat(run, name, 0700) == 0 && fchownat(run, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		unlinkat(run, name, AT_REMOVEDIR);
	bb_close(&run);
}

struct bb_share *bb_remote_open(spank_t sp)
{
	char image[2 * PATH_MAX];
	struct bb_share *share;
	uint32_t step = 0;

	/* The extern step holds the job's place on the node and runs nothing of the user's. */
	if (spank_get_item(sp, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step == SLURM_EXTERN_CONT)
		return NULL;
	if (spank_getenv(sp, BB_CONTAINER, image, sizeof image) == ESPANK_ENV_NOEXIST)
		return NULL;
	share = mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Without it, a step that was to run in a container would run outside: it must not start at all. */
	if (share == MAP_FAILED) {
		slurm_error("bareboat: cannot map the memory that the ranks share: %m");
		_exit(BB_FAILED);
	}
	share->stepd = getpid();
	if (spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &share->ranks) != ESPANK_SUCCESS)
		share->ranks = 1;
	make_cache(sp);
	bb_groups_offer(sp, share);
	return share;
}
