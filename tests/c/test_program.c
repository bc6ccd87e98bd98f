#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <stdlib.h>

#include "program.h"

static void refuses(struct bytes bytes, const char *reason)
{
	struct bb_err err;
	/* A copy of exactly this size lets the sanitizer see a read behind the end. */
	char *copy = malloc(bytes.size ? bytes.size : 1);

	memcpy(copy, bytes.data, bytes.size);
	assert_int_equal(bb_program_check(copy, bytes.size, &err), -1);
	assert_int_equal(err.errnum, EINVAL);
	assert_string_equal(err.operation, "read the program");
	assert_string_equal(err.path, reason);
	free(copy);
}

static void test_reads_every_operation(void **state)
{
	struct bytes bytes = PROGRAM("root-dir", "/img", "bind", "/a", "/b", "ro,optional", "bind-fstypes", "nfs,lustre",
				     "rw", "tmpfs", "/run", "mode=0755", "file", "/etc/passwd", "0644", "x:y\n", "symlink",
				     "/run/l", "/t", "env-set", "A", "", "env-default", "B", "b", "env-unset", "C",
				     "env-prepend", "D", "d", "env-append", "E", "e", "read-ahead", "/p", "say", "hello", "cwd", "/w", "no-new-privs");
	struct bb_program program;
	struct bb_err err;
	struct bb_op op;
	size_t cursor = 0;

	(void)state;
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	for (int verb = 0; verb < BB_VERBS; verb++) {
		if (verb == BB_ROOT_SQUASHFS)
			continue; /* a program has one root */
		assert_true(bb_program_next(&program, &cursor, &op));
		assert_int_equal(op.verb, verb);
		if (verb == BB_FILE)
			assert_string_equal(op.arg[2], "x:y\n");
		if (verb == BB_NO_NEW_PRIVS)
			assert_null(op.arg[0]);
	}
	assert_false(bb_program_next(&program, &cursor, &op));
}

static void test_the_root_may_be_a_squashfs_file(void **state)
{
	struct bytes with = PROGRAM("root-squashfs", "/i.sqsh", "/usr/bin/squashfuse_ll"), without = PROGRAM("root-squashfs", "/i", "");
	struct bb_program program;
	struct bb_err err;
	struct bb_op op;
	size_t cursor = 0;

	(void)state;
	assert_int_equal(bb_program_open(&program, without.data, without.size, &err), 0);
	assert_int_equal(bb_program_open(&program, with.data, with.size, &err), 0);
	assert_true(bb_program_next(&program, &cursor, &op));
	assert_int_equal(op.verb, BB_ROOT_SQUASHFS);
	assert_string_equal(op.arg[1], "/usr/bin/squashfuse_ll");
	refuses(PROGRAM("root-squashfs", "/i.sqsh", "squashfuse_ll"), "at record 5: bad argument \"squashfuse_ll\"");
	refuses(PROGRAM("root-squashfs", "%{cwd}", ""), "at record 4: bad argument \"%{cwd}\"");
	refuses(PROGRAM("root-dir", "/i", "root-squashfs", "/i", ""),
		"at record 5: the root must come first and once, not \"root-squashfs\"");
}

