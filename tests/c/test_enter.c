/* Entering for real: user and mount namespaces around a small directory that plays the image. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"

static char top[] = "/tmp/bareboat-test-enter-XXXXXX";
static char image[PATH_MAX], host[PATH_MAX];

static void make_dir(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* An image with /etc, /usr, a link out of the root, a dangling link, and without /proc, /run or /home. */
static int make_tree(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	chmod(top, 0755);
	snprintf(image, sizeof image, "%s/image", top);
	snprintf(host, sizeof host, "%s/host", top);
	make_dir(image);
	make_dir(host);
	assert_int_equal(chdir(image), 0);
	make_dir("etc");
	make_dir("usr");
	make_dir("empty");
	make_file("etc/name", "image\n");
	assert_int_equal(symlink("/etc", "abs"), 0);
	assert_int_equal(symlink("../../../../../../../../etc", "up"), 0);
	assert_int_equal(symlink("/nowhere/at/all", "etc/dangling"), 0);
	make_dir("run");
	make_file("run/stub", "hidden by the tmpfs\n");
	assert_int_equal(symlink("../run/stub", "etc/relative"), 0);
	assert_int_equal(symlink("/run/stub", "etc/absolute"), 0);
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_int_equal(symlink("/proc/self/root/etc", "magic"), 0);
	assert_int_equal(chdir(host), 0);
	make_file("name", "host\n");
	make_dir("dir");
	make_file("dir/inside", "host dir\n");
	assert_int_equal(chdir("/"), 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status, (void)type, (void)ftw;
	return remove(path);
}

static int remove_tree(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void expect(const char *path, const char *text)
{
	char got[128] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, got, sizeof got - 1) < 0 || strcmp(got, text) != 0) {
		fprintf(stderr, "%s: wanted \"%s\", got \"%s\" (%m)\n", path, text, got);
		_exit(99);
	}
	close(fd);
}

#define EXPECT(what)                                                      \
	do {                                                              \
		if (!(what)) {                                            \
			fprintf(stderr, "line %d: %s\n", __LINE__, #what); \
			_exit(99);                                        \
		}                                                         \
	} while (0)

/* Runs the program in a child, as root or as nobody, and `look` inside; the child's exit code. */
static int entered(struct bytes bytes, uid_t uid, void (*look)(void), struct bb_err *err)
{
	int pipe_fds[2], status;
	pid_t child;

	memset(err, 0, sizeof *err);
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct bb_program program;
		struct bb_err inner = { 0 };

		/* As executing a program does. */
		if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || prctl(PR_SET_DUMPABLE, 1)))
			_exit(98);
		if (bb_program_open(&program, bytes.data, bytes.size, &inner) < 0 || bb_enter(&program, -1, NULL, &inner) < 0) {
			EXPECT(write(pipe_fds[1], &inner, sizeof inner) == sizeof inner);
			_exit(1);
		}
		look();
		_exit(0);
	}
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], err, sizeof *err) >= 0);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void for_root_and_nobody(struct bytes bytes, void (*look)(void))
{
	struct bb_err err;

	for (int i = 0; i < 2; i++) {
		int code = entered(bytes, i ? 65534 : 0, look, &err);

		if (code == 1)
			fprintf(stderr, "cannot %s %s: %s\n", err.operation, err.path, strerror(err.errnum));
		assert_int_equal(code, 0);
	}
}

