#define _GNU_SOURCE
#include "root.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "mount.h"
#include "paths.h"
#include "sys.h"

enum { LINKS_MAX = 40 }; /* as many as the kernel follows (path_resolution(7)) */

/* What `path` means when `root` is "/": links, also absolute ones, and ".." stay below it (openat2(2)). */
static int lookup(int root, const char *path, unsigned long long flags)
{
	const struct open_how how = {
		.flags = O_CLOEXEC | flags,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	/* EAGAIN: a rename or mount raced with the lookup of a ".." (openat2(2)). */
	for (int tries = 0; tries < 100; tries++) {
		fd = sys_openat2(root, path, &how);
		if (fd >= 0 || errno != EAGAIN)
			return fd;
	}
	return -1;
}

static int stack(struct bb_root *root, int mount, struct bb_err *err)
{
	if (bb_mount_stack(mount, err) < 0)
		return -1;
	root->stacked++;
	return 0;
}

int bb_root_open(struct bb_root *root, const char *path, int image, struct bb_err *unseen, struct bb_err *err)
{
	struct stat status;

	*root = (struct bb_root){ .path = path, .fd = image, .image = -1, .stage = -1, .upper = -1, .work = -1, .unseen = unseen };
	/* Before the stage: an image that is "/" would bring along what is stacked there. */
	if (root->fd < 0)
		root->fd = bb_mount_clone(AT_FDCWD, path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
					  "open the image", err);
	if (root->fd < 0)
		goto out;
	root->stage = bb_mount_tmpfs("mode=0700", path, err);
	if (root->stage < 0 || stack(root, root->stage, err) < 0)
		goto out;
	errno = ENOTDIR; /* where fstat(2) does not fail */
	if (fstat(root->fd, &status) < 0 || !S_ISDIR(status.st_mode)) {
		bb_fail(err, errno, "open the image", path);
		goto out;
	}
	if (stack(root, root->fd, err) < 0)
		goto out;
	root->image = dup(root->fd);
	if (root->image < 0) {
		bb_fail(err, errno, "open the image", path);
		goto out;
	}
	return 0;
out:
	bb_root_close(root);
	return -1;
}

void bb_root_close(struct bb_root *root)
{
	bb_close(&root->fd);
	bb_close(&root->image);
	bb_close(&root->stage);
	bb_close(&root->upper);
	bb_close(&root->work);
}

/* Creates `name` below `dir` and opens it.  Only what did not exist is created. */
static int make_below(int dir, const char *name, bool directory)
{
	int fd;

	if (directory) {
		if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
			return -1;
		return openat(dir, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
	}
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno != EEXIST)
		return -1;
	bb_close(&fd);
	return openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Creates every component of `path` below `dir` and opens the last.  ".", ".." and empty components are passed over:
 * nothing of `path` exists yet, so they cannot lead anywhere that it does not name. */
static int make_path(int dir, const char *path, bool directory)
{
	int at = dup(dir);

	while (at >= 0) {
		char name[NAME_MAX + 1];
		const char *start = path + strspn(path, "/"), *end = strchrnul(start, '/');
		size_t length = (size_t)(end - start);
		int next;

		if (!length)
			break;
		if (length >= sizeof name) {
			bb_close(&at);
			errno = ENAMETOOLONG;
			break;
		}
		memcpy(name, start, length);
		name[length] = '\0';
		path = end;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		next = make_below(at, name, directory || end[strspn(end, "/")]);
		bb_close(&at);
		at = next;
	}
	return at;
}

/* Opens the deepest part of `path` that exists in the root, and points `*rest` at what is missing.  A dangling link
 * counts as missing: it is the link itself that something can be put over, not its target. */
static int deepest(int root, const char *path, const char **rest)
{
	char prefix[PATH_MAX];
	size_t length = strlen(path);
	int at;

	if (length >= sizeof prefix) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(prefix, path, length + 1);
	/* From the whole path upwards: nearly always it exists, or its directory does. */
	do {
		while (length && prefix[length - 1] == '/')
			length--;
		prefix[length] = '\0';
		*rest = path + length;
		at = lookup(root, length ? prefix : "/", O_PATH);
		while (length && prefix[length - 1] != '/')
			length--;
	} while (at < 0 && errno == ENOENT && *rest > path);
	return at;
}

/* The path, without links, of a directory in the root.  The root is stacked on the process's own, so the kernel
 * names its directories as the container will. */
static int canonical(int fd, char *path, size_t size)
{
	char link[64];
	size_t at = bb_put(link, sizeof link, 0, "/proc/self/fd/");
	ssize_t length;

	bb_put_number(link, sizeof link, at, (unsigned)fd);
	length = readlink(link, path, size);
	if (length < 0)
		return -1;
	if ((size_t)length >= size || path[0] != '/') {
		errno = ENAMETOOLONG;
		return -1;
	}
	path[length] = '\0';
	return 0;
}

/* Opens the upper layer's twin of the root's directory `path`, open as `last`, making it, with the modes of the original:
 * where both layers have a directory, the upper one's attributes are the ones that show. */
static int twin(int root, int upper, const char *path, int last)
{
	char prefix[PATH_MAX];
	int at = dup(upper);

	for (unsigned count = 1; at >= 0 && bb_prefix(path, count, prefix, sizeof prefix); count++) {
		const char *name = strrchr(prefix, '/') + 1;
		struct stat original;
		bool whole = !strcmp(prefix, path);
		int next = whole ? dup(last) : lookup(root, prefix, O_PATH | O_DIRECTORY);

		if (next < 0 || fstat(next, &original) < 0) {
			bb_close(&next);
			bb_close(&at);
			break;
		}
		bb_close(&next);
		next = make_below(at, name, true);
		if (next >= 0 && fchmodat(at, name, original.st_mode & 07777, 0) < 0)
			bb_close(&next);
		bb_close(&at);
		at = next;
	}
	return at;
}

bool bb_root_holds(const struct bb_root *root, const char *path)
{
	char entries[1024];
	int fd = lookup(root->image, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
	ssize_t got = fd < 0 ? -1 : syscall(SYS_getdents64, fd, entries, sizeof entries);
	bool nothing = got < 0 && errno == ENOENT;
	/* A file, or a directory that is not for the user to read. */
	bool something = got < 0 && (errno == ENOTDIR || errno == EACCES || errno == ELOOP || errno == ENAMETOOLONG);

	if (got < 0 && !nothing && !something && !root->unseen->errnum)
		bb_fail(root->unseen, errno, "look into the image for", path);
	bb_close(&fd);
	/* "." and ".." take 24 bytes each (getdents64(2)); a third entry means that the directory holds something. */
	return something || got > 48;
}

static int open_layers(struct bb_root *root)
{
	if (root->upper >= 0)
		return 0;
	root->upper = make_below(root->stage, "upper", true);
	root->work = make_below(root->stage, "work", true);
	return root->upper < 0 || root->work < 0 ? -1 : 0;
}

int bb_root_want(struct bb_root *root, const char *path, bool directory, struct bb_err *err)
{
	char parent[PATH_MAX];
	const char *rest;
	int at = deepest(root->fd, path, &rest), upper = -1, made = -1, rc = -1;

	if (at < 0)
		return bb_fail(err, errno, "find the mount point", path);
	if (!rest[strspn(rest, "/")]) {
		bb_close(&at);
		return 0;
	}
	if (canonical(at, parent, sizeof parent) < 0 || open_layers(root) < 0)
		goto out;
	upper = twin(root->fd, root->upper, parent, at);
	if (upper < 0)
		goto out;
	made = make_path(upper, rest, directory);
	rc = made < 0 ? -1 : 0;
out:
	if (rc < 0)
		bb_fail(err, errno, "make the mount point", path);
	bb_close(&made);
	bb_close(&upper);
	bb_close(&at);
	return rc;
}

int bb_root_overlay(struct bb_root *root, struct bb_err *err)
{
	int overlay;
	struct stat original;

	if (root->upper < 0)
		return 0;
	if (fstat(root->fd, &original) < 0 || fchmodat(root->stage, "upper", original.st_mode & 07777, 0) < 0)
		return bb_fail(err, errno, "make an upper layer for", root->path);
	overlay = bb_mount_overlay(root->fd, root->upper, root->work, root->path, err);
	if (overlay < 0)
		return -1;
	bb_close(&root->fd);
	root->fd = overlay;
	return stack(root, root->fd, err);
}

/* 0 where `fd` lies on a tmpfs of ours; else -1, with errno `other` where that could be seen. */
static int owned(const struct bb_root *root, int fd, int other)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -1;
	for (unsigned i = 0; i < root->owns; i++)
		if (root->own[i] == status.st_dev)
			return 0;
	errno = other;
	return -1;
}

/* Where the first component of `rest`, missing in the directory `at`, is a link that leads nowhere: the path that it
 * means, with what follows it. 0 where there is no link. */
static int through_link(int at, const char *rest, char *path, size_t size)
{
	char name[NAME_MAX + 1], link[PATH_MAX];
	const char *start = rest + strspn(rest, "/"), *end = strchrnul(start, '/');
	size_t length = (size_t)(end - start), put = 0;
	ssize_t got;

	if (length >= sizeof name)
		return 0;
	memcpy(name, start, length);
	name[length] = '\0';
	got = readlinkat(at, name, link, sizeof link - 1);
	if (got < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -1;
	link[got] = '\0';
	path[0] = '\0';
	if (link[0] != '/') {
		if (canonical(at, path, size) < 0)
			return -1;
		put = bb_put(path, size, strlen(path), "/");
	}
	put = bb_put(path, size, put, link);
	put = bb_put(path, size, put, end);
	if (put + 1 < size)
		return 1;
	errno = ENAMETOOLONG;
	return -1;
}

int bb_root_find(struct bb_root *root, const char *path, bool directory, struct bb_err *err)
{
	char now[PATH_MAX], next[PATH_MAX];
	int at = -1, made = -1, followed = 1;

	if (bb_put(now, sizeof now, 0, path) + 1 >= sizeof now)
		return bb_fail(err, ENAMETOOLONG, "find the mount point", path);
	/* An image's link may lead to where one of our tmpfs mounts hides what it led to. */
	for (int links = 0; followed == 1 && links < LINKS_MAX; links++) {
		const char *rest;

		bb_close(&at);
		at = deepest(root->fd, now, &rest);
		if (at < 0)
			break;
		if (!rest[strspn(rest, "/")])
			return at;
		followed = through_link(at, rest, next, sizeof next);
		if (followed == 0 && owned(root, at, ENOENT) == 0)
			made = make_path(at, rest, directory);
		else if (followed == 1)
			memcpy(now, next, sizeof now);
	}
	if (followed == 1 && at >= 0)
		errno = ELOOP;
	bb_close(&at);
	return made < 0 ? bb_fail(err, errno, "find the mount point", path) : made;
}

int bb_root_own(struct bb_root *root, int mount, const char *path, struct bb_err *err)
{
	struct stat status;

	if (root->owns == BB_OWN_MAX)
		return bb_fail(err, E2BIG, "remember one more tmpfs, for", path);
	if (fstat(mount, &status) < 0)
		return bb_fail(err, errno, "examine the tmpfs for", path);
	root->own[root->owns++] = status.st_dev;
	return 0;
}

int bb_root_file(struct bb_root *root, const char *path, const char *content, mode_t mode, struct bb_err *err)
{
	char name[32];
	size_t at = bb_put(name, sizeof name, 0, "file");
	int fd, mount;

	bb_put_number(name, sizeof name, at, root->files++);
	fd = openat(root->stage, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || bb_write_all(fd, content, strlen(content)) < 0 || fchmod(fd, mode) < 0) {
		bb_close(&fd);
		return bb_fail(err, errno, "generate the file", path);
	}
	bb_close(&fd);
	mount = bb_mount_clone(root->stage, name, 0, "bind", err);
	return mount < 0 ? bb_fail(err, err->errnum, "generate the file", path) : mount;
}

int bb_root_symlink(struct bb_root *root, const char *path, const char *text, struct bb_err *err)
{
	char parent[PATH_MAX];
	const char *name = strrchr(path, '/') + 1;
	int dir, rc;

	if (!*name || (size_t)(name - path) >= sizeof parent)
		return bb_fail(err, EINVAL, "make the link", path);
	memcpy(parent, path, (size_t)(name - path));
	parent[name - path] = '\0';
	dir = bb_root_find(root, parent, true, err);
	if (dir < 0)
		return -1;
	rc = owned(root, dir, EROFS);
	if (rc == 0)
		rc = symlinkat(text, dir, name);
	if (rc < 0)
		bb_fail(err, errno, "make the link", path);
	bb_close(&dir);
	return rc;
}
