/* TaskProlog and --task-prolog, run where they belong: on the host, before the rank joins the container.
 * What Slurm does with their output is in slurm.conf(5), "TaskProlog": lines "export NAME=value", "unset NAME" and
 * "print TEXT" count, all others are dropped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "prolog_lines.h"
#include "sys.h"

enum { PROLOG_SECONDS = 600 };

extern slurm_conf_t slurm_conf __attribute__((weak));

static void print(void *data, const char *text, size_t length)
{
	(void)data;
	if (write(STDOUT_FILENO, text, length) < 0)
		slurm_error("bareboat: cannot pass on what the task prolog prints: %m");
}

static void set(void *data, const char *name, const char *value)
{
	spank_setenv(data, name, value, 1);
}

static void unset(void *data, const char *name)
{
	spank_unsetenv(data, name);
}

/* Reads the prolog's output line by line until its end or until bb_now() is `limit`. */
static void listen_to(spank_t sp, int fd, long limit)
{
	char buffer[64 * 1024]; /* no variable is that long */
	struct bb_lines lines = { .text = buffer, .size = sizeof buffer };
	const struct bb_orders orders = { sp, print, set, unset };

	while (bb_now() <= limit) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		size_t room;
		char *space;
		ssize_t got;

		if (poll(&poll_fd, 1, 1000) <= 0)
			continue;
		space = bb_lines_space(&lines, &room);
		got = read(fd, space, room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		bb_lines_take(&lines, (size_t)got, &orders);
	}
	bb_lines_end(&lines, &orders);
}

static void execute(const char *path, char **environment, int out)
{
	char *argv[] = { (char *)(uintptr_t)path, NULL };
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	sys_close_range(3, ~0U, 0);
	setpgid(0, 0);
	execve(path, argv, environment);
	_exit(127);
}

static void fail(spank_t sp, const char *kind, const char *path, const char *why, int number)
{
	char text[PATH_MAX + 256];
	size_t at = bb_put(text, sizeof text, 0, kind);

	at = bb_put(text, sizeof text, at, " ");
	at = bb_put(text, sizeof text, at, path);
	at = bb_put(text, sizeof text, at, " ");
	at = bb_put(text, sizeof text, at, why);
	if (number >= 0)
		bb_put_number(text, sizeof text, at, (unsigned)number);
	bb_say(sp, text);
	_exit(number > 0 ? number : BB_FAILED);
}

static void fail_to_start(spank_t sp, const char *kind, const char *path, const char *what, const char *hint)
{
	char why[256];
	size_t at = bb_put(why, sizeof why, 0, "could not be started: cannot ");

	at = bb_put(why, sizeof why, at, what);
	at = bb_put(why, sizeof why, at, ": ");
	at = bb_put(why, sizeof why, at, bb_describe(errno));
	at = bb_put(why, sizeof why, at, "; see ");
	bb_put(why, sizeof why, at, hint);
	fail(sp, kind, path, why, -1);
}

static void run(spank_t sp, const char *kind, const char *path)
{
	char **environment = NULL;
	int fds[2], status = 0;
	long limit = bb_now() + PROLOG_SECONDS;
	bool ended;
	pid_t child;

	if (access(path, R_OK | X_OK) < 0)
		fail(sp, kind, path,
		     "is missing or not executable on this node; prologs run on the host, where the path must exist", -1);
	if (spank_get_item(sp, S_JOB_ENV, &environment) != ESPANK_SUCCESS)
		fail(sp, kind, path, "could not be started: Slurm does not tell its environment", -1);
	if (pipe2(fds, O_CLOEXEC) < 0)
		fail_to_start(sp, kind, path, "open a pipe", "`ulimit -n`");
	child = fork();
	if (child < 0)
		fail_to_start(sp, kind, path, "fork", "`ulimit -u` and the job's limit of processes");
	if (child == 0)
		execute(path, environment, fds[1]);
	close(fds[1]);
	listen_to(sp, fds[0], limit);
	close(fds[0]);
	ended = bb_reap(child, limit, &status);
	kill(-child, SIGKILL); /* as Slurm does: nothing that a prolog starts outlives it */
	if (!ended)
		fail(sp, kind, path, "took longer than 600 s; see what it waits for on this node", -1);
	if (WIFSIGNALED(status))
		fail(sp, kind, path, "was killed by signal ", WTERMSIG(status));
	if (WEXITSTATUS(status))
		fail(sp, kind, path, "failed with exit code ", WEXITSTATUS(status));
}

/* --task-prolog as srun was told it; batch scripts have none. */
static bool users_prolog(spank_t sp, char *path, size_t size)
{
	uint32_t step = 0;

	if (spank_get_item(sp, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step == SLURM_BATCH_SCRIPT)
		return false;
	if (spank_getenv(sp, BB_TASK_PROLOG, path, (int)size) != ESPANK_SUCCESS &&
	    spank_getenv(sp, "SLURM_TASK_PROLOG", path, (int)size) != ESPANK_SUCCESS)
		return false;
	return path[0] != '\0';
}

/* Adds `path` to the colon-separated list, absolute: relative ones start where the step does. */
static void note(char *paths, size_t size, const char *path)
{
	char directory[PATH_MAX];
	size_t at = strlen(paths);

	if (at)
		at = bb_put(paths, size, at, ":");
	if (path[0] != '/' && getcwd(directory, sizeof directory)) {
		at = bb_put(paths, size, at, directory);
		at = bb_put(paths, size, at, "/");
	}
	bb_put(paths, size, at, path);
}

void bb_prologs_run(spank_t sp, char *paths, size_t size)
{
	char path[PATH_MAX];

	if (&slurm_conf && slurm_conf.task_prolog && slurm_conf.task_prolog[0]) {
		note(paths, size, slurm_conf.task_prolog);
		run(sp, "TaskProlog", slurm_conf.task_prolog);
	}
	if (users_prolog(sp, path, sizeof path)) {
		note(paths, size, path);
		run(sp, "--task-prolog", path);
	}
}
