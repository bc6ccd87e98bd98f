/* The error that every function of the core fills: what failed, on what, with which errno. */
#ifndef BB_ERR_H
#define BB_ERR_H

#include <stddef.h>

/* Fixed size, below PIPE_BUF: one write(2) to a pipe carries it whole (pipe(7)). */
struct bb_err {
	int errnum;
	char operation[64];
	char path[1024];
};

/* What an errno means, in English: a translation would be looked for in files, in whatever place this process is by now. */
const char *bb_describe(int errnum);

/* Fills `err` and returns -1, so that a failing function can end with `return bb_fail(...)`. */
int bb_fail(struct bb_err *err, int errnum, const char *operation, const char *path);

/* Writes "cannot OPERATION PATH: REASON" and, where one is known, "; HINT" into `text`, always ended by NUL.
 * Async-signal-safe. */
void bb_err_text(const struct bb_err *err, char *text, size_t size);

/* Text without stdio, which a child of a threaded process must not use (signal-safety(7)).
 * Each returns the new length; what does not fit is cut off. */
size_t bb_put(char *text, size_t size, size_t length, const char *more);
size_t bb_put_number(char *text, size_t size, size_t length, unsigned long long number);

#endif
