#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse.h"
#include "hostmounts.h"
#include "idmap.h"
#include "mount.h"
#include "paths.h"
#include "root.h"
#include "sys.h"

/* What both passes work on. */
struct pass {
	struct bb_root root;
	struct bb_hostmounts *hosts;
	const struct bb_program *program;
};

static bool on_host_mount(const struct pass *pass, const char *types, const char *path)
{
	const char *point;
	size_t cursor = 0;

	while ((point = bb_hostmounts_next(pass->hosts, &pass->root, types, &cursor)))
		if (bb_beneath(path, point))
			return true;
	return false;
}

/* Whether a mount at `path` would hide what the program itself puts on one of its tmpfs, or that tmpfs: the container's own
 * /run must not become the host's because a step's working directory or TMPDIR is /run. */
static bool hides_own(const struct pass *pass, const char *path)
{
	bool fresh = false, own = false;
	struct bb_op op;
	size_t cursor = 0;

	while (bb_program_next(pass->program, &cursor, &op)) {
		const char *target = NULL;

		if (op.verb == BB_TMPFS || op.verb == BB_FILE)
			target = op.arg[0];
		else if (op.verb == BB_BIND && !bb_flag(op.arg[2], "unless-shown"))
			target = op.arg[1];
		own = own || (target && bb_beneath(target, path));
		fresh = fresh || (op.verb == BB_TMPFS && (bb_beneath(path, target) || bb_beneath(target, path)));
	}
	return fresh && own;
}

/* 1 where a bind's source is there, 0 where it is missing, which what a variable of the step happens to say (too long, a
 * loop of links) may well be; else -1. */
static int present(const char *source, struct stat *status)
{
	if (stat(source, status) == 0)
		return 1;
	return errno == ENOENT || errno == EACCES || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP ? 0 : -1;
}

/* Whether the bind shows something at its target, by itself or, where it is passed over, by what made that so. */
static bool shows(const struct pass *pass, const struct bb_op *op)
{
	struct stat status;
	int there = present(op->arg[0], &status);

	if (there < 0 && !pass->root.unseen->errnum)
		bb_fail(pass->root.unseen, errno, "bind", op->arg[0]);
	return there > 0 &&
	       !(bb_flag(op->arg[2], "unless-shown") &&
		 (bb_root_holds(&pass->root, op->arg[1]) || hides_own(pass, op->arg[1])));
}

enum cover { UNCOVERED, BY_MOUNT, BY_TMPFS };

/* What the last operation before `limit` (an offset) that mounts something at or above `path` is: the mount point is then
 * to be found in that, not in the image. */
static enum cover cover(const struct pass *pass, size_t limit, const char *path)
{
	enum cover last = UNCOVERED;
	struct bb_op op;
	size_t cursor = 0;

	while (bb_program_next(pass->program, &cursor, &op) && cursor < limit) {
		if (op.verb == BB_BIND && bb_beneath(path, op.arg[1]) && shows(pass, &op))
			last = BY_MOUNT;
		else if (op.verb == BB_TMPFS && bb_beneath(path, op.arg[0]))
			last = BY_TMPFS;
		else if (op.verb == BB_BIND_FSTYPES && on_host_mount(pass, op.arg[0], path))
			last = BY_MOUNT;
	}
	return last;
}

/* Whether the container shows something at `path` already: a fresh tmpfs shows nothing, and hides the image. */
static bool shown(const struct pass *pass, size_t limit, const char *path)
{
	enum cover last = cover(pass, limit, path);

	return last == BY_MOUNT || (last == UNCOVERED && bb_root_holds(&pass->root, path)) || hides_own(pass, path);
}

/* 1 where the bind is to be done, 0 where it is passed over. `limit` is the offset behind the operation. */
static int wanted(const struct pass *pass, const struct bb_op *op, size_t limit, struct stat *status,
		  struct bb_err *err)
{
	int there = present(op->arg[0], status);

