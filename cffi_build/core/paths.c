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
