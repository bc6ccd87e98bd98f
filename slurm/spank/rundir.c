/* /run/bareboat, as root: a small file system of its own, in which each user has a directory for kept plans.  Users can
 * fill what they can write, and /run itself is the node's: without the room there, daemons fail. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount.h"
#include "plugin.h"
#include "sys.h"

/* tmpfs(5): memory is taken by what is written only, and at most so much of the node's for all users. */
static const char options[] = "mode=0755,size=1%,nr_inodes=32k";

/* BB_RUN, if it is root's alone; -1 otherwise.  `*own` says whether it is a file system of its own. */
static int open_run(bool *own)
{
	int run = open(BB_RUN, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status, above;

	if (run < 0)
		return -1;
	if (fstat(run, &status) < 0 || status.st_uid != 0 || (status.st_mode & 022) || fstatat(run, "..", &above, 0) < 0)
		bb_close(&run);
	*own = run >= 0 && status.st_dev != above.st_dev;
	return run;
}

static void mount_over(int run)
{
	struct mount_attr noexec = { .attr_set = MOUNT_ATTR_NOEXEC };
	struct bb_err ignored;
	int mount = bb_mount_tmpfs(options, BB_RUN, &ignored);

	if (mount >= 0 && sys_mount_setattr(mount, "", AT_EMPTY_PATH, &noexec) == 0)
		sys_move_mount(mount, "", run, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	bb_close(&mount);
}

/* Mounts the file system where it is not there yet: by the first step after the node's start. */
static void provide(void)
{
	bool own = true, still = false;
	int run, again;

	/* For nobody else until then, who could hold the lock. */
	mkdir(BB_RUN, 0700);
	run = open_run(&own);
	/* Another step may be at it, or have been since: what finds the lock taken goes without, and waits for nobody. */
	if (run >= 0 && !own && flock(run, LOCK_EX | LOCK_NB) == 0) {
		again = open_run(&still);
		if (again >= 0 && !still)
			mount_over(run);
		bb_close(&again);
	}
	bb_close(&run);
}

/* Makes the directory of a user, which the user's plans then lie in. */
static void give(int run, uid_t uid, gid_t gid)
{
	char name[24];
	struct stat status;

	bb_put_number(name, sizeof name, 0, uid);
	/* An empty one that is still root's was left by a slurmstepd that was ended before it gave it away. */
	if (fstatat(run, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_uid == 0 && uid != 0)
		unlinkat(run, name, AT_REMOVEDIR);
	if (mkdirat(run, name, 0700) == 0 && fchownat(run, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		unlinkat(run, name, AT_REMOVEDIR);
}

void bb_rundir_make(spank_t sp)
{
	bool own = false;
	uid_t uid;
	gid_t gid;
	int run;

	if (spank_get_item(sp, S_JOB_UID, &uid) != ESPANK_SUCCESS || spank_get_item(sp, S_JOB_GID, &gid) != ESPANK_SUCCESS)
		return;
	run = open_run(&own);
	if (!own) {
		bb_close(&run);
		provide();
		run = open_run(&own);
	}
	if (own)
		give(run, uid, gid);
	bb_close(&run);
}
