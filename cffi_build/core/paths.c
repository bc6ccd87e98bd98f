#define _GNU_SOURCE
#include "paths.h"

#include <string.h>

bool bb_beneath(const char *path, const char *top)
{
	size_t length = strlen(top);

	while (length && top[length - 1] == '/')
		length--;
	return !strncmp(path, top, length) && (path[length] == '/' || !path[length]);
}

void bb_normalize(char *path)
{
	char *end = path;

	if (path[0] != '/')
		return;
	for (const char *at = path; *at;) {
		size_t length;

		at += strspn(at, "/");
		length = (size_t)(strchrnul(at, '/') - at);
		if (length == 2 && !memcmp(at, "..", 2)) {
			while (end > path && *--end != '/')
				;
		} else if (length > 1 || (length == 1 && *at != '.')) {
			/* Each component has a slash before it: what is written never reaches what is still to be read. */
			*end++ = '/';
			memmove(end, at, length);
			end += length;
		}
		at += length;
	}
	if (end == path)
		*end++ = '/';
	*end = '\0';
}

bool bb_prefix(const char *path, unsigned count, char *prefix, size_t size)
{
	const char *end = path;

	while (count--) {
		end += strspn(end, "/");
		if (!*end)
			return false;
		end = strchrnul(end, '/');
	}
	if ((size_t)(end - path) >= size)
		return false;
	memcpy(prefix, path, (size_t)(end - path));
	prefix[end - path] = '\0';
	return true;
}
