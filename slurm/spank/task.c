/* Each rank, as the user, in the job's namespaces and cgroup, just before Slurm executes the application. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

/* Longer than the planner's own limit, so that its reason is heard first. */
enum { ENTER_SECONDS = 150, VARIABLES_MAX = 1024 };

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

/* The variables that the planner decides by; what else is in the user's environment is none of its business, and
 * what steers the loader (LD_*) would steer the planner's. */
static bool for_planner(const char *variable)
{
	static const char *const wanted[] = {
		"SLURM", "BAREBOAT_", "PMI", "OMPI_", "HOME=", "USER=", "LOGNAME=", "PATH=", "TZ=",
		"TMPDIR=", "LANG=", "LC_ALL=",
	};

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (!strncmp(variable, wanted[i], strlen(wanted[i])))
			return true;
	return false;
}

static void choose_variables(spank_t sp, char **chosen, char *prologs)
{
	char **environment = NULL;
	size_t count = 0;

	if (spank_get_item(sp, S_JOB_ENV, &environment) == ESPANK_SUCCESS)
		for (size_t i = 0; environment[i] && count < VARIABLES_MAX - 2; i++)
			if (for_planner(environment[i]))
				chosen[count++] = environment[i];
	chosen[count++] = prologs;
	chosen[count] = NULL;
}

static void start_helper(spank_t sp, struct bb_share *share, char *prologs)
{
	static char *nothing[] = { NULL };
	char *variables[VARIABLES_MAX];
	struct bb_request request = { .argv = nothing, .environment = variables };
	struct bb_err err;
	int argc = 0;

	choose_variables(sp, variables, prologs);
	if (spank_get_item(sp, S_JOB_ARGV, &argc, &request.argv) != ESPANK_SUCCESS)
		request.argv = nothing;
	if (bb_helper_start(share, &request, &err) < 0) {
		bb_err_text(&err, share->text, sizeof share->text);
		atomic_store(&share->state, BB_BROKEN);
		bb_futex_wake(&share->state);
	}
}

/* Waits until the container stands; returns the state. */
static enum bb_state wait_for_container(struct bb_share *share)
{
	long limit = bb_now() + ENTER_SECONDS;
	enum bb_state state;

	while ((state = atomic_load(&share->state)) == BB_WORKING) {
		int helper = atomic_load(&share->helper);

		if (helper && !bb_alive(helper) && atomic_load(&share->state) == BB_WORKING) {
			bb_put(share->text, sizeof share->text, 0,
			       "the process that makes the container was ended from outside; see the node's kernel log "
			       "(out of memory?) and try again");
			return BB_BROKEN;
		}
		if (bb_now() > limit) {
			bb_put(share->text, sizeof share->text, 0,
			       "the container was not ready within 150 s; the node is overloaded or a file system hangs");
			return BB_BROKEN;
		}
		bb_futex_wait(&share->state, BB_WORKING);
	}
	return state;
}

/* What the planner had to say, told once a step. */
static void pass_on_warnings(spank_t sp, const struct bb_share *share)
{
	uint32_t node = 0;

	if (share->text[0] && spank_get_item(sp, S_JOB_NODEID, &node) == ESPANK_SUCCESS && node == 0)
		bb_say(sp, share->text);
}

void bb_task_join(spank_t sp, struct bb_share *share)
{
	struct bb_environment environment = { .data = sp, .get = get, .set = set, .unset = unset };
	char prologs[8192] = BB_TASK_PROLOGS "=";
	struct bb_program program;
	struct bb_err err;
	bool first;

	/* Slurm runs them after this, inside the container, where they are not: here is their place. */
	bb_prologs_run(sp, prologs + strlen(prologs), sizeof prologs - strlen(prologs));
	first = atomic_fetch_add(&share->claimed, 1) == 0;
	if (first)
		start_helper(sp, share, prologs);
	if (wait_for_container(share) != BB_READY) {
		if (first)
			bb_say(sp, share->text);
		_exit(BB_FAILED);
	}
	if (first)
		pass_on_warnings(sp, share);
	if (bb_program_open(&program, share->program, share->program_size, &err) < 0 ||
	    bb_join(&share->namespaces, &err) < 0)
		bb_die_err(sp, &err);
	atomic_fetch_add(&share->joined, 1);
	bb_futex_wake(&share->joined);
	if (bb_settle(&program, &environment, &err) < 0)
		bb_die_err(sp, &err);
}
