/* BAREBOAT_CHECK=1 in srun: its standard error runs through the installed application's Python, which passes everything on
 * as it is and at the end says whether the nodes ran the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

enum { FINISH_SECONDS = 10 };

/* One srun has one standard error, however many components its job has. */
static int saved = -1;
static pid_t filter = -1;

/* What the filter does, without comparing: whoever writes to srun's standard error must not lose it. */
static void pass_on(int out)
{
	char data[4096];
	ssize_t got, put;

	while ((got = read(STDIN_FILENO, data, sizeof data)) > 0)
		for (ssize_t at = 0; at < got; at += put)
			if ((put = write(out, data + at, (size_t)(got - at))) < 0)
				_exit(BB_FAILED);
	_exit(0);
}

/* srun has threads: nothing here but what is async-signal-safe. */
static void execute(const char *python, int in)
{
	static const int ends[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, 0 };
	char *argv[] = { (char *)(uintptr_t)python, "-I", "-X", "utf8", "-m", "launcher.compare", NULL };
	sigset_t none;

	/* It ends with the last writer, not with a key that is meant for srun. */
	for (const int *end = ends; *end; end++)
		signal(*end, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(in, STDIN_FILENO);
	dup2(saved, STDOUT_FILENO);
	dup2(saved, STDERR_FILENO);
	sys_close_range(3, ~0U, 0);
	execve(python, argv, environ);
	pass_on(STDOUT_FILENO);
}

void bb_compare_start(void)
{
	char python[PATH_MAX];
	int ends[2];

	if (saved >= 0 || bb_installed("/venv/bin/python", python, sizeof python) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (saved >= 0)
		filter = fork();
	if (filter == 0)
		execute(python, ends[0]);
	if (filter > 0)
		dup2(ends[1], STDERR_FILENO);
	else
		bb_close(&saved);
	bb_close(&ends[0]);
	bb_close(&ends[1]);
}

/* It is not killed at the limit: it then has more to pass on than its reader takes, and ends once that is done. */
static void wait_for_filter(void)
{
	int fd = (int)syscall(SYS_pidfd_open, filter, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	long limit = bb_now() + FINISH_SECONDS;

	while (fd >= 0 && waitpid(filter, NULL, WNOHANG) == 0 && bb_now() <= limit)
		poll(&poll_fd, 1, 1000);
	bb_close(&fd);
}

void bb_compare_finish(void)
{
	if (saved < 0)
		return;
	/* The filter's input ends with this, and then it says the last word. */
	dup2(saved, STDERR_FILENO);
	bb_close(&saved);
	wait_for_filter();
}
