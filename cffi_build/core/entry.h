/* An entry: a program with the guards under which it holds, as the planner writes it and the cache keeps it.
 * NUL-terminated records: "bareboat-entry", "1", "cache" or "no-cache", then for each guard "guard" KIND PATH STAMP, then
 * "program" and the program's bytes.  The Python twin is launcher/entry.py. */
#ifndef BB_ENTRY_H
#define BB_ENTRY_H

#include <stdbool.h>

#include "program.h"

enum { BB_ENTRY_MAX = 2 * BB_PROGRAM_MAX };

struct bb_entry {
	bool cacheable;
	const char *guards;  /* the first guard's record, or "program" */
	struct bb_program program;
};

/* Checks the whole entry, the program in it too; `data` must outlive it.  -1 with EINVAL and the reason in `err`. */
int bb_entry_open(struct bb_entry *entry, const char *data, size_t size, struct bb_err *err);

/* Whether everything that the decision read is as it was.  `broken` gets the path of the first guard that is not,
 * else NULL. */
bool bb_entry_holds(const struct bb_entry *entry, const char **broken);

#endif
