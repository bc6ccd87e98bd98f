#define _GNU_SOURCE
#include "hostmounts.h"

#include <string.h>

#include "paths.h"

static bool wanted(const struct bb_root *root, const char *path)
{
	return strcmp(path, "/") != 0 && !bb_root_holds(root, path);
}

/* Whether an earlier line of the table brings `path` along: binds are recursive. */
static bool brought(const struct bb_mountinfo *table, const struct bb_root *root, const char *types, size_t limit,
		    const char *path)
{
	char earlier[PATH_MAX];
	size_t cursor = 0;

	while (bb_mountinfo_next(table, types, &cursor, earlier, sizeof earlier) && cursor < limit)
		if (bb_beneath(path, earlier) && wanted(root, earlier))
			return true;
	return false;
}

bool bb_hostmounts_next(const struct bb_mountinfo *table, const struct bb_root *root, const char *types,
			size_t *cursor, char path[static PATH_MAX])
{
	while (bb_mountinfo_next(table, types, cursor, path, PATH_MAX))
		if (wanted(root, path) && !brought(table, root, types, *cursor, path))
			return true;
	return false;
}
