/* Waiting for each other, between the ranks of a node and their helper. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

enum { KILL_SECONDS = 2 };

void bb_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	struct timespec second = { .tv_sec = 1 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &second, NULL, 0);
}

void bb_futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool bb_advance(struct bb_share *share, enum bb_state state)
{
	uint32_t now = atomic_load(&share->state);

	while (now < BB_READY && !atomic_compare_exchange_weak(&share->state, &now, state))
		;
	bb_futex_wake(&share->state);
	return now < BB_READY;
}

long bb_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec;
}

unsigned long long bb_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000000ULL + (unsigned long long)now.tv_nsec / 1000ULL;
}

/* kill(pid, 0) also succeeds for a process that ended and was not waited for yet, hence the state in
 * /proc/PID/stat (proc(5)). */
bool bb_alive(pid_t pid)
{
	char path[64], stat[512];
	size_t at = bb_put(path, sizeof path, 0, "/proc/");
	const char *state;
	ssize_t got;
	int fd;

	at = bb_put_number(path, sizeof path, at, (unsigned long long)pid);
	bb_put(path, sizeof path, at, "/stat");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* A /proc mounted with hidepid hides the processes of others, slurmstepd among them; kill(2) does not. */
	if (fd < 0)
		return kill(pid, 0) == 0 || errno == EPERM;
	got = read(fd, stat, sizeof stat - 1);
	close(fd);
	if (got <= 0)
		return false;
	stat[got] = '\0';
	state = strrchr(stat, ')');
	return state && state[1] == ' ' && state[2] != 'Z' && state[2] != 'X';
}

/* slurmstepd outlives its ranks until nobody holds their standard error any more; who does must not wait for its end. */
bool bb_wanted(const struct bb_share *share)
{
	return bb_alive(share->stepd) && (!share->checked || bb_alive(atomic_load(&share->claimant)));
}

bool bb_reap(pid_t child, long limit, int *status)
{
	int fd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	bool ended = false;
	pid_t got;

	while (fd >= 0 && !ended && bb_now() <= limit)
		ended = poll(&poll_fd, 1, 1000) > 0;
	if (!ended)
		kill(child, SIGKILL);
	/* Who waits in the kernel for a file system that hangs (state D in ps(1)) does not end by SIGKILL. */
	for (limit = bb_now() + KILL_SECONDS; (got = waitpid(child, status, WNOHANG)) == 0 && bb_now() <= limit;)
		poll(&poll_fd, 1, 100);
	if (got != child)
		*status = SIGKILL;
	bb_close(&fd);
	return ended;
}
