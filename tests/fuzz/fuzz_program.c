/* Any bytes as a program: refused whole with a reason, or every operation can be walked, is made of the program's own
 * bytes and of all of them, and can be carried out on a rank's environment. */
#define _GNU_SOURCE
#include "exact.h"

#include <errno.h>

#include "join.h"
#include "program.h"

/* An environment of one variable, the last that was set. */
struct memory {
	char value[128 * 1024];
	size_t length; /* 0: not set */
};

static int get(void *data, const char *name, char *value, size_t size)
{
	const struct memory *memory = data;

	CHECK(name[0] && !strchr(name, '='));
	if (!memory->length || memory->length >= size)
		return -1;
	memcpy(value, memory->value, memory->length + 1);
	return 0;
}

static int set(void *data, const char *name, const char *value)
{
	struct memory *memory = data;
	size_t length = strlen(value);

	CHECK(name[0] && !strchr(name, '='));
	if (length >= sizeof memory->value)
		return -1;
	memcpy(memory->value, value, length + 1);
	memory->length = length;
	return 0;
}

static int unset(void *data, const char *name)
{
	CHECK(name[0] && !strchr(name, '='));
	((struct memory *)data)->length = 0;
	return 0;
}

static void check_error(const struct bb_err *err)
{
	char text[2048];

	CHECK(err->errnum);
	CHECK(memchr(err->operation, '\0', sizeof err->operation) && memchr(err->path, '\0', sizeof err->path));
	bb_err_text(err, text, sizeof text);
	CHECK(strstr(text, err->operation));
}

/* What differs from step to step: a value, one that is unset and one that no path can be. */
static const struct bb_value values[] = { { "CWD", "/w" }, { "SPOOL", NULL }, { "PMI", "relative" }, { NULL, NULL } };

/* The arguments of an operation lie behind its verb, one after the other, up to the next operation, but for the value
 * of a placeholder.  Operations that lack theirs were passed over. */
static void check_operation(const struct bb_program *program, const struct bb_op *op, size_t before, size_t after)
{
	const char *start = program->data + before, *end = program->data + after;

	CHECK(op->verb < BB_VERBS);
	CHECK(after > before && after < program->size && !end[-1]);
	for (int i = 0; i < BB_ARGS_MAX && op->arg[i]; i++) {
		if (op->arg[i] == values[0].value)
			continue;
		CHECK(op->arg[i] > start && op->arg[i] < end && !op->arg[i][-1]);
		start = op->arg[i];
	}
}

static void walk(const struct bb_program *program)
{
	struct bb_op op;
	size_t cursor = 0, before = program->first;

	while (bb_program_next(program, &cursor, &op)) {
		/* Whatever has a value: the root comes first and once. */
		CHECK((op.verb == BB_ROOT_DIR || op.verb == BB_ROOT_SQUASHFS) == (before == program->first));
		check_operation(program, &op, before, cursor);
		before = cursor;
	}
	CHECK(before > program->first);
	CHECK(program->size - before >= sizeof "end");
	/* Without a placeholder, nothing is passed over. */
	CHECK(memmem(program->data, program->size, "%{", 2) || program->size - before == sizeof "end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memory memory;
	const struct bb_environment environment = { &memory, get, set, unset };
	char *copy = exact(data, size, 0);
	struct bb_program program;
	struct bb_err err = { .errnum = 0 };

	memory.length = 0;
	if (bb_program_open(&program, copy, size, &err) == 0) {
		CHECK(bb_program_check(copy, size, &err) == 0);
		walk(&program);
		program.values = values;
		walk(&program);
		if (bb_set_environment(&program, &environment, &err) < 0 || bb_settle(&program, &err) < 0)
			check_error(&err);
	} else {
		check_error(&err);
		CHECK(err.errnum == EINVAL);
	}
	free(copy);
	return 0;
}
