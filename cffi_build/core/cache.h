/* The cache: entries by request, in a directory that belongs to the user alone. */
#ifndef BB_CACHE_H
#define BB_CACHE_H

#include "entry.h"

/* At most so many entries, of so many bytes together, lie in a directory: it may be in the node's memory. */
enum { BB_KEY_MAX = 64 * 1024, BB_CACHE_FILES = 256, BB_CACHE_BYTES = 16 * 1024 * 1024 };

/* The request, as records.  What does not fit makes the key unusable, never shorter. */
struct bb_key {
	size_t size;
	bool overflow;
	char data[BB_KEY_MAX];
};

void bb_key_add(struct bb_key *key, const char *text);
void bb_key_add_number(struct bb_key *key, unsigned long long number);

/* Opens the cache directory `path`.  -1 (with a reason) where it is missing, a link, somebody else's or open to
 * others: nothing is read from or written to such a one. */
int bb_cache_open(const char *path, struct bb_err *err);

/* Reads the entry for `key` into `data`; its size, 0 where there is none that can be used.  Whether it still holds
 * is the caller's to ask. */
size_t bb_cache_load(int cache, const struct bb_key *key, char *data, size_t size);

/* Keeps an entry: a reader sees a whole one or none.  Best effort: 0 or -1, nothing is left behind. */
int bb_cache_store(int cache, const struct bb_key *key, const char *data, size_t size);

#endif
