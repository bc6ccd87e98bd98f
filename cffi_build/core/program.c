#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <string.h>

static const char magic[] = "bareboat-program";
static const char version[] = "1";

/* What an argument must look like. */
enum kind { NOTHING, ROOT, SERVER, PATH, FLAGS, TYPES, MODE, FILLED, TEXT, NAME };

static const struct {
	const char *name;
	enum kind args[BB_ARGS_MAX];
} verbs[BB_VERBS] = {
	[BB_ROOT_DIR] = { "root-dir", { ROOT } },
	[BB_ROOT_SQUASHFS] = { "root-squashfs", { ROOT, SERVER } },
	[BB_BIND] = { "bind", { PATH, PATH, FLAGS } },
	[BB_BIND_FSTYPES] = { "bind-fstypes", { TYPES, FLAGS } },
	[BB_TMPFS] = { "tmpfs", { PATH, TEXT } },
	[BB_FILE] = { "file", { PATH, MODE, TEXT } },
	[BB_SYMLINK] = { "symlink", { PATH, FILLED } },
	[BB_ENV_SET] = { "env-set", { NAME, TEXT } },
	[BB_ENV_DEFAULT] = { "env-default", { NAME, TEXT } },
	[BB_ENV_UNSET] = { "env-unset", { NAME } },
	[BB_ENV_PREPEND] = { "env-prepend", { NAME, TEXT } },
	[BB_ENV_APPEND] = { "env-append", { NAME, TEXT } },
	[BB_READ_AHEAD] = { "read-ahead", { ROOT } },
	[BB_SAY] = { "say", { FILLED } },
	[BB_CWD] = { "cwd", { PATH } },
	[BB_NO_NEW_PRIVS] = { "no-new-privs", { NOTHING } },
};

static bool good_flags(const char *text)
{
	static const char *const more[] = { ",optional", ",unless-shown" };

	if (strncmp(text, "rw", 2) && strncmp(text, "ro", 2))
		return false;
	text += 2;
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		if (!strncmp(text, more[i], strlen(more[i])))
			text += strlen(more[i]);
	return !*text;
}

/* PATH_MAX with the NUL: the kernel takes no longer one (path_resolution(7)). */
static bool is_path(const char *text)
{
	return text[0] == '/' && strlen(text) < 4096;
}

static bool is_placeholder(const char *text)
{
	size_t length = strlen(text);

	return length > 3 && !strncmp(text, "%{", 2) && text[length - 1] == '}';
}

static bool good_mode(const char *text)
{
	return text[0] == '0' && strspn(text, "01234567") == 4 && !text[4];
}

static bool good_types(const char *text)
{
	for (size_t length;; text += length + 1) {
		length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
		if (!length || text[length] != ',')
			return length && !text[length];
	}
}

static bool good(enum kind kind, const char *text)
{
	switch (kind) {
	case ROOT: /* whatever the step's values are, there is one */
		return is_path(text);
	case SERVER: /* there may be none */
		return !*text || is_path(text);
	case PATH:
		return is_path(text) || (is_placeholder(text) && strlen(text) < 4096);
	case FLAGS:
		return good_flags(text);
	case TYPES:
		return good_types(text);
	case FILLED:
		return text[0] != '\0';
	case MODE:
		return good_mode(text);
	case NAME:
		return text[0] && !strchr(text, '=');
	case TEXT:
	case NOTHING:
		break;
	}
	return true;
}

bool bb_flag(const char *flags, const char *flag)
{
	size_t length = strlen(flag);

	for (const char *at = flags; *at;) {
		const char *end = strchrnul(at, ',');

		if ((size_t)(end - at) == length && !memcmp(at, flag, length))
			return true;
		at = *end ? end + 1 : end;
	}
	return false;
}

unsigned bb_octal(const char *text)
{
	unsigned number = 0;

	while (*text >= '0' && *text <= '7')
		number = number * 8 + (unsigned)(*text++ - '0');
	return number;
}

