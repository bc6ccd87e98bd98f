/* The program: a plan as bytes.  NUL-terminated records: a magic, a version, then each operation's verb followed by
 * exactly its arguments, then "end".  docs/design.md, section 4; the Python twin is launcher/program.py. */
#ifndef BB_PROGRAM_H
#define BB_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { BB_PROGRAM_MAX = 1 << 20, BB_ARGS_MAX = 3 };

enum bb_verb {
	BB_ROOT_DIR,
	BB_ROOT_SQUASHFS,
	BB_BIND,
	BB_BIND_FSTYPES,
	BB_TMPFS,
	BB_FILE,
	BB_SYMLINK,
	BB_ENV_SET,
	BB_ENV_DEFAULT,
	BB_ENV_UNSET,
	BB_ENV_PREPEND,
	BB_ENV_APPEND,
	BB_READ_AHEAD,
	BB_SAY,
	BB_CWD,
	BB_NO_NEW_PRIVS,
	BB_VERBS,
};

/* What differs from step to step, so that one program serves them all: a path argument that is "%{NAME}" stands for the
 * value of that name. */
struct bb_value {
	const char *name, *value; /* a value of NULL is unset */
};

struct bb_program {
	const char *data;
	size_t size;
	size_t first;                  /* offset of the first operation */
	const struct bb_value *values; /* ended by a name of NULL; NULL for none */
};

/* One operation; the arguments point into the program. */
struct bb_op {
	enum bb_verb verb;
	const char *arg[BB_ARGS_MAX];
};

/* Checks the whole program before anything of it runs; `data` must outlive it.  -1 with EINVAL and the faulty
 * record's number and reason in `err->path`. */
int bb_program_open(struct bb_program *program, const char *data, size_t size, struct bb_err *err);

/* For callers that only want the check. */
int bb_program_check(const char *data, size_t size, struct bb_err *err);

/* Steps through the operations: start with `*cursor` 0; false at the end.  Placeholders are replaced; an operation whose
 * value is unset or no absolute path of less than 4096 bytes is passed over. */
bool bb_program_next(const struct bb_program *program, size_t *cursor, struct bb_op *op);

/* Whether `flags` ("rw" or "ro", then ",optional" and ",unless-shown" at will) holds `flag`. */
bool bb_flag(const char *flags, const char *flag);

/* The octal number in `text`; the program was checked. */
unsigned bb_octal(const char *text);

#endif
