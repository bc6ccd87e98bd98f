/* Errors as text, paths as text, the mount table as text, the environment. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "err.h"
#include "join.h"
#include "mountinfo.h"
#include "paths.h"
#include "sys.h"

static void test_error_says_what_on_what_and_why(void **state)
{
	struct bb_err err;
	char text[512];

	(void)state;
	assert_int_equal(bb_fail(&err, EPERM, "mount on", "/etc"), -1);
	bb_err_text(&err, text, sizeof text);
	assert_string_equal(text, "cannot mount on /etc: Operation not permitted");
	bb_fail(&err, ENOSPC, "create a user namespace", "");
	bb_err_text(&err, text, sizeof text);
	assert_non_null(strstr(text, "cannot create a user namespace: No space left on device; user namespaces are switched off"));
}

static void test_error_fits_any_buffer(void **state)
{
	struct bb_err err;
	char path[5000], *text;

	(void)state;
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	bb_fail(&err, ENOENT, path, path);
	assert_int_equal(strlen(err.path), sizeof err.path - 1);
	for (size_t size = 1; size < 100; size++) {
		text = malloc(size);
		bb_err_text(&err, text, size);
		assert_true(strlen(text) < size);
		free(text);
	}
	assert_true(sizeof err <= PIPE_BUF);
}

/* A process that its user traces can send anything in the place of an error (holder.c). */
static void test_an_error_without_ends_shows_nothing_behind_it(void **state)
{
	struct {
		struct bb_err err;
		char secret[16];
	} told = { .secret = "secret" };
	char text[2048];

	(void)state;
	told.err.errnum = EPERM;
	memset(told.err.operation, 'O', sizeof told.err.operation);
	memset(told.err.path, 'P', sizeof told.err.path);
	bb_err_text(&told.err, text, sizeof text);
	assert_int_equal(strspn(text + strlen("cannot "), "O"), sizeof told.err.operation - 1);
	assert_string_equal(strrchr(text, 'P'), "P: Operation not permitted");
	assert_null(strstr(text, "secret"));
}

static void test_numbers(void **state)
{
	char text[32];

	(void)state;
	bb_put_number(text, sizeof text, 0, 0);
	assert_string_equal(text, "0");
	bb_put_number(text, sizeof text, 0, UINT64_MAX);
	assert_string_equal(text, "18446744073709551615");
}

static void test_beneath(void **state)
{
	(void)state;
	assert_true(bb_beneath("/home/a", "/home"));
	assert_true(bb_beneath("/home", "/home/"));
	assert_true(bb_beneath("/x", "/"));
	assert_false(bb_beneath("/homes", "/home"));
	assert_false(bb_beneath("/", "/home"));
}

static void test_plain_paths(void **state)
{
	static const char *const pairs[][2] = {
		{ "/", "/" },
		{ "//run", "/run" },
		{ "/run/", "/run" },
		{ "/opt/../run/.", "/run" },
		{ "/../..//run", "/run" },
		{ "/a/b/../..", "/" },
		{ "/.hidden/..x/...", "/.hidden/..x/..." },
		{ "/a/./b//c", "/a/b/c" },
		{ "a/../b", "a/../b" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		char path[32];

		strcpy(path, pairs[i][0]);
		bb_normalize(path);
		assert_string_equal(path, pairs[i][1]);
	}
}

static void test_prefix(void **state)
{
	char prefix[16];

	(void)state;
	assert_true(bb_prefix("/a//bc/d", 2, prefix, sizeof prefix));
	assert_string_equal(prefix, "/a//bc");
	assert_false(bb_prefix("/a/b/", 3, prefix, sizeof prefix));
	assert_false(bb_prefix("/0123456789abcdef", 1, prefix, sizeof prefix));
}

static char table_text[] = "22 1 0:21 / / rw - nfs4 server:/root rw\n"
			   "23 22 0:22 / /scratch rw shared:1 - lustre mds:/x rw\n"
			   "24 22 0:22 / /with\\040blank rw master:2 propagate_from:3 - nfs server:/b rw\n"
			   "25 22 0:23 / /tmp rw - tmpfs none rw\n"
			   "garbage\n"
			   "27 - nfs server:/c /behind-the-mark rw\n"
			   "28 22 0:25 / relative rw - nfs server:/d rw\n"
			   "26 22 0:24 / /no-newline rw - nfs last rw";

static void test_mount_table(void **state)
{
	const struct bb_mountinfo table = { .text = table_text };
	static const char *const wanted[] = { "/", "/scratch", "/with blank", "/no-newline" };
	char path[PATH_MAX];
	size_t cursor = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_true(bb_mountinfo_next(&table, "nfs,nfs4,lustre", &cursor, path, sizeof path));
		assert_string_equal(path, wanted[i]);
	}
	assert_false(bb_mountinfo_next(&table, "nfs,nfs4,lustre", &cursor, path, sizeof path));
	cursor = 0;
	assert_false(bb_mountinfo_next(&table, "tmp", &cursor, path, sizeof path));
}

