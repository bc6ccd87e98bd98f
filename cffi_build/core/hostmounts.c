#define _GNU_SOURCE
#include "hostmounts.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "paths.h"

int bb_hostmounts_open(struct bb_hostmounts *hosts, struct bb_err *err)
{
	*hosts = (struct bb_hostmounts){ .types = NULL };
	if (bb_mountinfo_open(&hosts->table, err) < 0)
		return -1;
	/* Pages that stay untouched cost nothing; a list is shorter than the table that it comes from. */
	hosts->points = mmap(NULL, BB_MOUNTINFO_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hosts->points != MAP_FAILED)
		return 0;
	bb_fail(err, errno, "list", "the host's mounts");
	bb_mountinfo_close(&hosts->table);
	return -1;
}

void bb_hostmounts_close(struct bb_hostmounts *hosts)
{
	munmap(hosts->points, BB_MOUNTINFO_MAX);
	bb_mountinfo_close(&hosts->table);
}

/* Whether an earlier one of the list brings `path` along: binds are recursive. */
static bool brought(const char *points, size_t length, const char *path)
{
	for (size_t at = 0; at < length; at += strlen(points + at) + 1)
		if (bb_beneath(path, points + at))
			return true;
	return false;
}

/* Lists the mounts of these types once for all who ask: each look at the image costs. */
static void list(struct bb_hostmounts *hosts, const struct bb_root *root, const char *types)
{
	char path[PATH_MAX];
	size_t cursor = 0;

	if (hosts->types == types)
		return;
	hosts->types = types;
	hosts->length = 0;
	while (bb_mountinfo_next(&hosts->table, types, &cursor, path, sizeof path)) {
		if (!strcmp(path, "/") || brought(hosts->points, hosts->length, path) || bb_root_holds(root, path))
			continue;
		memcpy(hosts->points + hosts->length, path, strlen(path) + 1);
		hosts->length += strlen(path) + 1;
	}
}

const char *bb_hostmounts_next(struct bb_hostmounts *hosts, const struct bb_root *root, const char *types, size_t *cursor)
{
	const char *path;

	list(hosts, root, types);
	path = hosts->points + *cursor;
	if (*cursor == hosts->length)
		return NULL;
	*cursor += strlen(path) + 1;
	return path;
}
