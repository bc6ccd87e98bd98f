/* What is asked for, read from the rank's environment and from Slurm. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paths.h"
#include "plugin.h"

enum { GROUPS_MAX = 1024 };

/* What the planner decides by; what else is in the user's environment is none of its business, and what steers the
 * loader (LD_*) would steer the planner's. */
static const char *const for_planner[] = {
	"SLURM", "BAREBOAT_", "PMI", "OMPI_", "HOME=", "USER=", "LOGNAME=", "PATH=", "TZ=", "TMPDIR=", "LANG=", "LC_ALL=", NULL,
};

/* Of these, the ones that the plan follows from; the others differ from step to step, or do not matter. */
static const char *const for_key[] = { "BAREBOAT_", "HOME=", "USER=", "LOGNAME=", "TZ=", NULL };

/* Of those, again, what only makes the launch tell more of itself. */
static const char *const for_people[] = { "BAREBOAT_TRACE=", BB_CHECK "=", NULL };

static bool starts(const char *variable, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (!strncmp(variable, *prefixes, strlen(*prefixes)))
			return true;
	return false;
}

/* The value of a variable; NULL where it is not set. */
static const char *find(char *const *environment, const char *name)
{
	size_t length = strlen(name);

	for (; *environment; environment++)
		if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
			return *environment + length + 1;
	return NULL;
}