	if (there == 0 && bb_flag(op->arg[2], "optional"))
		return 0;
	if (there <= 0)
		return bb_fail(err, errno, "bind", op->arg[0]);
	return !bb_flag(op->arg[2], "unless-shown") || !shown(pass, limit, op->arg[1]);
}

static unsigned attributes(const char *flags)
{
	return MOUNT_ATTR_NOSUID | (bb_flag(flags, "ro") ? MOUNT_ATTR_RDONLY : 0);
}

static int place(struct bb_root *root, int *mount, const char *path, bool directory, struct bb_err *err)
{
	int target = *mount < 0 ? -1 : bb_root_find(root, path, directory, err);
	int rc = target < 0 ? -1 : bb_mount_attach(*mount, target, path, err);

	bb_close(&target);
	bb_close(mount);
	return rc;
}

/* The same for a copy of all of the host. */
static int place_all(struct bb_root *root, int *mount, const char *path, struct bb_err *err)
{
	int copy = dup(*mount), rc = copy < 0 ? bb_fail(err, errno, "bind", "/") : place(root, mount, path, true, err);

	if (rc == 0)
		rc = bb_mount_unstack(copy, root->stacked, err);
	bb_close(&copy);
	return rc;
}

static int want_fstypes(struct pass *pass, const struct bb_op *op, size_t limit, struct bb_err *err)
{
	const char *path;
	size_t cursor = 0;

	while ((path = bb_hostmounts_next(pass->hosts, &pass->root, op->arg[0], &cursor)))
		if (cover(pass, limit, path) == UNCOVERED && bb_root_want(&pass->root, path, true, err) < 0)
			return -1;
	return 0;
}

/* First pass: which mount points does the read-only root lack? */
static int want(struct pass *pass, struct bb_err *err)
{
	struct bb_op op;
	size_t cursor = 0;
	int rc = 0;

	while (rc >= 0 && bb_program_next(pass->program, &cursor, &op)) {
		struct stat status = { .st_mode = S_IFREG };
		const char *target = NULL;

		if (op.verb == BB_BIND) {
			target = op.arg[1];
		} else if (op.verb == BB_TMPFS) {
			status.st_mode = S_IFDIR;
			target = op.arg[0];
		} else if (op.verb == BB_FILE) {
			target = op.arg[0];
		} else if (op.verb == BB_BIND_FSTYPES) {
			rc = want_fstypes(pass, &op, cursor, err);
		}
		if (!target || cover(pass, cursor, target) != UNCOVERED)
			continue;
		if (op.verb == BB_BIND)
			rc = wanted(pass, &op, cursor, &status, err);
		if (op.verb != BB_BIND || rc > 0)
			rc = bb_root_want(&pass->root, target, S_ISDIR(status.st_mode), err);
	}
	return rc < 0 ? -1 : 0;
}

static int do_fstypes(struct pass *pass, const struct bb_op *op, size_t limit, struct bb_err *err)
{
	const char *path;
	size_t cursor = 0;

	while ((path = bb_hostmounts_next(pass->hosts, &pass->root, op->arg[0], &cursor))) {
		struct bb_err lost;
		int mount;

		/* What an earlier bind brought along, mounts below it included, is there already. */
		if (cover(pass, limit, path) != UNCOVERED)
			continue;
		mount = bb_mount_clone(AT_FDCWD, path, attributes(op->arg[1]), "bind", &lost);
		/* A file system whose server is gone, or that the user cannot reach, must not keep the step from starting;
		 * a node that lacks memory or descriptors is another matter. */
		if (mount < 0 && (lost.errnum == ENOMEM || lost.errnum == EMFILE || lost.errnum == ENFILE || lost.errnum == ENOSPC))
			return bb_fail(err, lost.errnum, "bind", path);
		if (mount >= 0 && place(&pass->root, &mount, path, true, err) < 0)
			return -1;
	}
	return 0;
}

