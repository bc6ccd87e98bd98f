/* What the fuzz targets share: memory of exactly the size that the code may touch, so that the sanitizer sees a step
 * outside; and a check that stays when NDEBUG is set. */
#ifndef EXACT_H
#define EXACT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_chdir(const char *path);

/* Every directory can be entered, and none is. */
int __wrap_chdir(const char *path)
{
	CHECK(path[0]);
	return 0;
}

/* A copy of `size` bytes with `zeros` NULs behind it; to be freed. */
static inline char *exact(const uint8_t *data, size_t size, size_t zeros)
{
	char *copy = malloc(size + zeros ? size + zeros : 1);

	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	memset(copy + size, 0, zeros);
	return copy;
}

#endif