static void test_mount_table_of_this_process(void **state)
{
	struct bb_mountinfo table;
	struct bb_err err;
	char path[PATH_MAX];
	size_t cursor = 0;

	(void)state;
	assert_int_equal(bb_mountinfo_open(&table, &err), 0);
	assert_true(bb_mountinfo_next(&table, "proc", &cursor, path, sizeof path));
	assert_string_equal(path, "/proc");
	bb_mountinfo_close(&table);
}

static int get(void *data, const char *name, char *value, size_t size)
{
	const char *found = getenv(name);

	(void)data;
	if (!found || strlen(found) >= size)
		return -1;
	strcpy(value, found);
	return 0;
}

static int set(void *data, const char *name, const char *value)
{
	(void)data;
	return setenv(name, value, 1);
}

static int unset(void *data, const char *name)
{
	(void)data;
	return unsetenv(name);
}

static void test_environment(void **state)
{
	struct bytes bytes = PROGRAM("root-dir", "/", "env-set", "A", "new", "env-default", "B", "not", "env-default", "C",
				     "default", "env-unset", "D", "env-prepend", "E", "front", "env-append", "E", "back",
				     "env-prepend", "F", "only");
	struct bb_environment environment = { NULL, get, set, unset };
	struct bb_program program;
	struct bb_err err;

	(void)state;
	setenv("A", "old", 1);
	setenv("B", "kept", 1);
	unsetenv("C");
	setenv("D", "gone", 1);
	setenv("E", "mid", 1);
	setenv("F", "", 1);
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	assert_int_equal(bb_set_environment(&program, &environment, &err), 0);
	assert_string_equal(getenv("A"), "new");
	assert_string_equal(getenv("B"), "kept");
	assert_string_equal(getenv("C"), "default");
	assert_null(getenv("D"));
	assert_string_equal(getenv("E"), "front:mid:back");
	assert_string_equal(getenv("F"), "only");
}

/* Slurm hands the user's limits on to the ranks. */
static void test_environment_with_a_small_stack(void **state)
{
	struct bytes bytes = PROGRAM("root-dir", "/", "env-default", "H", "default", "env-append", "H", "back");
	struct bb_environment environment = { NULL, get, set, unset };
	struct rlimit limit = { 128 * 1024, 128 * 1024 };
	struct bb_program program;
	struct bb_err err;
	int status;
	pid_t child;

	(void)state;
	unsetenv("H");
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_STACK, &limit);
		_exit(bb_set_environment(&program, &environment, &err) || strcmp(getenv("H"), "default:back") != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_a_missing_working_directory_is_named(void **state)
{
	struct bytes bytes = PROGRAM("root-dir", "/", "cwd", "/not/there");
	struct bb_program program;
	struct bb_err err;
	char text[512];

	(void)state;
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	assert_int_equal(bb_settle(&program, &err), -1);
	bb_err_text(&err, text, sizeof text);
	assert_string_equal(text, "cannot enter the working directory /not/there: No such file or directory; choose one "
				  "with --chdir that exists in the container");
}

static void test_joining_a_reused_pid_is_refused(void **state)
{
	struct bb_namespaces namespaces;
	struct bb_err err;
	char said[512], text[512];
	int directory = bb_namespaces_open(&err);

	(void)state;
	assert_int_equal(bb_namespaces_self(directory, &namespaces, &err), 0);
	bb_close(&directory);
	namespaces.user++;
	assert_int_equal(bb_join(&namespaces, &err), -1);
	assert_int_equal(err.errnum, ESTALE);
	snprintf(text, sizeof text,
		 "cannot join the namespace /proc/%d/ns/user, which is %llu by now and was %llu: Stale file handle; a process of this "
		 "user or of root ended the one that held it, or spoke in its name; start the step again, and if it stays so, look "
		 "for who does that on this node",
		 getpid(), (unsigned long long)namespaces.user - 1, (unsigned long long)namespaces.user);
	bb_err_text(&err, said, sizeof said);
	assert_string_equal(said, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First, as a stack that has grown stays so. */
		cmocka_unit_test(test_environment_with_a_small_stack),
		cmocka_unit_test(test_error_says_what_on_what_and_why),
		cmocka_unit_test(test_error_fits_any_buffer),
		cmocka_unit_test(test_an_error_without_ends_shows_nothing_behind_it),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_beneath),
		cmocka_unit_test(test_plain_paths),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_mount_table),
		cmocka_unit_test(test_mount_table_of_this_process),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_a_missing_working_directory_is_named),
		cmocka_unit_test(test_joining_a_reused_pid_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
