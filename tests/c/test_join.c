/* Joining for real: a process that holds a container, and others that join it before and after its root has changed. */
#define _GNU_SOURCE
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"
#include "join.h"

static char image[] = "/tmp/bareboat-test-join-XXXXXX";

static int make_image(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(image));
	return chmod(image, 0755);
}

static int remove_image(void **state)
{
	(void)state;
	return rmdir(image);
}

/* In a child: as executing a program does, which may be looked at by its user. */
static void become(uid_t uid)
{
	if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || prctl(PR_SET_DUMPABLE, 1)))
		_exit(98);
}

/* A child that enters, tells its namespaces, and waits for the end of `leash`. */
static pid_t hold(uid_t uid, int out, int leash)
{
	struct bytes bytes = PROGRAM("root-dir", image);
	struct bb_namespaces namespaces;
	struct bb_program program;
	struct bb_err err;
	pid_t child = fork();
	int directory;
	char byte;

	if (child)
		return child;
	become(uid);
	directory = bb_namespaces_open(&err);
	if (directory < 0 || bb_program_open(&program, bytes.data, bytes.size, &err) < 0 ||
	    bb_enter(&program, -1, NULL, &err) < 0 || bb_namespaces_self(directory, &namespaces, &err) < 0 ||
	    write(out, &namespaces, sizeof namespaces) != sizeof namespaces)
		_exit(97);
	_exit(read(leash, &byte, 1) == 0 ? 0 : 96);
}

/* The exit code of a child that joins and then mounts over the root, if it is told to. */
static int join(uid_t uid, const struct bb_namespaces *namespaces, bool cover, struct bb_err *err)
{
	int pipe_fds[2], status;
	struct stat root;
	pid_t child;

	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		become(uid);
		if (bb_join(namespaces, err) < 0)
			_exit(write(pipe_fds[1], err, sizeof *err) == sizeof *err ? 1 : 95);
		if (stat("/", &root) < 0 || root.st_dev != namespaces->root_device || root.st_ino != namespaces->root_inode)
			_exit(94);
		_exit(cover && mount("none", "/", "tmpfs", 0, NULL) < 0 ? 93 : 0);
	}
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], err, sizeof *err) >= 0);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void refuses_another_root(uid_t uid)
{
	struct bb_namespaces namespaces;
	int out[2], leash[2], status;
	struct bb_err err;
	char text[1024];
	pid_t holder;

	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe2(leash, O_CLOEXEC), 0);
	holder = hold(uid, out[1], leash[0]);
	close(out[1]);
	assert_int_equal(read(out[0], &namespaces, sizeof namespaces), sizeof namespaces);
	close(out[0]);
	assert_int_equal(join(uid, &namespaces, false, &err), 0);
	assert_int_equal(join(uid, &namespaces, true, &err), 0);
	assert_int_equal(join(uid, &namespaces, false, &err), 1);
	bb_err_text(&err, text, sizeof text);
	assert_string_equal(text, "cannot use the container whose root is not the one that was made for this step: Stale file "
				  "handle; a process of this user or of root mounted something over it before this rank "
				  "joined; start the step again, and if it stays so, look for what mounts in other processes' "
				  "namespaces on this node");
	namespaces.user++;
	assert_int_equal(join(uid, &namespaces, false, &err), 1);
	snprintf(text, sizeof text, "/proc/%d/ns/user, which is %llu by now and was %llu", namespaces.pid,
		 (unsigned long long)namespaces.user - 1, (unsigned long long)namespaces.user);
	assert_string_equal(err.path, text);
	namespaces.user--;
	namespaces.mnt++;
	assert_int_equal(join(uid, &namespaces, false, &err), 1);
	snprintf(text, sizeof text, "/proc/%d/ns/mnt, which is %llu by now and was %llu", namespaces.pid,
		 (unsigned long long)namespaces.mnt - 1, (unsigned long long)namespaces.mnt);
	assert_string_equal(err.path, text);
	kill(holder, SIGKILL);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	close(leash[0]);
	close(leash[1]);
}

static void test_another_root_is_refused(void **state)
{
	(void)state;
	refuses_another_root(0);
	refuses_another_root(65534);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_root_is_refused),
	};

	return cmocka_run_group_tests(tests, make_image, remove_image);
}
