/* The helper: has the container made once for all ranks of a node, and kept until the last one has joined.  A child of
 * nobody in the step, so that no rank's end takes it along or waits for it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

/* Ranks may be held up by their prologs: two, of 600 s each. */
enum { JOIN_SECONDS = 1300 };

/* Lets go of what it inherited: a rank's standard output held open would keep srun waiting. */
static void detach(void)
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
	sys_close_range(3, ~0U, 0);
}

static void hold(struct bb_share *share)
{
	long limit = bb_now() + JOIN_SECONDS;
	uint32_t joined;

	while ((joined = atomic_load(&share->joined)) < share->ranks && bb_now() < limit && bb_alive(share->stepd))
		bb_futex_wait(&share->joined, joined);
}

static void help(struct bb_share *share, const struct bb_request *request) __attribute__((noreturn));

static void help(struct bb_share *share, const struct bb_request *request)
{
	int leash = -1;

	detach();
	if (bb_plan(share, request) == 0)
		leash = bb_holder_start(share);
	if (leash < 0) {
		bb_decide(share, BB_BROKEN);
		_exit(BB_FAILED);
	}
	if (bb_decide(share, BB_READY))
		hold(share);
	bb_close(&leash);
	_exit(0);
}

int bb_helper_start(struct bb_share *share, const struct bb_request *request, struct bb_err *err)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		pid_t helper = fork();

		if (helper == 0)
			help(share, request);
		/* Not by the helper itself, which may be ended before it gets there. */
		if (helper > 0)
			atomic_store(&share->helper, helper);
		_exit(helper < 0 ? errno : 0);
	}
	if (child < 0)
		return bb_fail(err, errno, "fork", "");
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return bb_fail(err, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR, "fork", "");
	return 0;
}
