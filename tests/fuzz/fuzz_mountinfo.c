/* Any text as a mount table.  Input: a byte for the size of the path's buffer, the types up to a newline, the table. */
#include "exact.h"

#include "mountinfo.h"
#include "paths.h"

/* A path that was given out is used: compared with another, and taken apart. */
static void use(const char *path, const char *earlier)
{
	char prefix[64];
	size_t length = 0;

	CHECK(path[0] == '/' && bb_beneath(path, path) && bb_beneath(path, "/"));
	(void)bb_beneath(path, earlier);
	for (unsigned count = 1; bb_prefix(path, count, prefix, sizeof prefix); count++) {
		CHECK(strlen(prefix) > length && !strncmp(prefix, path, strlen(prefix)) && bb_beneath(path, prefix));
		length = strlen(prefix);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size ? memchr(data + 1, '\n', size - 1) : NULL;
	size_t room, cursor = 0, before = 0, length;
	char *types, *path, *earlier;
	struct bb_mountinfo table;

	if (!newline)
		return 0;
	room = (size_t)data[0] + 1;
	path = malloc(room);
	earlier = malloc(room);
	CHECK(path && earlier);
	earlier[0] = '\0';
	types = exact(data + 1, (size_t)(newline - data - 1), 1);
	table.text = exact(newline + 1, size - (size_t)(newline + 1 - data), 1);
	length = strlen(table.text);
	while (bb_mountinfo_next(&table, types, &cursor, path, room)) {
		CHECK(cursor > before && cursor <= length);
		CHECK(memchr(path, '\0', room));
		use(path, earlier);
		memcpy(earlier, path, strlen(path) + 1);
		before = cursor;
	}
	CHECK(cursor == length);
	free(table.text);
	free(types);
	free(earlier);
	free(path);
	return 0;
}