static void see_plain(void)
{
	expect("/etc/name", "image\n");
	EXPECT(open("/etc/new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS);
	EXPECT(mkdir("/new", 0755) < 0 && errno == EROFS);
	EXPECT(access(top, F_OK) < 0);
	EXPECT(access("/../etc/passwd", F_OK) < 0);
}

static void test_the_image_becomes_a_read_only_root(void **state)
{
	(void)state;
	for_root_and_nobody(PROGRAM("root-dir", image), see_plain);
}

/* How many mounts the namespace has on "/": a process that joins it is put onto the topmost (setns(2)). */
static unsigned roots(void)
{
	FILE *table = fopen("/proc/self/mountinfo", "r");
	char line[4096], point[4096];
	unsigned count = 0;

	EXPECT(table);
	while (fgets(line, sizeof line, table))
		count += sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 && !strcmp(point, "/");
	fclose(table);
	return count;
}

static void see_the_host(void)
{
	EXPECT(access(top, F_OK) == 0 && roots() == 1);
	EXPECT(open("/new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS);
}

static void test_the_host_as_an_image_is_the_topmost_root(void **state)
{
	(void)state;
	for_root_and_nobody(PROGRAM("root-dir", "/"), see_the_host);
}

static void see_all(void)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof path, "/all%s/name", host);
	expect(path, "host\n");
	expect("/etc/name", "image\n");
	EXPECT(access("/all/upper", F_OK) < 0 && roots() == 1);
}

static void test_a_bind_of_the_whole_host_shows_the_host(void **state)
{
	(void)state;
	for_root_and_nobody(PROGRAM("root-dir", image, "bind", "/proc", "/proc", "rw", "bind", "/", "/all", "ro"), see_all);
}

static void see_binds(void)
{
	struct stat status;

	expect("/etc/name", "host\n");
	expect("/made/for/it/inside", "host dir\n");
	expect("/etc/dangling", "host\n");
	expect("/run/deep/er/inside", "host dir\n");
	expect("/generated", "by bareboat\n");
	EXPECT(access("/gone", F_OK) < 0);
	EXPECT(stat("/etc", &status) == 0 && (status.st_mode & 07777) == 0755);
	EXPECT(open("/made/for/it/inside", O_WRONLY) < 0 && errno == (getuid() ? EACCES : EROFS));
	EXPECT(access("/..", F_OK) == 0 && access("/../usr", F_OK) == 0 && access("/../upper", F_OK) < 0);
	expect("/run/link", "image\n");
}

static void test_missing_mount_points_appear(void **state)
{
	char dir[PATH_MAX + 8], name[PATH_MAX + 8], gone[PATH_MAX + 8], before[PATH_MAX + 8];

	(void)state;
	snprintf(dir, sizeof dir, "%s/dir", host);
	snprintf(name, sizeof name, "%s/name", host);
	snprintf(gone, sizeof gone, "%s/gone", host);
	snprintf(before, sizeof before, "%s/made", image);
	for_root_and_nobody(PROGRAM("root-dir", image, "bind", dir, "/made/for/it", "ro", "bind", name, "/etc/dangling",
				    "ro", "tmpfs", "/run", "mode=0755", "bind", dir, "/run/deep/er", "rw", "file",
				    "/generated", "0444", "by bareboat\n", "bind", gone, "/gone", "ro,optional", "symlink",
				    "/run/link", "/etc/name2", "file", "/etc/name2", "0644", "image\n", "bind", name,
				    "/etc/name", "ro"),
			    see_binds);
	assert_int_equal(access(before, F_OK), -1); /* the image itself is unchanged */
}

static void see_links_into_run(void)
{
	expect("/etc/relative", "host\n");
	expect("/etc/absolute", "host\n");
	expect("/run/stub", "host\n");
}

static void test_links_into_what_a_tmpfs_hides(void **state)
{
	char name[PATH_MAX + 8];

	(void)state;
	snprintf(name, sizeof name, "%s/name", host);
	for_root_and_nobody(PROGRAM("root-dir", image, "tmpfs", "/run", "mode=0755", "bind", name, "/etc/relative", "ro",
				    "bind", name, "/etc/absolute", "ro"),
			    see_links_into_run);
}

static void see_own_run(void)
{
	char inside[PATH_MAX + 16];

	expect("/run/own/inside", "host dir\n");
	EXPECT(access("/run/systemd", F_OK) < 0);
	snprintf(inside, sizeof inside, "%s/name", host);
	expect(inside, "host\n");
}

/* As a step with a working directory of /run has it, and one whose TMPDIR is too long to be a name. */
static void test_a_step_does_not_hide_what_is_mounted_for_it(void **state)
{
	static const char flags[] = "rw,optional,unless-shown";
	char dir[PATH_MAX + 8], long_name[300];

	(void)state;
	snprintf(dir, sizeof dir, "%s/dir", host);
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[0] = '/';
	long_name[sizeof long_name - 1] = '\0';
	for_root_and_nobody(PROGRAM("root-dir", image, "tmpfs", "/run", "mode=0755", "bind", "/run", "/run", flags, "bind",
				    long_name, long_name, flags, "bind", host, host, flags, "bind", dir, "/run/own", "ro"),
			    see_own_run);
}

static void see_confined(void)
{
	expect("/etc/name", "host\n");
}

static void test_links_stay_inside_the_root(void **state)
{
	static const char *const targets[] = { "/abs/name", "/up/name", "/../../etc/name", "/etc/../../etc/name" };
	char name[PATH_MAX + 8];

	(void)state;
	snprintf(name, sizeof name, "%s/name", host);
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
		for_root_and_nobody(PROGRAM("root-dir", image, "bind", name, targets[i], "ro"), see_confined);
}

static void nothing(void)
{
}

static void never(void)
{
	_exit(96);
}

static void fails(struct bytes bytes, int errnum, const char *operation, const char *path)
{
	struct bb_err err;

	assert_int_equal(entered(bytes, 0, never, &err), 1);
	assert_string_equal(err.operation, operation);
	assert_string_equal(err.path, path);
	assert_int_equal(err.errnum, errnum);
}

static void test_failures_are_named(void **state)
{
	char name[PATH_MAX + 8], dir[PATH_MAX + 8], gone[PATH_MAX + 8];

	(void)state;
	snprintf(name, sizeof name, "%s/name", host);
	snprintf(dir, sizeof dir, "%s/dir", host);
	snprintf(gone, sizeof gone, "%s/gone", host);
	fails(PROGRAM("root-dir", gone), ENOENT, "open the image", gone);
	fails(PROGRAM("root-dir", name), ENOTDIR, "open the image", name);
	fails(PROGRAM("root-dir", image, "bind", gone, "/x", "ro"), ENOENT, "bind", gone);
	fails(PROGRAM("root-dir", image, "bind", name, "/loop/x", "ro"), ELOOP, "find the mount point", "/loop/x");
	fails(PROGRAM("root-dir", image, "bind", dir, "/etc/name", "ro"), ENOTDIR, "mount on", "/etc/name");
	fails(PROGRAM("root-dir", image, "bind", name, "/usr", "ro"), EISDIR, "mount on", "/usr");
	fails(PROGRAM("root-dir", image, "bind", dir, "/usr", "ro", "bind", name, "/usr/not/there", "ro"), ENOENT,
	      "find the mount point", "/usr/not/there");
	fails(PROGRAM("root-dir", image, "tmpfs", "/usr", "nonsense=1"), EINVAL, "set tmpfs options",
	      "nonsense=1 of /usr");
	fails(PROGRAM("root-dir", image, "symlink", "/etc/l", "x"), EROFS, "make the link", "/etc/l");
}

/* A magic link leads out of every root; openat2(2) must not follow it. */
static void test_magic_links_are_not_followed(void **state)
{
	char name[PATH_MAX + 8];

	(void)state;
	snprintf(name, sizeof name, "%s/name", host);
	fails(PROGRAM("root-dir", image, "bind", "/proc", "/empty", "rw", "bind", name, "/empty/self/root/etc/hostname",
		      "ro"),
	      ELOOP, "find the mount point", "/empty/self/root/etc/hostname");
}

/* The kernel lays no overlay over a tree with mounts that it could uncover; what they hold must not vanish silently. */
static void test_a_mount_inside_an_image_that_lacks_mount_points_is_named(void **state)
{
	char inside[PATH_MAX + 8], dir[PATH_MAX + 8], text[1024];
	struct bb_err err;
	int status;
	pid_t child;

	(void)state;
	snprintf(inside, sizeof inside, "%s/empty", image);
	snprintf(dir, sizeof dir, "%s/dir", host);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		EXPECT(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		EXPECT(mount("none", inside, "tmpfs", 0, NULL) == 0);
		EXPECT(entered(PROGRAM("root-dir", image), 0, nothing, &err) == 0);
		EXPECT(entered(PROGRAM("root-dir", image, "bind", dir, "/missing", "ro"), 0, never, &err) == 1);
		bb_err_text(&err, text, sizeof text);
		EXPECT(!strcmp(err.path, image));
		EXPECT(strstr(text, ": Invalid argument; nothing may be mounted inside the directory of an image that lacks mount "
				    "points; `bareboat plan` names those that it lacks"));
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_image_becomes_a_read_only_root),
		cmocka_unit_test(test_the_host_as_an_image_is_the_topmost_root),
		cmocka_unit_test(test_a_bind_of_the_whole_host_shows_the_host),
		cmocka_unit_test(test_missing_mount_points_appear),
		cmocka_unit_test(test_links_into_what_a_tmpfs_hides),
		cmocka_unit_test(test_a_step_does_not_hide_what_is_mounted_for_it),
		cmocka_unit_test(test_links_stay_inside_the_root),
		cmocka_unit_test(test_failures_are_named),
		cmocka_unit_test(test_magic_links_are_not_followed),
		cmocka_unit_test(test_a_mount_inside_an_image_that_lacks_mount_points_is_named),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
