/* Images of the site's store, which the kernel mounts: as root, in slurmstepd, before it forks the ranks.
 *
 * The kernel is not made for file systems that somebody prepared to harm it, so only what root alone could have written is
 * mounted: a file in a directory that the site has named, with no component that another user owns or can write to.  The
 * mount is attached nowhere: it is a descriptor, which the process that makes the container puts in place. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paths.h"
#include "plugin.h"
#include "sys.h"

#define DEFAULT_STORE "/var/lib/bareboat/store"

enum { LOOP_TRIES = 64 };

/* Without slashes at its end. */
static size_t length_of(const char *path)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	return length;
}

static bool lies_in(const char *image, const char *store)
{
	return store[0] == '/' && bb_beneath(image, store) && strlen(image) > strlen(store);
}

/* The innermost of the stores in which the path, as text, lies, or NULL; where a link or ".." would lead is seen when it is
 * opened. */
static const char *store_of(const char *image, int argc, char **argv)
{
	const char *found = NULL;
	bool named = false;

	for (int i = 0; i < argc; i++) {
		const char *store = argv[i] + 6;

		if (strncmp(argv[i], "store=", 6) != 0)
			continue;
		named = true;
		if (lies_in(image, store) && (!found || bb_beneath(store, found)))
			found = store;
	}
	return !named && lies_in(image, DEFAULT_STORE) ? DEFAULT_STORE : found;
}

/* Whether root alone could have put it there, and everybody may search or read it. */
static bool trusted(int fd, mode_t everybody)
{
	struct stat status;

	return fstat(fd, &status) == 0 && status.st_uid == 0 && !(status.st_mode & 022) && (status.st_mode & everybody);
}

/* Opens the next component of `*path` below `at`, which is closed; no link is followed. */
static int step_down(int at, const char **path, unsigned long long flags, unsigned long long resolve)
{
	const struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH };
	char name[NAME_MAX + 1] = "";
	const char *end = strchrnul(*path, '/');
	int next = -1;

	errno = ENAMETOOLONG;
	if ((size_t)(end - *path) < sizeof name) {
		memcpy(name, *path, (size_t)(end - *path));
		next = sys_openat2(at, name, &how);
	}
	*path = end + strspn(end, "/");
	bb_close(&at);
	return next;
}

/* Opens the file, looking at each component on the way: none may be a link, and none somebody else's.  Nothing may be
 * mounted below the store: who owns what in a file system that a user mounted (fusermount3(1)) is for that user to say. */
static int open_trusted(const char *image, const char *store, struct bb_err *err)
{
	const char *rest = image + strspn(image, "/"), *below = image + length_of(store);
	int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char prefix[PATH_MAX] = "/";

	while (at >= 0 && trusted(at, *rest ? S_IXOTH : S_IROTH)) {
		bool last = !strchr(rest, '/');

		if (!*rest)
			return at;
		at = step_down(at, &rest, last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY,
			       rest >= below ? RESOLVE_NO_XDEV : 0);
		bb_put(prefix, (size_t)(rest - image) + 1 < sizeof prefix ? (size_t)(rest - image) + 1 : sizeof prefix, 0, image);
		prefix[length_of(prefix)] = '\0';
	}
	if (at < 0)
		return bb_fail(err, errno, "open", prefix);
	bb_close(&at);
	return bb_fail(err, EPERM, "trust", prefix);
}

/* 1 for a squashfs file, 0 for what else lies in the store, which is for the planner to judge; else -1. */
static int examine(int file, const char *image, struct stat *status, struct bb_err *err)
{
	static const char magic[] = { 'h', 's', 'q', 's' };
	char head[sizeof magic];
	ssize_t got;

	if (fstat(file, status) < 0)
		return bb_fail(err, errno, "read", image);
	if (!S_ISREG(status->st_mode))
		return 0;
	got = pread(file, head, sizeof head, 0);
	if (got < 0)
		return bb_fail(err, errno, "read", image);
	return got == sizeof head && !memcmp(head, magic, sizeof magic);
}

static char *loop_path(int number, char text[static 32])
{
	size_t at = bb_put(text, 32, 0, "/dev/loop");

	bb_put_number(text, 32, at, (unsigned)number);
	return text;
}

