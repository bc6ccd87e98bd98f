/* The user's groups in the container.  A process without root may map only its own gid; so, as root, slurmstepd forks a
 * child that waits for the holder's namespace, maps the groups that Slurm's credential gives the job, and leaves.  It
 * does nothing else, and takes nothing from the user but a pid, which it checks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

/* As long as a rank may be held up by its prologs. */
enum { OFFER_SECONDS = 900, ASK_SECONDS = 5, BUSY_SECONDS = 60, MAP_MAX = 4096 };

struct offer {
	uid_t uid;
	pid_t stepd; /* not what the shared memory says */
	unsigned count; /* of those in the map */
	bool whole;     /* the map has all */
	size_t length;
	char map[MAP_MAX]; /* the kernel takes less than a page of 4 KiB at once (user_namespaces(7)) */
};

static bool add_group(struct offer *offer, gid_t gid)
{
	char line[64];
	size_t at = bb_put_number(line, sizeof line, 0, gid);

	at = bb_put(line, sizeof line, at, " ");
	at = bb_put_number(line, sizeof line, at, gid);
	at = bb_put(line, sizeof line, at, " 1\n");
	if (at >= sizeof offer->map - offer->length)
		return false;
	memcpy(offer->map + offer->length, line, at + 1);
	offer->length += at;
	offer->count++;
	return true;
}

static bool among(const gid_t *groups, int count, gid_t gid)
{
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* The primary group, then the others once each, up to the kernel's limits (user_namespaces(7)). */
static bool read_groups(spank_t sp, struct offer *offer)
{
	enum { EXTENTS_MAX = 340 };
	gid_t primary, *groups = NULL;
	int count = 0;

	if (spank_get_item(sp, S_JOB_UID, &offer->uid) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_GID, &primary) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_SUPPLEMENTARY_GIDS, &groups, &count) != ESPANK_SUCCESS)
		return false;
	offer->whole = add_group(offer, primary);
	for (int i = 0; i < count && offer->whole; i++)
		if (groups[i] != primary && !among(groups, i, groups[i]))
			offer->whole = offer->count < EXTENTS_MAX && add_group(offer, groups[i]);
	return true;
}

static int open_process(pid_t pid)
{
	char path[32];
	size_t at = bb_put(path, sizeof path, 0, "/proc/");

	bb_put_number(path, sizeof path, at, (unsigned long long)pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool write_below(int process, const char *name, const char *text, size_t length)
{
	int fd = openat(process, name, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, length) == (ssize_t)length;

	bb_close(&fd);
	return written;
}

/* The pid is the user's word.  All that it can get is this user's own groups, in a user namespace that a process of
 * this user is in and that has no groups yet, with setgroups(2) denied first: nothing that it could not do itself
 * but for the number of groups. */
static bool map_groups(const struct offer *offer, pid_t pid)
{
	struct stat owner, own, theirs;
	int process = open_process(pid);
	bool done = process >= 0 && fstat(process, &owner) == 0 && owner.st_uid == offer->uid &&
		    stat("/proc/self/ns/user", &own) == 0 && fstatat(process, "ns/user", &theirs, 0) == 0 &&
		    own.st_ino != theirs.st_ino && write_below(process, "setgroups", "deny", 4) &&
		    write_below(process, "gid_map", offer->map, offer->length);

	bb_close(&process);
	return done;
}

static void wait_for_helper(struct bb_share *share, const struct offer *offer) __attribute__((noreturn));

static void wait_for_helper(struct bb_share *share, const struct offer *offer)
{
	long limit = bb_now() + OFFER_SECONDS;
	uint32_t asked = BB_MAP_ASKED;

	sys_close_range(0, ~0U, 0);
	while (atomic_load(&share->mapping) == BB_MAP_IDLE && bb_now() < limit && bb_alive(offer->stepd))
		bb_futex_wait(&share->mapping, BB_MAP_IDLE);
	/* Whoever asked may have given up meanwhile, and then maps for itself: only one of the two may. */
	if (atomic_compare_exchange_strong(&share->mapping, &asked, BB_MAP_BUSY)) {
		bool done = map_groups(offer, atomic_load(&share->holder));

		atomic_store(&share->mapping, done ? BB_MAP_DONE : BB_MAP_FAILED);
		bb_futex_wake(&share->mapping);
	}
	_exit(0);
}

void bb_groups_offer(spank_t sp, struct bb_share *share)
{
	struct offer offer = { .stepd = getpid() };
	pid_t child;

	/* A lone group the holder can map by itself. */
	if (!read_groups(sp, &offer) || offer.count < 2)
		return;
	child = vfork();
	if (child == 0) {
		/* A grandchild: slurmstepd waits for its tasks' pids only, and must not find another child. */
		pid_t mapper = fork();

		if (mapper == 0)
			wait_for_helper(share, &offer);
		atomic_store(&share->mapper, mapper > 0 ? mapper : 0);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	share->unmapped = !atomic_load(&share->mapper);
	share->most_groups = offer.whole ? 0 : offer.count;
}

void bb_groups_withdraw(struct bb_share *share)
{
	atomic_store(&share->mapping, BB_MAP_FAILED);
	bb_futex_wake(&share->mapping);
}

bool bb_groups_mapped(void *data)
{
	struct bb_share *share = data;
	int mapper = atomic_load(&share->mapper);
	long limit = bb_now() + ASK_SECONDS;
	uint32_t asked = BB_MAP_ASKED;

	if (!mapper)
		return false;
	atomic_store(&share->mapping, BB_MAP_ASKED);
	bb_futex_wake(&share->mapping);
	while (atomic_load(&share->mapping) == BB_MAP_ASKED && bb_now() < limit && bb_alive(mapper))
		bb_futex_wait(&share->mapping, BB_MAP_ASKED);
	if (atomic_compare_exchange_strong(&share->mapping, &asked, BB_MAP_FAILED))
		return false;
	/* It has begun; what is left is two writes to /proc. */
	limit = bb_now() + BUSY_SECONDS;
	while (atomic_load(&share->mapping) == BB_MAP_BUSY && bb_now() < limit && bb_alive(mapper))
		bb_futex_wait(&share->mapping, BB_MAP_BUSY);
	return atomic_load(&share->mapping) == BB_MAP_DONE;
}
