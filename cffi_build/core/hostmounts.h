/* Which of the host's network and parallel file systems the container gets, each at its own path. */
#ifndef BB_HOSTMOUNTS_H
#define BB_HOSTMOUNTS_H

#include "mountinfo.h"
#include "root.h"

/* The mount table as it was before anything was mounted, and the list of those to bind that was asked for last. */
struct bb_hostmounts {
	struct bb_mountinfo table;
	const char *types; /* the list's; NULL while there is none */
	char *points;      /* each ended by NUL */
	size_t length;
};

int bb_hostmounts_open(struct bb_hostmounts *hosts, struct bb_err *err);
void bb_hostmounts_close(struct bb_hostmounts *hosts);

/* Steps through the mount points to bind for `types`: start with `*cursor` 0; NULL at the end.  Passed over: "/" (a
 * diskless node's root is on NFS), what lies below one that is bound anyway, and what would hide files of the image: the
 * image brings the program.  `root` is the image before anything is mounted in it; a list is known by the address of its
 * `types`. */
const char *bb_hostmounts_next(struct bb_hostmounts *hosts, const struct bb_root *root, const char *types, size_t *cursor);

#endif