static int malformed(struct bb_err *err, unsigned record, const char *what, const char *text)
{
	char where[sizeof err->path];
	size_t at = bb_put(where, sizeof where, 0, "at record ");

	at = bb_put_number(where, sizeof where, at, record);
	at = bb_put(where, sizeof where, at, ": ");
	at = bb_put(where, sizeof where, at, what);
	if (text) {
		at = bb_put(where, sizeof where, at, " \"");
		/* A long argument must not push its own end out of the message. */
		for (size_t i = 0; i < 200 && text[i]; i++)
			at = bb_put(where, sizeof where, at, (const char[]){ text[i], '\0' });
		bb_put(where, sizeof where, at, "\"");
	}
	return bb_fail(err, EINVAL, "read the program", where);
}

/* The record at `*offset`, which is moved behind it; NULL where the data ends before a NUL. */
static const char *record(const char *data, size_t size, size_t *offset)
{
	const char *text = data + *offset, *end;

	if (*offset >= size)
		return NULL;
	end = memchr(text, '\0', size - *offset);
	if (!end)
		return NULL;
	*offset = (size_t)(end - data) + 1;
	return text;
}

static int find_verb(const char *text)
{
	for (int verb = 0; verb < BB_VERBS; verb++)
		if (!strcmp(verbs[verb].name, text))
			return verb;
	return -1;
}

static int check_args(const char *data, size_t size, size_t *offset, int verb, unsigned *number, struct bb_err *err)
{
	for (int i = 0; i < BB_ARGS_MAX && verbs[verb].args[i] != NOTHING; i++) {
		const char *text = record(data, size, offset);

		++*number;
		if (!text)
			return malformed(err, *number, "ends in the middle of", verbs[verb].name);
		if (!good(verbs[verb].args[i], text))
			return malformed(err, *number, "bad argument", text);
	}
	return 0;
}

int bb_program_open(struct bb_program *program, const char *data, size_t size, struct bb_err *err)
{
	size_t offset = 0;
	unsigned number = 1;
	const char *text;

	if (size > BB_PROGRAM_MAX)
		return malformed(err, 0, "longer than 1 MiB", NULL);
	text = record(data, size, &offset);
	if (!text || strcmp(text, magic))
		return malformed(err, number, "not a program of bareboat", NULL);
	number++;
	text = record(data, size, &offset);
	if (!text || strcmp(text, version))
		return malformed(err, number, "another version", text);
	*program = (struct bb_program){ .data = data, .size = size, .first = offset };
	for (bool rooted = false;; rooted = true) {
		int verb;

		number++;
		text = record(data, size, &offset);
		if (!text)
			return malformed(err, number, "ends without \"end\"", NULL);
		if (rooted && !strcmp(text, "end"))
			break;
		verb = find_verb(text);
		if (verb < 0)
			return malformed(err, number, "unknown operation", text);
		if (rooted == (verb == BB_ROOT_DIR || verb == BB_ROOT_SQUASHFS))
			return malformed(err, number, "the root must come first and once, not", text);
		if (check_args(data, size, &offset, verb, &number, err) < 0)
			return -1;
	}
	if (offset != size)
		return malformed(err, number, "goes on after \"end\"", NULL);
	return 0;
}

int bb_program_check(const char *data, size_t size, struct bb_err *err)
{
	struct bb_program program;

	return bb_program_open(&program, data, size, err);
}

/* What a path argument means; NULL for a placeholder without a usable value. */
static const char *resolve(const struct bb_program *program, const char *text)
{
	const struct bb_value *value = program->values;

	if (!is_placeholder(text))
		return text;
	for (; value && value->name; value++)
		if (strlen(text) == strlen(value->name) + 3 && !strncmp(text + 2, value->name, strlen(value->name)))
			return value->value && is_path(value->value) ? value->value : NULL;
	return NULL;
}

bool bb_program_next(const struct bb_program *program, size_t *cursor, struct bb_op *op)
{
	size_t offset = *cursor ? *cursor : program->first;
	bool whole;

	do {
		int verb = find_verb(record(program->data, program->size, &offset));

		if (verb < 0)
			return false;
		whole = true;
		*op = (struct bb_op){ .verb = (enum bb_verb)verb };
		for (int i = 0; i < BB_ARGS_MAX && verbs[verb].args[i] != NOTHING; i++) {
			op->arg[i] = record(program->data, program->size, &offset);
			if (verbs[verb].args[i] == PATH)
				op->arg[i] = resolve(program, op->arg[i]);
			whole = whole && op->arg[i];
		}
	} while (!whole);
	*cursor = offset;
	return true;
}
