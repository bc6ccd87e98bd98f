/* The helper: has the container made once for all ranks of a node, and kept until the last one has joined.  A child of
 * nobody in the step, so that no rank's end takes it along or waits for it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

/* Ranks may be held up by their prologs: two, of 600 s each. */
enum { JOIN_SECONDS = 1300 };

/* Closes all descriptors from 3 on but these two, of which each may be -1. */
static void close_all_but(int one, int other)
{
	int low = one < other ? one : other, high = one < other ? other : one;
	unsigned first = 3;

	if (low >= 3) {
		if (low > 3)
			sys_close_range(first, (unsigned)low - 1, 0);
		first = (unsigned)low + 1;
	}
	if (high >= (int)first) {
		if (high > (int)first)
			sys_close_range(first, (unsigned)high - 1, 0);
		first = (unsigned)high + 1;
	}
	sys_close_range(first, ~0U, 0);
}

/* Lets go of what it inherited, but for the image that root mounted and, where there is a check, the standard error: a
 * rank's output held open would keep srun waiting. */
static void detach(int image, int err)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_all_but(image, err);
}

static void hold(struct bb_share *share, struct bb_check *check)
{
	long limit = bb_now() + JOIN_SECONDS;
	uint32_t joined;

	while ((joined = atomic_load(&share->joined)) < share->ranks && bb_now() < limit && bb_alive(share->stepd)) {
		bb_check_feed(check, share);
		bb_futex_wait(&share->joined, joined);
	}
	bb_check_feed(check, share);
}

/* Takes the program out of the entry in share->entry, if that is one. */
static int open_entry(struct bb_share *share, struct bb_entry *entry, struct bb_err *err)
{
	if (bb_entry_open(entry, share->entry, share->entry_size, err) < 0)
		return -1;
	share->program = entry->program;
	return 0;
}

/* An entry that every guard says still holds. */
static bool take_cached(struct bb_share *share, int cache, struct bb_entry *entry)
{
	struct bb_err ignored;
	const char *broken;

	share->entry_size = bb_cache_load(cache, &share->key, share->entry, sizeof share->entry);
	share->cached = share->entry_size && open_entry(share, entry, &ignored) == 0 && bb_entry_holds(entry, &broken);
	return share->cached;
}

static bool same_time(const struct timespec *one, const struct timespec *other)
{
	return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/* Whether the image that the program names is the file that root mounted: that was before any guard was made or asked, and
 * a plan of one file must not be kept, or used, for another that has come into its place since. */
static bool same_image(struct bb_share *share, const struct bb_entry *entry)
{
	const struct stat *file = &share->file;
	struct stat status;
	struct bb_op op;
	size_t cursor = 0;

	if (share->image < 0 || !bb_program_next(&entry->program, &cursor, &op) || op.verb != BB_ROOT_SQUASHFS)
		return true;
	if (stat(op.arg[0], &status) == 0 && status.st_dev == file->st_dev && status.st_ino == file->st_ino &&
	    status.st_size == file->st_size && same_time(&status.st_mtim, &file->st_mtim) &&
	    same_time(&status.st_ctim, &file->st_ctim))
		return true;
	bb_broken(share, "cannot use the image ", op.arg[0], "it was replaced while the step started; start the step again");
	return false;
}

/* Finds or makes the program. */
static int obtain(struct bb_share *share, const struct bb_request *request)
{
	struct bb_entry entry;
	struct bb_err err;
	int rc = 0, cache = request->cache[0] ? bb_cache_open(request->cache, &err) : -1;

	if (cache < 0 || request->replan || !take_cached(share, cache, &entry)) {
		rc = bb_plan(share, request);
		if (rc == 0 && open_entry(share, &entry, &err) < 0) {
			bb_err_text(&err, share->text, sizeof share->text);
			rc = -1;
		}
	}
	if (rc == 0 && !same_image(share, &entry))
		rc = -1;
	/* What comes with a warning is planned each time, so that the warning is heard each time. */
	if (rc == 0 && !share->cached && cache >= 0 && entry.cacheable && !share->text[0])
		bb_cache_store(cache, &share->key, share->entry, share->entry_size);
	bb_close(&cache);
	return rc;
}

static void help(struct bb_share *share, const struct bb_request *request, const struct bb_step_values *values)
	__attribute__((noreturn));

static void help(struct bb_share *share, const struct bb_request *request, const struct bb_step_values *values)
{
	unsigned long long start = bb_now_us();
	struct bb_check check = { .pid = -1, .feed = -1 };
	int leash = -1, err = bb_check_stderr(request);

	share->checked = err >= 0;
	detach(share->image, err);
	if (obtain(share, request) == 0 && bb_advance(share, BB_PLANNED))
		leash = bb_holder_start(share, values);
	if (leash < 0) {
		bb_advance(share, BB_BROKEN);
		_exit(BB_FAILED);
	}
	share->entered = bb_now_us() - start;
	if (err >= 0)
		bb_check_start(&check, share, request, err);
	if (bb_advance(share, BB_READY))
		hold(share, &check);
	bb_close(&leash);
	bb_check_finish(&check, share);
	_exit(0);
}

int bb_helper_start(struct bb_share *share, const struct bb_request *request, const struct bb_step_values *values,
		    struct bb_err *err)
{
	/* In between, so that the helper is a child of nobody in the step.  It shares this rank's memory, as no more than the
	 * helper is to cost a copy of slurmstepd's page tables. */
	static const char what[] = "the process that makes the container";
	pid_t child = vfork();
	int status = 0;

	if (child == 0) {
		pid_t helper = fork();

		if (helper == 0)
			help(share, request, values);
		/* Not by the helper itself, which may be ended before it gets there. */
		if (helper > 0)
			atomic_store(&share->helper, helper);
		_exit(helper < 0 ? errno : 0);
	}
	if (child < 0)
		return bb_fail(err, errno, "fork", what);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return bb_fail(err, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR, "fork", what);
	return 0;
}
