/* Paths as text. */
#ifndef BB_PATHS_H
#define BB_PATHS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the absolute `path` is `top` or lies below it, by its components' names. */
bool bb_beneath(const char *path, const char *top);

/* Takes empty components, "." and ".." out of an absolute path, by its text alone; others are left as they are. */
void bb_normalize(char *path);

/* Copies `path` up to and including its `count`th component; false once it has fewer or `size` is too small. */
bool bb_prefix(const char *path, unsigned count, char *prefix, size_t size);

#endif
