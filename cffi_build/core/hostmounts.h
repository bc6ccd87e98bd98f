/* Which of the host's network and parallel file systems the container gets, each at its own path. */
#ifndef BB_HOSTMOUNTS_H
#define BB_HOSTMOUNTS_H

#include <limits.h>
#include <stdbool.h>

#include "mountinfo.h"
#include "root.h"

/* Steps through the mount points to bind for `types`.  Passed over: "/" (a diskless node's root is on NFS), what lies
 * below one that is bound anyway, and what would hide files of the image: the image brings the program.
 * `root` is the image before anything is mounted in it. */
bool bb_hostmounts_next(const struct bb_mountinfo *table, const struct bb_root *root, const char *types,
			size_t *cursor, char path[static PATH_MAX]);

#endif