static int do_bind(struct pass *pass, const struct bb_op *op, size_t limit, struct bb_err *err)
{
	struct stat status;
	int mount, rc = wanted(pass, op, limit, &status, err);

	if (rc <= 0)
		return rc;
	mount = bb_mount_clone(AT_FDCWD, op->arg[0], attributes(op->arg[2]), "bind", err);
	/* The container is put together on top of "/" (docs/decisions/0001), and so comes along with it. */
	if (mount >= 0 && !op->arg[0][strspn(op->arg[0], "/")])
		return place_all(&pass->root, &mount, op->arg[1], err);
	return place(&pass->root, &mount, op->arg[1], S_ISDIR(status.st_mode), err);
}

static int do_tmpfs(struct bb_root *root, const struct bb_op *op, struct bb_err *err)
{
	int mount = bb_mount_tmpfs(op->arg[1], op->arg[0], err);

	if (mount >= 0 && bb_root_own(root, mount, op->arg[0], err) < 0)
		bb_close(&mount);
	return place(root, &mount, op->arg[0], true, err);
}

static int do_file(struct bb_root *root, const struct bb_op *op, struct bb_err *err)
{
	int mount = bb_root_file(root, op->arg[0], op->arg[2], bb_octal(op->arg[1]), err);

	return place(root, &mount, op->arg[0], false, err);
}

/* Second pass: the mounts, in the program's order. */
static int run(struct pass *pass, struct bb_err *err)
{
	struct bb_op op;
	size_t cursor = 0;
	int rc = 0;

	while (rc >= 0 && bb_program_next(pass->program, &cursor, &op)) {
		if (op.verb == BB_BIND)
			rc = do_bind(pass, &op, cursor, err);
		else if (op.verb == BB_BIND_FSTYPES)
			rc = do_fstypes(pass, &op, cursor, err);
		else if (op.verb == BB_TMPFS)
			rc = do_tmpfs(&pass->root, &op, err);
		else if (op.verb == BB_FILE)
			rc = do_file(&pass->root, &op, err);
		else if (op.verb == BB_SYMLINK)
			rc = bb_root_symlink(&pass->root, op.arg[0], op.arg[1], err);
	}
	return rc;
}

/* In the new namespaces: puts the root together and moves into it. */
static int build(const struct bb_program *program, const char *path, int image, struct bb_err *err)
{
	struct bb_hostmounts hosts;
	struct pass pass = { .program = program, .hosts = &hosts };
	struct bb_err unseen = { .errnum = 0 };
	int rc = -1;

	if (bb_hostmounts_open(&hosts, err) < 0) {
		bb_close(&image);
		return -1;
	}
	if (bb_root_open(&pass.root, path, image, &unseen, err) == 0) {
		if (want(&pass, err) == 0 && bb_root_overlay(&pass.root, err) == 0 && run(&pass, err) == 0)
			rc = unseen.errnum ? -1 : bb_mount_pivot(pass.root.fd, pass.root.stacked, err);
		bb_root_close(&pass.root);
	}
	/* Whatever else failed may have failed because of it. */
	if (unseen.errnum)
		*err = unseen;
	bb_hostmounts_close(&hosts);
	return rc;
}

int bb_enter(const struct bb_program *program, int image, const struct bb_mapper *mapper, struct bb_err *err)
{
	struct bb_fuse fuse = { -1, -1 };
	struct bb_op op;
	size_t cursor = 0;
	bool serve;

	if (!bb_program_next(program, &cursor, &op)) {
		bb_close(&image);
		return bb_fail(err, EINVAL, "read the program", "");
	}
	serve = op.verb == BB_ROOT_SQUASHFS && image < 0;
	if (op.verb != BB_ROOT_SQUASHFS)
		bb_close(&image);
	if (serve && !op.arg[1][0])
		return bb_fail(err, ENOENT, "find a FUSE server for the image", op.arg[0]);
	if (serve && bb_fuse_prepare(&fuse, op.arg[0], op.arg[1], err) < 0)
		return -1;
	if (bb_idmap_unshare(mapper, err) < 0 ||
	    (serve && (image = bb_fuse_mount(&fuse, op.arg[0], err)) < 0)) {
		bb_fuse_close(&fuse);
		bb_close(&image);
		return -1;
	}
	return build(program, op.arg[0], image, err);
}