static void test_refuses_what_is_malformed(void **state)
{
	struct bytes bytes = PROGRAM("root-dir", "/img");

	(void)state;
	refuses((struct bytes){ .size = 0 }, "at record 1: not a program of bareboat");
	refuses(RECORDS("something", "1"), "at record 1: not a program of bareboat");
	refuses(RECORDS("bareboat-program", "2", "end"), "at record 2: another version \"2\"");
	refuses(RECORDS("bareboat-program", "1"), "at record 3: ends without \"end\"");
	refuses(PROGRAM("no-new-privs"), "at record 3: the root must come first and once, not \"no-new-privs\"");
	refuses(RECORDS("bareboat-program", "1", "end"), "at record 3: unknown operation \"end\"");
	refuses(PROGRAM("root-dir", "/a", "root-dir", "/b"),
		"at record 5: the root must come first and once, not \"root-dir\"");
	refuses(PROGRAM("root-dir", "relative"), "at record 4: bad argument \"relative\"");
	refuses(PROGRAM("root-dir", "%{cwd}"), "at record 4: bad argument \"%{cwd}\"");
	refuses(PROGRAM("root-dir", "/a", "reboot"), "at record 5: unknown operation \"reboot\"");
	refuses(PROGRAM("root-dir", "/a", "bind", "/a", "/b", "rx"), "at record 8: bad argument \"rx\"");
	refuses(PROGRAM("root-dir", "/a", "bind", "/a", "/b", "ro,"), "at record 8: bad argument \"ro,\"");
	refuses(PROGRAM("root-dir", "/a", "file", "/f", "0999", ""), "at record 7: bad argument \"0999\"");
	refuses(PROGRAM("root-dir", "/a", "file", "/f", "644", ""), "at record 7: bad argument \"644\"");
	refuses(PROGRAM("root-dir", "/a", "file", "/f", "4755", ""), "at record 7: bad argument \"4755\"");
	refuses(PROGRAM("root-dir", "/a", "bind-fstypes", "nfs,", "rw"), "at record 6: bad argument \"nfs,\"");
	refuses(PROGRAM("root-dir", "/a", "bind-fstypes", ",", "rw"), "at record 6: bad argument \",\"");
	refuses(PROGRAM("root-dir", "/a", "bind-fstypes", "nfs 4", "rw"), "at record 6: bad argument \"nfs 4\"");
	refuses(PROGRAM("root-dir", "/a", "env-set", "A=B", "c"), "at record 6: bad argument \"A=B\"");
	refuses(PROGRAM("root-dir", "/a", "env-unset", ""), "at record 6: bad argument \"\"");
	refuses(RECORDS("bareboat-program", "1", "root-dir", "/a", "bind", "/a"),
		"at record 7: ends in the middle of \"bind\"");
	bytes.data[bytes.size++] = 'x';
	refuses(bytes, "at record 5: goes on after \"end\"");
	bytes = PROGRAM("root-dir", "/img");
	bytes.size--;
	refuses(bytes, "at record 5: ends without \"end\"");
}

static void test_refuses_a_program_that_is_too_long(void **state)
{
	size_t size = BB_PROGRAM_MAX + 1;
	char *data = calloc(1, size);
	struct bb_err err;

	(void)state;
	assert_int_equal(bb_program_check(data, size, &err), -1);
	assert_string_equal(err.path, "at record 0: longer than 1 MiB");
	free(data);
}

/* Whatever bytes come: no read outside them, and an accepted program can be walked to its end. */
static void test_survives_mutations(void **state)
{
	unsigned seed = 12345;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct bytes bytes = PROGRAM("root-dir", "/img", "bind", "/a", "/b", "ro", "env-set", "A", "b", "cwd", "/w");
		struct bb_program program;
		struct bb_err err;
		struct bb_op op;
		size_t cursor = 0;
		char *copy;

		for (unsigned change = 0; change < 1 + seed % 3; change++) {
			seed = seed * 1103515245 + 12345;
			bytes.data[(seed >> 8) % bytes.size] = (char)(seed >> 20);
		}
		bytes.size -= seed % 5;
		copy = malloc(bytes.size);
		memcpy(copy, bytes.data, bytes.size);
		if (bb_program_open(&program, copy, bytes.size, &err) == 0)
			while (bb_program_next(&program, &cursor, &op))
				assert_true(cursor < bytes.size);
		free(copy);
	}
}

static void test_flags_and_octal(void **state)
{
	(void)state;
	assert_true(bb_flag("ro,optional", "optional"));
	assert_true(bb_flag("ro,optional", "ro"));
	assert_false(bb_flag("ro,optional", "rw"));
	assert_false(bb_flag("ro,optional", "opt"));
	assert_int_equal(bb_octal("0755"), 0755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_every_operation),
		cmocka_unit_test(test_the_root_may_be_a_squashfs_file),
		cmocka_unit_test(test_refuses_what_is_malformed),
		cmocka_unit_test(test_refuses_a_program_that_is_too_long),
		cmocka_unit_test(test_survives_mutations),
		cmocka_unit_test(test_flags_and_octal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
