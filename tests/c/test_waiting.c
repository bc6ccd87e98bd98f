/* The plugin's waiting: who is alive, and children that do not end. */
#define _GNU_SOURCE
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
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

static void test_decided_once(void **state)
{
	static struct bb_share share;

	(void)state;
	assert_true(bb_decide(&share, BB_BROKEN));
	assert_false(bb_decide(&share, BB_READY));
	assert_int_equal(share.state, BB_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alive),
		cmocka_unit_test(test_alive_though_hidden),
		cmocka_unit_test(test_reap),
		cmocka_unit_test(test_decided_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