static int by_name(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Sorted: the same variables in another order are the same request. */
static void add_variables(struct bb_key *key, char *const *environment)
{
	static const char *const of_the_step[] = { "SLURM", "PMI", NULL };
	/* A variable that is passed on may steer where programs and libraries are found. */
	bool all = find(environment, "BAREBOAT_PASS") != NULL;
	size_t count = 0;
	char **sorted;

	while (environment[count])
		count++;
	sorted = calloc(count + 1, sizeof *sorted);
	if (!sorted) {
		key->overflow = true;
		return;
	}
	count = 0;
	for (; *environment; environment++)
		if ((starts(*environment, for_key) || (all && !starts(*environment, of_the_step))) &&
		    !starts(*environment, for_people))
			sorted[count++] = *environment;
	qsort(sorted, count, sizeof *sorted, by_name);
	bb_key_add_number(key, count);
	for (size_t i = 0; i < count; i++)
		bb_key_add(key, sorted[i]);
	free(sorted);
}

static void add_identity(struct bb_key *key)
{
	gid_t groups[GROUPS_MAX];
	int count = getgroups(GROUPS_MAX, groups);

	if (count < 0)
		key->overflow = true;
	bb_key_add_number(key, geteuid());
	bb_key_add_number(key, getegid());
	for (int i = 0; i < count; i++)
		bb_key_add_number(key, groups[i]);
}

/* Which installation decides: another one has another plugin file. */
static void add_installation(struct bb_key *key)
{
	char path[PATH_MAX];
	struct stat status;

	if (bb_installed("/lib/slurm/bareboat.so", path, sizeof path) < 0 || stat(path, &status) < 0) {
		key->overflow = true;
		return;
	}
	bb_key_add(key, path);
	bb_key_add_number(key, status.st_ino);
	bb_key_add_number(key, (unsigned long long)status.st_ctim.tv_sec);
	bb_key_add_number(key, (unsigned long long)status.st_ctim.tv_nsec);
}

/* How the ranks find each other, as far as a plan warns of it: a plan that warned is not kept, one that did not must not
 * serve a step that needs the warning. */
static void add_wire_up(struct bb_key *key, char *const *environment)
{
	const char *type = find(environment, "SLURM_MPI_TYPE"), *tasks = find(environment, "SLURM_STEP_NUM_TASKS");

	bb_key_add(key, type ? type : "");
	bb_key_add(key, find(environment, "PMIX_NAMESPACE") ? "pmix" : find(environment, "PMI_FD") ? "pmi2" : "");
	bb_key_add(key, tasks && !strcmp(tasks, "1") ? "alone" : "");
}

/* Where a relative name in the request would mean something else in another directory. */
static bool depends_on_directory(const struct bb_request *request, const char *image)
{
	const char *program = request->argv[0] ? request->argv[0] : "";

	return image[0] != '/' || (program[0] != '/' && strchr(program, '/')) ||
	       find(request->environment, "BAREBOAT_MOUNTS") || find(request->environment, "BAREBOAT_CONFIG");
}

static void make_key(struct bb_key *key, const struct bb_request *request, const char *prologs)
{
	const char *image = find(request->environment, BB_CONTAINER);
	char directory[PATH_MAX];

	key->size = 0;
	key->overflow = !image || !getcwd(directory, sizeof directory);
	if (key->overflow)
		return;
	add_installation(key);
	bb_key_add(key, image);
	bb_key_add(key, request->argv[0] ? request->argv[0] : "");
	/* The same name is then that of a configuration. */
	bb_key_add(key, find(request->environment, BB_MULTI_PROG) ? "several" : "");
	bb_key_add(key, prologs);
	bb_key_add(key, depends_on_directory(request, image) ? directory : "");
	add_identity(key);
	add_wire_up(key, request->environment);
	add_variables(key, request->environment);
}

/* BB_RUN/UID, which root's part made; else the user's own place, if there is one. */
static void choose_cache(char *path, size_t size, char *const *environment)
{
	const char *own = find(environment, "XDG_RUNTIME_DIR");
	size_t at = bb_put(path, size, 0, BB_RUN "/");

	bb_put_number(path, size, at, geteuid());
	if (access(path, F_OK) == 0)
		return;
	path[0] = '\0';
	if (own && own[0] == '/' && strlen(own) + 16 < size) {
		at = bb_put(path, size, 0, own);
		bb_put(path, size, at, "/bareboat");
		mkdir(path, 0700);
	}
}

/* The planner's variables, in memory that lives until the application is executed. */
static char **choose_variables(char *const *environment, char *prologs)
{
	/* What the user's environment says of it would come first, and decide plans whose key has only `prologs`. */
	static const char *const ours[] = { BB_TASK_PROLOGS "=", NULL };
	size_t count = 0;
	char **chosen;

	while (environment[count])
		count++;
	chosen = calloc(count + 2, sizeof *chosen);
	if (!chosen)
		return NULL;
	count = 0;
	for (; *environment; environment++)
		if (starts(*environment, for_planner) && !starts(*environment, ours))
			chosen[count++] = *environment;
	chosen[count] = prologs;
	return chosen;
}

int bb_request_read(spank_t sp, struct bb_request *request, struct bb_key *key, char *prologs, struct bb_err *err)
{
	static char *nothing[] = { NULL };
	char **environment = nothing;
	const char *replan;
	int argc = 0;

	if (spank_get_item(sp, S_JOB_ENV, &environment) != ESPANK_SUCCESS)
		environment = nothing;
	if (spank_get_item(sp, S_JOB_ARGV, &argc, &request->argv) != ESPANK_SUCCESS)
		request->argv = nothing;
	request->environment = choose_variables(environment, prologs);
	if (!request->environment)
		return bb_fail(err, ENOMEM, "copy", "the environment");
	choose_cache(request->cache, sizeof request->cache, environment);
	replan = find(environment, "BAREBOAT_REPLAN");
	request->replan = replan && !strcmp(replan, "1");
	make_key(key, request, prologs);
	return 0;
}

static const char *variable(spank_t sp, const char *name, char *value, size_t size)
{
	if (spank_getenv(sp, name, value, (int)size) != ESPANK_SUCCESS)
		return NULL;
	/* The core compares paths as text, to see what is shown already and what a mount would hide. */
	bb_normalize(value);
	return value;
}

/* slurmd puts a batch script into a directory of the job's own, as SPOOL/jobNNNNN/slurm_script. */
static const char *spool_directory(spank_t sp, char *path, size_t size)
{
	char **argv = NULL, *slash;
	uint32_t step = 0;
	int argc = 0;

	if (spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS || step != SLURM_BATCH_SCRIPT ||
	    spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || !argv[0] || strlen(argv[0]) >= size)
		return NULL;
	bb_put(path, size, 0, argv[0]);
	slash = strrchr(path, '/');
	if (!slash || slash == path)
		return NULL;
	*slash = '\0';
	return path;
}

void bb_values_read(spank_t sp, struct bb_step_values *values)
{
	const struct bb_value list[] = {
		{ "cwd", getcwd(values->cwd, sizeof values->cwd) },
		{ "spool", spool_directory(sp, values->spool, sizeof values->spool) },
		{ "TMPDIR", variable(sp, "TMPDIR", values->tmpdir, sizeof values->tmpdir) },
		{ "PMIX_SERVER_TMPDIR",
		  variable(sp, "PMIX_SERVER_TMPDIR", values->pmix_server, sizeof values->pmix_server) },
		{ "PMIX_SYSTEM_TMPDIR",
		  variable(sp, "PMIX_SYSTEM_TMPDIR", values->pmix_system, sizeof values->pmix_system) },
		{ NULL, NULL },
	};

	memcpy(values->list, list, sizeof list);
}
