#define _GNU_SOURCE
#include "mount.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "sys.h"

int bb_mount_clone(int dir, const char *path, unsigned attributes, const char *operation, struct bb_err *err)
{
	/* Always recursive: the kernel refuses to uncover what the mounts below hide (mount_namespaces(7)). */
	int fd = sys_open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	/* MS_BIND | MS_RDONLY in one mount(2) is not read-only; mount_setattr is. */
	struct mount_attr attr = { .attr_set = attributes };

	if (fd < 0)
		return bb_fail(err, errno, operation, path);
	if (attributes && sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0) {
		bb_close(&fd);
		return bb_fail(err, errno, operation, path);
	}
	return fd;
}

static int finish(int *fs, unsigned attributes, const char *operation, const char *path, struct bb_err *err)
{
	int fd = -1;

	if (sys_fsconfig(*fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = sys_fsmount(*fs, FSMOUNT_CLOEXEC, attributes);
	bb_close(fs);
	return fd < 0 ? bb_fail(err, errno, operation, path) : fd;
}

/* Sets one KEY=VALUE (or a bare KEY) that ends at `end`. */
static int set_option(int fs, const char *option, const char *end)
{
	char key[32], value[64];
	const char *equals = memchr(option, '=', (size_t)(end - option));
	size_t key_length = (size_t)((equals ? equals : end) - option);
	size_t value_length = equals ? (size_t)(end - equals - 1) : 0;

	if (key_length >= sizeof key || value_length >= sizeof value) {
		errno = EINVAL;
		return -1;
	}
	memcpy(key, option, key_length);
	key[key_length] = '\0';
	if (!equals)
		return sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
	memcpy(value, equals + 1, value_length);
	value[value_length] = '\0';
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
}

/* Names the options as well: it may be them that the kernel refuses. */
static int refused(struct bb_err *err, const char *options, const char *path)
{
	char text[sizeof err->path];
	size_t at = bb_put(text, sizeof text, 0, options);

	at = bb_put(text, sizeof text, at, " of ");
	bb_put(text, sizeof text, at, path);
	return bb_fail(err, errno, "set tmpfs options", text);
}

int bb_mount_tmpfs(const char *options, const char *path, struct bb_err *err)
{
	static const char operation[] = "mount a tmpfs for";
	int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return bb_fail(err, errno, operation, path);
	for (const char *option = options; *option;) {
		const char *end = strchrnul(option, ',');

		if (end > option && set_option(fs, option, end) < 0) {
			bb_close(&fs);
			return refused(err, options, path);
		}
		option = *end ? end + 1 : end;
	}
	return finish(&fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, operation, path, err);
}

static int set_number(int fs, const char *key, unsigned long long number)
{
	char text[24];

	bb_put_number(text, sizeof text, 0, number);
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0);
}

int bb_mount_fuse(int device, const char *source, struct bb_err *err)
{
	int fs = sys_fsopen("fuse", FSOPEN_CLOEXEC);

	if (fs < 0)
		return bb_fail(err, errno, "mount", "fuse");
	/* Without default_permissions: what the file holds is the user's to read, whoever owned it where it was packed.  The
	 * source is for people; the kernel takes strings of up to 255 bytes (fsconfig(2)). */
	if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", strlen(source) < 256 ? source : "squashfs", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "subtype", "squashfuse", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "rootmode", "40755", 0) < 0 ||
	    set_number(fs, "fd", (unsigned)device) < 0 || set_number(fs, "user_id", geteuid()) < 0 ||
	    set_number(fs, "group_id", getegid()) < 0) {
		bb_close(&fs);
		return bb_fail(err, errno, "set fuse options for", source);
	}
	return finish(&fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, "mount by FUSE", source, err);
}

static int set_layer(int fs, const char *key, int layer)
{
	char path[64];
	size_t at = bb_put(path, sizeof path, 0, "/proc/self/fd/");

	bb_put_number(path, sizeof path, at, (unsigned)layer);
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
}

int bb_mount_overlay(int lower, int upper, int work, const char *path, struct bb_err *err)
{
	int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	if (fs < 0)
		return bb_fail(err, errno, "mount an overlay over", path);
	/* Overlay in a user namespace keeps its marks in user.* attributes. */
	if (set_layer(fs, "lowerdir", lower) < 0 || set_layer(fs, "upperdir", upper) < 0 ||
	    set_layer(fs, "workdir", work) < 0 || sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0) {
		bb_close(&fs);
		return bb_fail(err, errno, "set the options of an overlay over", path);
	}
	return finish(&fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, "lay an overlay over",
		      path, err);
}

int bb_mount_attach(int mount, int target, const char *path, struct bb_err *err)
{
	struct stat what, where;
	int reason;

	if (sys_move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
		return 0;
	reason = errno;
	/* The kernel says only "Invalid argument" to a directory on a file or the other way round. */
	if (fstat(mount, &what) == 0 && fstat(target, &where) == 0 && S_ISDIR(what.st_mode) != S_ISDIR(where.st_mode))
		reason = S_ISDIR(what.st_mode) ? ENOTDIR : EISDIR;
	return bb_fail(err, reason, "mount on", path);
}

int bb_mount_stack(int mount, struct bb_err *err)
{
	if (sys_move_mount(mount, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return bb_fail(err, errno, "mount on", "/");
	return 0;
}

int bb_mount_unstack(int mount, unsigned stacked, struct bb_err *err)
{
	int rc = fchdir(mount);

	/* Each call takes the topmost. */
	for (unsigned i = 0; rc == 0 && i < stacked; i++)
		rc = sys_umount2(".", BB_MNT_DETACH);
	return rc < 0 ? bb_fail(err, errno, "unmount", "what came along with the host's root") : 0;
}

int bb_mount_pivot(int root, unsigned stacked, struct bb_err *err)
{
	if (fchdir(root) < 0)
		return bb_fail(err, errno, "enter", "the new root");
	/* With both arguments the same, the old root ends up on top of the new one and needs no directory of its own
	 * (pivot_root(2)). */
	if (sys_pivot_root(".", ".") < 0)
		return bb_fail(err, errno, "pivot to", "the new root");
	/* The old root now lies on the new one, and on it what was stacked there before; each call takes the topmost. */
	for (unsigned i = 0; i < stacked; i++)
		if (sys_umount2(".", BB_MNT_DETACH) < 0)
			return bb_fail(err, errno, "unmount", "the old root");
	if (chdir("/") < 0)
		return bb_fail(err, errno, "enter", "the new root");
	return 0;
}
