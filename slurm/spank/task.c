/* Each rank, as the user, in the job's namespaces and cgroup, just before Slurm executes the application. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "plugin.h"

/* Longer than the planner's own limit, so that its reason is heard first. */
enum { ENTER_SECONDS = 150 };

static int get(void *data, const char *name, char *value, size_t size)
{
	return spank_getenv(data, name, value, (int)size) == ESPANK_SUCCESS ? 0 : -1;
}

static int set(void *data, const char *name, const char *value)
{
	return spank_setenv(data, name, value, 1) == ESPANK_SUCCESS ? 0 : -1;
}

static int unset(void *data, const char *name)
{
	spank_err_t rc = spank_unsetenv(data, name);

	return rc == ESPANK_SUCCESS || rc == ESPANK_ENV_NOEXIST ? 0 : -1;
}

/* A task prolog may have named another image since root mounted the one of the step. */
static void forget_another_image(spank_t sp, struct bb_share *share)
{
	char image[PATH_MAX];

	if (get(sp, BB_CONTAINER, image, sizeof image) == 0 && !strcmp(image, share->named))
		return;
	share->image = -1;
	share->note[0] = '\0';
}

static int start_helper(spank_t sp, struct bb_share *share, const struct bb_step_values *values, char *prologs,
			struct bb_err *err)
{
	struct bb_request request;

	forget_another_image(sp, share);
	if (bb_request_read(sp, &request, &share->key, prologs, err) < 0)
		return -1;
	return bb_helper_start(share, &request, values, err);
}

/* Whether who makes the container is gone: the helper, or the first rank before it started one. */
static bool forsaken(const struct bb_share *share)
{
	int claimant = atomic_load(&share->claimant), helper = atomic_load(&share->helper);

	if (helper || bb_alive(claimant))
		return helper && !bb_alive(helper);
	return !atomic_load(&share->helper);
}

static void give_up(struct bb_share *share, const char *reason)
{
	/* The text is the helper's, which may be writing it. */
	atomic_store(&share->reason, reason);
	bb_advance(share, BB_BROKEN);
}

/* Waits until the container has come this far, no longer than until `limit`; NULL, or why it never will. */
static const char *wait_for(struct bb_share *share, enum bb_state wanted, long limit)
{
	uint32_t state;
	const char *reason;

	while ((state = atomic_load(&share->state)) < wanted) {
		/* First of all: asking whether somebody lives costs more than joining. */
		bb_futex_wait(&share->state, state);
		if (atomic_load(&share->state) != state)
			continue;
		/* What it decided before it ended counts. */
		if (forsaken(share) && atomic_load(&share->state) == state)
			give_up(share, "the process that makes the container was ended from outside; see the node's kernel log "
				       "(out of memory?) and try again");
		else if (bb_now() > limit)
			give_up(share, "the container was not ready within 150 s; the node is overloaded or a file system hangs");
	}
	if (state != BB_BROKEN)
		return NULL;
	reason = atomic_load(&share->reason);
	return reason ? reason : share->text;
}

/* Root has mounted the image anew: what its first program needs is read and unpacked while the container is made. */
static void read_ahead(const struct bb_share *share, const struct bb_program *program)
{
	size_t cursor = 0;

	while (share->image >= 0 && atomic_load(&share->state) < BB_READY && bb_read_ahead(program, &cursor, share->image))
		;
}

/* What the planner had to say, and what the plan has, told once a step. */
static void tell_of_step(spank_t sp, const struct bb_share *share)
{
	size_t cursor = 0;
	uint32_t node = 0;
	struct bb_op op;

	if (spank_get_item(sp, S_JOB_NODEID, &node) != ESPANK_SUCCESS || node != 0)
		return;
	if (share->text[0])
		bb_say(sp, share->text);
	while (bb_program_next(&share->program, &cursor, &op))
		if (op.verb == BB_SAY)
			bb_say(sp, op.arg[0]);
}

/* What is less than it should be on this node; of a store only where the image is a file. */
static void tell_of_node(spank_t sp, const struct bb_share *share)
{
	char text[2048];
	struct bb_op op;
	size_t cursor = 0, at;

	if (share->note[0] && bb_program_next(&share->program, &cursor, &op) && op.verb == BB_ROOT_SQUASHFS) {
		at = bb_put(text, sizeof text, 0,
			    "warning: the kernel does not show this image of the store, a FUSE server does, which is slower: ");
		bb_put(text, sizeof text, at, share->note);
		bb_say(sp, text);
	}
	if (share->unmapped) {
		bb_say(sp, "warning: of your groups only one is mapped on this node: the others count when files are opened, but show as "
			   "65534, and chgrp to them fails; start the step again, and if it stays so, see slurmd's log");
	} else if (share->most_groups) {
		at = bb_put(text, sizeof text, 0, "warning: of your groups only ");
		at = bb_put_number(text, sizeof text, at, share->most_groups);
		bb_put(text, sizeof text, at,
		       " are mapped, as many as the kernel takes: the others count when files are opened, but show as 65534, and "
		       "chgrp to them fails; to have another one among them, start the step with sg(1)");
		bb_say(sp, text);
	}
}

