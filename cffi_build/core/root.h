/* The container's root while it is being put together: finding mount points in it and making those it lacks. */
#ifndef BB_ROOT_H
#define BB_ROOT_H

#include <stdbool.h>
#include <sys/stat.h>

#include "err.h"

enum { BB_OWN_MAX = 16 };

struct bb_root {
	const char *path; /* of the image */
	int fd;          /* the root, a mount stacked on the process's own root directory */
	int image;       /* the image alone, without the overlay */
	int stage;       /* a tmpfs that the container never sees: generated files, the overlay's layers */
	int upper, work; /* the overlay's layers; -1 while no mount point is missing */
	unsigned stacked; /* how many mounts are stacked on the process's root directory */
	unsigned files;  /* how many generated files the stage holds */
	struct bb_err *unseen; /* the first look into the image that failed; what was decided by it is worthless */
	dev_t own[BB_OWN_MAX]; /* tmpfs mounts made by us, in which missing mount points may be created */
	unsigned owns;
};

/* Opens the image as the root, read-only, and a stage: the directory `path`, or, unless -1, the detached mount `image`, which
 * becomes the root's.  On failure nothing is left open.  `unseen`, whose errnum is 0, is for bb_root_holds. */
int bb_root_open(struct bb_root *root, const char *path, int image, struct bb_err *unseen, struct bb_err *err);
void bb_root_close(struct bb_root *root);

/* Whether the image has something at `path` that a mount there would hide: anything but an empty directory.  Where that
 * cannot be seen, root->unseen says why. */
bool bb_root_holds(const struct bb_root *root, const char *path);

/* Notes that a mount point is needed; where the root lacks it, it is made in the overlay's upper layer. */
int bb_root_want(struct bb_root *root, const char *path, bool directory, struct bb_err *err);

/* Puts the overlay in place if bb_root_want found anything missing. */
int bb_root_overlay(struct bb_root *root, struct bb_err *err);

/* Opens (O_PATH) what `path` means inside the root; creates it if it is missing on a tmpfs of ours. */
int bb_root_find(struct bb_root *root, const char *path, bool directory, struct bb_err *err);

/* Remembers the tmpfs `mount`, which is for `path`, as ours. */
int bb_root_own(struct bb_root *root, int mount, const char *path, struct bb_err *err);

/* Writes a file, generated for `path`, into the stage and returns a detached mount of it. */
int bb_root_file(struct bb_root *root, const char *path, const char *content, mode_t mode, struct bb_err *err);

/* Makes a symbolic link; its directory must lie on a tmpfs of ours. */
int bb_root_symlink(struct bb_root *root, const char *path, const char *text, struct bb_err *err);

#endif
