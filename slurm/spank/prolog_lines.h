/* What Slurm does with the output of a task prolog (slurm.conf(5), "TaskProlog"): lines "export NAME=value",
 * "unset NAME" and "print TEXT" count, all others are dropped. */
#ifndef BB_PROLOG_LINES_H
#define BB_PROLOG_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* Who carries the lines out. */
struct bb_orders {
	void *data;
	void (*print)(void *data, const char *text, size_t length); /* the text ends with its newline */
	void (*set)(void *data, const char *name, const char *value);
	void (*unset)(void *data, const char *name);
};

/* Bytes as they come, of which whole lines are carried out; start with `length` 0 and `dropping` false. */
struct bb_lines {
	char *text;    /* memory of the caller's */
	size_t size;   /* of that, in bytes; at least 3 */
	size_t length; /* bytes in it that are not a whole line yet */
	bool dropping; /* in the rest of a line that was too long */
};

/* Where the next bytes go, and in `*room` how many at most: never 0. */
char *bb_lines_space(const struct bb_lines *lines, size_t *room);

/* Carries out the lines that are whole now that `got` more bytes lie there.  A line that does not fit is dropped. */
void bb_lines_take(struct bb_lines *lines, size_t got, const struct bb_orders *orders);

/* Carries out the last line, should it lack a newline. */
void bb_lines_end(struct bb_lines *lines, const struct bb_orders *orders);

#endif
