/* BAREBOAT_CHECK=1: has the installed application's Python look at the ranks of this node once they run their programs.
 * It writes to the first rank's standard error, sits in the step's cgroup, and is ended by the helper at the latest. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

/* The second is longer than launcher/check.py's own limit. */
enum { READY_SECONDS = 5, FINISH_SECONDS = 40, LAST_WORDS_SECONDS = 2 };

/* Where the child finds the program of the container. */
enum { PROGRAM_FD = 3 };

int bb_check_stderr(const struct bb_request *request)
{
	for (char **variable = request->environment; *variable; variable++)
		if (!strcmp(*variable, BB_CHECK "=1"))
			return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, PROGRAM_FD);
	return -1;
}

/* The numbers that launcher/check.py is told, as arguments. */
struct facts {
	char texts[6][24];
};

/* What a rank is before it executes its program is what the helper is: a copy of slurmstepd. */
static void read_facts(struct facts *facts, const struct bb_share *share)
{
	struct stat stepd = { .st_ino = 0 };
	unsigned long long numbers[6];

	stat("/proc/self/exe", &stepd);
	numbers[0] = share->namespaces.root_device;
	numbers[1] = share->namespaces.root_inode;
	numbers[2] = share->namespaces.user;
	numbers[3] = stepd.st_dev;
	numbers[4] = stepd.st_ino;
	numbers[5] = share->ranks;
	for (int i = 0; i < 6; i++)
		bb_put_number(facts->texts[i], sizeof facts->texts[i], 0, numbers[i]);
}

/* Out of the way of the descriptors that the child is given. */
static int above(int fd)
{
	return fcntl(fd, F_DUPFD, PROGRAM_FD + 1);
}

static void execute(const char *python, struct facts *facts, const struct bb_request *request, int in, int out, int err,
		    int program)
{
	char *argv[16] = { (char *)(uintptr_t)python, "-I", "-X", "utf8", "-m", "launcher.check" };

	for (int i = 0; i < 6; i++)
		argv[6 + i] = facts->texts[i];
	/* Nobody else ends it when the helper is ended. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in = above(in);
	out = above(out);
	err = above(err);
	program = above(program);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	dup2(program, PROGRAM_FD);
	sys_close_range(PROGRAM_FD + 1, ~0U, 0);
	execve(python, argv, request->environment);
	_exit(127);
}

/* Ranks that run before it is ready may end before it looks. */
static void wait_until_ready(int fd, const struct bb_share *share)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	long limit = bb_now() + READY_SECONDS;

	while (bb_now() <= limit && bb_wanted(share))
		if (poll(&poll_fd, 1, 1000) > 0)
			return;
}

void bb_check_start(struct bb_check *check, struct bb_share *share, const struct bb_request *request, int out)
{
	int in[2] = { -1, -1 }, ready[2] = { -1, -1 }, program = bb_program_file(share);
	char python[PATH_MAX];
	struct facts facts;

	read_facts(&facts, share);
	if (program >= 0 && bb_installed("/venv/bin/python", python, sizeof python) == 0 && pipe2(in, O_CLOEXEC) == 0 &&
	    pipe2(ready, O_CLOEXEC) == 0)
		check->pid = fork();
	if (check->pid == 0)
		execute(python, &facts, request, in[0], ready[1], out, program);
	bb_close(&program);
	bb_close(&in[0]);
	bb_close(&ready[1]);
	bb_close(&out);
	if (check->pid > 0) {
		check->feed = in[1];
		wait_until_ready(ready[0], share);
	} else {
		bb_close(&in[1]);
	}
	bb_close(&ready[0]);
}

static bool any_runs(const struct bb_check *check, const struct bb_share *share)
{
	if (bb_alive(atomic_load(&share->claimant)))
		return true;
	for (uint32_t seat = 0; seat < check->sent; seat++)
		if (bb_alive(atomic_load(&share->seats[seat].pid)))
			return true;
	return false;
}

/* srun waits until nobody holds the ranks' standard error any more: once they have ended, what remains to be said has to be
 * said at once. */
void bb_check_finish(struct bb_check *check, struct bb_share *share)
{
	long now = bb_now(), limit = now + FINISH_SECONDS;
	struct pollfd poll_fd = { .events = POLLIN };
	int status;

	bb_close(&check->feed);
	if (check->pid <= 0)
		return;
	poll_fd.fd = (int)syscall(SYS_pidfd_open, check->pid, 0);
	while (poll_fd.fd >= 0 && now < limit && poll(&poll_fd, 1, 250) == 0) {
		now = bb_now();
		if (limit > now + LAST_WORDS_SECONDS && !any_runs(check, share))
			limit = now + LAST_WORDS_SECONDS;
	}
	bb_close(&poll_fd.fd);
	bb_reap(check->pid, now < limit ? limit : 0, &status);
	check->pid = -1;
}

void bb_check_feed(struct bb_check *check, struct bb_share *share)
{
	int pid;

	while (check->feed >= 0 && check->sent < BB_SEATS && (pid = atomic_load(&share->seats[check->sent].pid)) != 0) {
		const struct bb_seat *seat = &share->seats[check->sent];
		char line[64];
		size_t at;

		at = bb_put_number(line, sizeof line, 0, seat->rank);
		at = bb_put(line, sizeof line, at, " ");
		at = bb_put_number(line, sizeof line, at, (unsigned)pid);
		at = bb_put(line, sizeof line, at, "\n");
		/* Shorter in all than a pipe holds (pipe(7)), so this waits for nobody. */
		if (write(check->feed, line, at) < 0)
			bb_close(&check->feed);
		check->sent++;
	}
	/* The others may be held up by their prologs, or the step is being cancelled. */
	if (check->pid > 0 && !any_runs(check, share))
		bb_check_finish(check, share);
}

void bb_check_sit_down(struct bb_share *share, spank_t sp)
{
	uint32_t seat;

	if (!share->checked || (seat = atomic_fetch_add(&share->seated, 1)) >= BB_SEATS)
		return;
	if (spank_get_item(sp, S_TASK_GLOBAL_ID, &share->seats[seat].rank) != ESPANK_SUCCESS)
		share->seats[seat].rank = 0;
	atomic_store(&share->seats[seat].pid, getpid());
}
