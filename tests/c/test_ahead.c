/* Reading ahead: what is read, and that nothing of an image holds it up or leads it out. */
#define _GNU_SOURCE
#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ahead.h"

enum { SIZE = 1 << 16 };

static char image[] = "/var/tmp/bareboat-test-ahead-XXXXXX"; /* on a disk: what is in memory only cannot be read ahead */
static int root = -1;

/* A file of the image whose content only the disk has. */
static void make(const char *name)
{
	static char zeros[SIZE];
	int fd = openat(root, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

/* Whether the kernel has the first page of the file, or gets it soon: reading ahead waits for no disk. */
static bool is_read(const char *name)
{
	int fd = openat(root, name, O_RDONLY | O_CLOEXEC);
	void *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	unsigned char pages[SIZE / 4096] = { 0 };

	assert_true(map != MAP_FAILED);
	for (int tries = 0; tries < 50 && !(pages[0] & 1); tries++) {
		if (tries)
			usleep(10000);
		assert_int_equal(mincore(map, SIZE, pages), 0);
	}
	munmap(map, SIZE);
	close(fd);
	return pages[0] & 1;
}

static int make_image(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(image));
	root = open(image, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0;
}

static int remove_image(void **state)
{
	static const char *const names[] = { "program", "other", "pipe", "out" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlinkat(root, names[i], 0);
	unlinkat(root, "mounted", AT_REMOVEDIR);
	close(root);
	return rmdir(image);
}

static void test_what_the_program_names_is_read(void **state)
{
	struct bytes bytes = PROGRAM("root-squashfs", "/i", "", "read-ahead", "/nowhere/program", "env-unset", "A", "read-ahead",
				     "/program", "no-new-privs");
	struct bb_program program;
	struct bb_err err;
	size_t cursor = 0;

	(void)state;
	make("program");
	make("other");
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	assert_false(is_read("program"));
	assert_true(bb_read_ahead(&program, &cursor, root));
	assert_false(is_read("program"));
	assert_true(bb_read_ahead(&program, &cursor, root));
	assert_true(is_read("program"));
	assert_false(bb_read_ahead(&program, &cursor, root));
	assert_false(is_read("other"));
}

/* A pipe would wait for a writer; a link to a path of the host is one of the image's, where there is none. */
static void test_nothing_holds_it_up_or_leads_it_out(void **state)
{
	struct bytes bytes = PROGRAM("root-squashfs", "/i", "", "read-ahead", "/pipe", "read-ahead", "/out", "read-ahead", "/../program");
	char outside[sizeof image + 8];
	struct bb_program program;
	struct bb_err err;
	size_t cursor = 0;

	(void)state;
	make("program");
	make("other");
	stpcpy(stpcpy(outside, image), "/other");
	assert_int_equal(mkfifoat(root, "pipe", 0644), 0);
	assert_int_equal(symlinkat(outside, root, "out"), 0);
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	alarm(60);
	assert_true(bb_read_ahead(&program, &cursor, root));
	assert_true(bb_read_ahead(&program, &cursor, root));
	assert_false(is_read("other"));
	/* ".." ends at the image's root. */
	assert_true(bb_read_ahead(&program, &cursor, root));
	assert_true(is_read("program"));
	alarm(0);
}

/* The container is put together on the image's mount while this goes on: what the host has there is no part of it. */
static void test_what_is_mounted_in_the_image_stays_unread(void **state)
{
	struct bytes bytes = PROGRAM("root-squashfs", "/i", "", "read-ahead", "/mounted/other", "read-ahead", "/program");
	struct bb_program program;
	struct bb_err err;
	char mounted[PATH_MAX];
	size_t cursor = 0;
	int status;
	pid_t child;

	(void)state;
	make("program");
	make("other");
	assert_int_equal(mkdirat(root, "mounted", 0755), 0);
	snprintf(mounted, sizeof mounted, "%s/mounted", image);
	assert_int_equal(bb_program_open(&program, bytes.data, bytes.size, &err), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int here;

		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount(image, mounted, NULL, MS_BIND, NULL))
			_exit(2);
		here = open(image, O_PATH | O_DIRECTORY | O_CLOEXEC);
		_exit(here < 0 || !bb_read_ahead(&program, &cursor, here) || !bb_read_ahead(&program, &cursor, here));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(is_read("program"));
	assert_false(is_read("other"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_program_names_is_read),
		cmocka_unit_test(test_nothing_holds_it_up_or_leads_it_out),
		cmocka_unit_test(test_what_is_mounted_in_the_image_stays_unread),
	};

	return cmocka_run_group_tests(tests, make_image, remove_image);
}
