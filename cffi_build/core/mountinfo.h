/* The mount table of the calling process, as it is at one moment. */
#ifndef BB_MOUNTINFO_H
#define BB_MOUNTINFO_H

#include <stdbool.h>

#include "err.h"

enum { BB_MOUNTINFO_MAX = 4 << 20 };

/* The text of /proc/self/mountinfo (proc(5)) in memory of its own. */
struct bb_mountinfo {
	char *text; /* BB_MOUNTINFO_MAX bytes, ended by NUL; NULL where nothing was read */
};

int bb_mountinfo_open(struct bb_mountinfo *table, struct bb_err *err);
void bb_mountinfo_close(struct bb_mountinfo *table);

/* Steps through the mount points whose file system type is in `types` (comma-separated): start with `*cursor` 0.
 * `path` gets the mount point.  False at the end; a path longer than `size` is passed over. */
bool bb_mountinfo_next(const struct bb_mountinfo *table, const char *types, size_t *cursor, char *path, size_t size);

#endif