/* A loop device of the file, which the kernel gives back when nothing uses it any more (loop(4)).  Not by direct I/O: the
 * next step finds the file's pages in memory. */
static int open_loop(int file, char path[static 32], struct bb_err *err)
{
	struct loop_config config = { .fd = (unsigned)file, .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1;

	/* Whoever asks for a free one may find it taken by then. */
	for (int tries = 0; control >= 0 && loop < 0 && tries < LOOP_TRIES; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		loop = open(loop_path(number, path), O_RDWR | O_CLOEXEC);
		if (loop < 0)
			break;
		if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
			break;
		bb_close(&loop);
		if (errno != EBUSY)
			break;
	}
	if (loop < 0)
		bb_fail(err, errno, "get", "a loop device");
	bb_close(&control);
	return loop;
}

/* "IMAGE (the kernel says: what it had to say of the mount that failed)" */
static void explain(int fs, const char *image, char *text, size_t size)
{
	char said[256];
	ssize_t got = read(fs, said, sizeof said - 1);
	size_t at = bb_put(text, size, 0, image);

	/* Before each message stand its severity, a letter, and a space (fsopen(2)). */
	if (got <= 2)
		return;
	said[got] = '\0';
	said[strcspn(said, "\n")] = '\0';
	at = bb_put(text, size, at, " (the kernel says: ");
	at = bb_put(text, size, at, said + 2);
	bb_put(text, size, at, ")");
}

static int mount_loop(const char *loop, const char *image, struct bb_err *err)
{
	char where[sizeof err->path];
	int fs = sys_fsopen("squashfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0)
		return bb_fail(err, errno, "mount the squashfs image", image);
	if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", loop, 0) == 0 &&
	    sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0 &&
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (fd < 0) {
		int errnum = errno;

		explain(fs, image, where, sizeof where);
		bb_fail(err, errnum, "mount the squashfs image", where);
	}
	bb_close(&fs);
	return fd;
}

/* In the child: puts the mount into a mount namespace of root's, has that copied into another user namespace, which is
 * where the kernel locks its flags, and takes a copy of the copy. */
static bool copy_locked(int mount)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	static const char place[] = "/proc"; /* a directory that is always there */
	bool done;
	int locked;

	if (unshare(CLONE_NEWNS) < 0 || sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private) < 0 ||
	    sys_move_mount(mount, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	locked = sys_open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	done = locked >= 0 && dup3(locked, mount, O_CLOEXEC) >= 0;
	/* The descriptors are the parent's. */
	bb_close(&locked);
	return done;
}

/* Makes the mount's flags such that the owner of the namespace that it will be moved to cannot change them: nodev above
 * all, since the file system is root's and what device nodes it has would be real (mount_namespaces(7)). */
static int lock_flags(int mount, struct bb_err *err)
{
	/* Like fork(2), but that the child's descriptors are ours: the copy takes the number of the original. */
	struct clone_args arguments = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };
	pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments), got;
	int status = 0;

	if (child == 0)
		_exit(copy_locked(mount) ? 0 : errno);
	if (child < 0)
		return bb_fail(err, errno, "fork", "");
	do
		got = waitpid(child, &status, 0);
	while (got < 0 && errno == EINTR);
	/* Not knowing is not "locked". */
	if (got < 0)
		return bb_fail(err, errno, "lock the flags of", "the image's mount");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return bb_fail(err, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR, "lock the flags of", "the image's mount");
}

int bb_store_mount(const char *image, int argc, char **argv, struct stat *status, char *note, size_t size)
{
	const char *store = store_of(image, argc, argv);
	int file, found, loop = -1, mount = -1;
	char path[32];
	struct bb_err err;

	note[0] = '\0';
	if (!store)
		return -1;
	file = open_trusted(image, store, &err);
	found = file < 0 ? -1 : examine(file, image, status, &err);
	if (found <= 0)
		bb_close(&file);
	if (found == 0)
		return -1;
	if (file >= 0)
		loop = open_loop(file, path, &err);
	if (loop >= 0)
		mount = mount_loop(path, image, &err);
	if (mount >= 0 && lock_flags(mount, &err) < 0)
		bb_close(&mount);
	if (mount < 0)
		bb_err_text(&err, note, size);
	bb_close(&loop);
	bb_close(&file);
	return mount;
}