static void die(spank_t sp, struct bb_share *share, const char *text) __attribute__((noreturn));

/* Says why no rank of the node can start, once for all of them. */
static void die(spank_t sp, struct bb_share *share, const char *text)
{
	if (!atomic_exchange(&share->told, true))
		bb_say(sp, text);
	_exit(BB_FAILED);
}

static void die_err(spank_t sp, struct bb_share *share, const struct bb_err *err) __attribute__((noreturn));

static void die_err(spank_t sp, struct bb_share *share, const struct bb_err *err)
{
	char text[2048];

	bb_err_text(err, text, sizeof text);
	die(sp, share, text);
}

/* With BAREBOAT_TRACE=1: what this launch cost, in microseconds. */
static void trace(spank_t sp, const struct bb_share *share, unsigned long long joined)
{
	char text[256], wanted[8];
	size_t at;

	if (spank_getenv(sp, "BAREBOAT_TRACE", wanted, sizeof wanted) != ESPANK_SUCCESS || strcmp(wanted, "1") != 0)
		return;
	at = bb_put(text, sizeof text, 0, share->cached ? "trace: entered by the cache in " : "trace: planned and entered in ");
	at = bb_put_number(text, sizeof text, at, share->entered);
	at = bb_put(text, sizeof text, at, " us, joined in ");
	at = bb_put_number(text, sizeof text, at, joined);
	bb_put(text, sizeof text, at, " us");
	bb_say(sp, text);
}

void bb_task_refuse(spank_t sp, int errnum)
{
	char text[256];
	struct bb_err err;
	int rank = 0;

	bb_fail(&err, errnum, "map", "the memory that the ranks share");
	bb_err_text(&err, text, sizeof text);
	/* Nothing is shared that could say whether somebody has told it. */
	if (spank_get_item(sp, S_TASK_ID, &rank) == ESPANK_SUCCESS && rank == 0)
		bb_say(sp, text);
	_exit(BB_FAILED);
}

void bb_task_join(spank_t sp, struct bb_share *share)
{
	struct bb_environment environment = { .data = sp, .get = get, .set = set, .unset = unset };
	char prologs[4 * PATH_MAX] = BB_TASK_PROLOGS "="; /* two paths, of which one may start with a directory's */
	struct bb_step_values values;
	struct bb_program program;
	struct bb_err err;
	unsigned long long start;
	const char *problem;
	int nobody = 0;
	bool first;
	long limit;

	/* proctrack/linuxproc signals no process that is called as slurmstepd is, so a step could not be cancelled here. */
	prctl(PR_SET_NAME, "bareboat");
	/* Slurm runs them after this, inside the container, where they are not: here is their place. */
	bb_prologs_run(sp, prologs + strlen(prologs), sizeof prologs - strlen(prologs));
	bb_values_read(sp, &values);
	first = atomic_compare_exchange_strong(&share->claimant, &nobody, getpid());
	if (first && start_helper(sp, share, &values, prologs, &err) < 0) {
		bb_err_text(&err, share->text, sizeof share->text);
		bb_advance(share, BB_BROKEN);
	}
	limit = bb_now() + ENTER_SECONDS;
	problem = wait_for(share, BB_PLANNED, limit);
	if (problem)
		die(sp, share, problem);
	/* Meanwhile, since a change of a variable takes as long as joining: for each, Slurm writes 256 KiB of zeros. */
	program = share->program;
	program.values = values.list;
	if (bb_set_environment(&program, &environment, &err) < 0)
		die_err(sp, share, &err);
	if (first)
		read_ahead(share, &program);
	problem = wait_for(share, BB_READY, limit);
	if (problem)
		die(sp, share, problem);
	if (first) {
		tell_of_step(sp, share);
		tell_of_node(sp, share);
	}
	start = bb_now_us();
	if (bb_join(&share->namespaces, &err) < 0)
		die_err(sp, share, &err);
	bb_check_sit_down(share, sp);
	if (bb_settle(&program, &err) < 0)
		die_err(sp, share, &err);
	/* Last: on a busy node the helper and bareboat-hold end where this rank runs. */
	start = bb_now_us() - start;
	if (atomic_fetch_add(&share->joined, 1) + 1 >= share->ranks)
		bb_futex_wake(&share->joined);
	trace(sp, share, start);
}
