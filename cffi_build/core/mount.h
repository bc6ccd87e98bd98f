/* Mounts as file descriptors: each is made detached and put in place with bb_mount_attach. */
#ifndef BB_MOUNT_H
#define BB_MOUNT_H

#include <stdbool.h>

#include "err.h"

/* A copy of the mount tree at `path`, as a descriptor.  `attributes` (MOUNT_ATTR_*) are set on every mount of it. */
int bb_mount_clone(int dir, const char *path, unsigned attributes, const char *operation, struct bb_err *err);

/* A new tmpfs.  `options` is a comma-separated list of KEY=VALUE as in tmpfs(5); `path` names it in errors. */
int bb_mount_tmpfs(const char *options, const char *path, struct bb_err *err);

/* A read-only file system that whoever reads from `device`, an open /dev/fuse, serves to the calling user alone. */
int bb_mount_fuse(int device, const char *source, struct bb_err *err);

/* A read-only overlay of the directory `upper` over `lower`, both descriptors of attached mounts; `path` names the lower
 * one in errors. */
int bb_mount_overlay(int lower, int upper, int work, const char *path, struct bb_err *err);

/* Mounts `mount` on the file or directory that `target` refers to. */
int bb_mount_attach(int mount, int target, const char *path, struct bb_err *err);

/* Mounts `mount` on top of the calling process's root directory.  Absolute paths go on meaning what they meant:
 * a lookup starts below whatever is stacked on the root. */
int bb_mount_stack(int mount, struct bb_err *err);

/* Takes off the attached copy `mount` of the host's root what was stacked on that when it was copied. */
int bb_mount_unstack(int mount, unsigned stacked, struct bb_err *err);

/* Makes `root`, the last of `stacked` mounts stacked on the root directory, the root, and drops all below it. */
int bb_mount_pivot(int root, unsigned stacked, struct bb_err *err);

#endif
