/* The plugin's waiting: who is alive, and children that do not end. */
#define _GNU_SOURCE
#include "support.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"

static void test_alive(void **state)
{
	pid_t child = fork();
	siginfo_t info;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_false(bb_alive(child)); /* a zombie */
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_false(bb_alive(child));
	assert_true(bb_alive(getpid()));
}

/* Many sites mount /proc so that users do not see the processes of others: slurmstepd is root's, the helper is not. */
static void test_alive_though_hidden(void **state)
{
	pid_t parent = getpid(), child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("proc", "/proc", "proc", 0, "hidepid=2") || setresgid(65534, 65534, 65534) ||
		    setresuid(65534, 65534, 65534))
			_exit(2);
		_exit(bb_alive(parent) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_reap(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(7);
	assert_true(bb_reap(child, bb_now() + 60, &status));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		for (;;)
			pause();
	assert_false(bb_reap(child, bb_now(), &status));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Serves a file system on which every name hangs: the first request is answered, the next one told to `taken`. */
static void serve(int fuse, int taken) __attribute__((noreturn));

static void serve(int fuse, int taken)
{
	static char request[FUSE_MIN_READ_BUFFER];
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer = { .head = { .len = sizeof answer },
		     .init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096 } };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fuse, request, sizeof request) > 0) {
		const struct fuse_in_header *in = (const void *)request;

		answer.head.unique = in->unique;
		if (in->opcode == FUSE_INIT ? write(fuse, &answer, sizeof answer) < 0 : write(taken, "t", 1) < 0)
			break;
	}
	_exit(0);
}

/* In a mount namespace of its own: whoever else came across such a file system would hang, too. */
static void reap_who_hangs(void) __attribute__((noreturn));

static void reap_who_hangs(void)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), taken[2], status = 0;
	char options[128], byte;
	struct stat found;
	pid_t server, child;

	alarm(60); /* a failure, should it wait for ever */
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || pipe(taken) ||
	    mount("bareboat-test", "/mnt", "fuse", 0, options) || (server = fork()) < 0)
		_exit(2);
	if (server == 0)
		serve(fuse, taken[1]);
	close(fuse);
	child = fork();
	if (child == 0)
		_exit(stat("/mnt/name", &found) != 0);
	if (read(taken[0], &byte, 1) != 1)
		_exit(3);
	if (bb_reap(child, bb_now() - 1, &status) || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		_exit(4);
	if (waitpid(child, NULL, WNOHANG) != 0) /* it is still there */
		_exit(5);
	kill(server, SIGKILL);
	if (waitpid(server, NULL, 0) != server || waitpid(child, NULL, 0) != child)
		_exit(6);
	_exit(0);
}

/* In state D, for a server that took the request: only the connection's end ends it. */
static void test_reap_of_who_hangs_in_the_kernel(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		reap_who_hangs();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_decided_once(void **state)
{
	static struct bb_share share;

	(void)state;
	assert_true(bb_advance(&share, BB_PLANNED));
	assert_int_equal(share.state, BB_PLANNED);
	assert_true(bb_advance(&share, BB_BROKEN));
	assert_false(bb_advance(&share, BB_READY));
	assert_int_equal(share.state, BB_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alive),
		cmocka_unit_test(test_alive_though_hidden),
		cmocka_unit_test(test_reap),
		cmocka_unit_test(test_reap_of_who_hangs_in_the_kernel),
		cmocka_unit_test(test_decided_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
