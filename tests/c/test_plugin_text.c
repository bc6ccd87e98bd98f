/* What the plugin reads without Slurm: srun's arguments and what task prologs print. */
#include "support.h"

#include <limits.h>

#include <stdlib.h>

#include "arguments.h"
#include "prolog_lines.h"

#define READ(text, arguments) bb_arguments_read(text "\0\0", sizeof(text), INT_MAX, arguments)

#define AGREE(text) bb_arguments_agree(text "\0\0", sizeof(text))

static void test_components(void **state)
{
	(void)state;
	assert_true(AGREE("srun\0--container=/a\0app\0--container=/b"));
	assert_true(AGREE("srun\0app\0:\0app"));
	assert_true(AGREE("srun\0--container=/a\0app\0:\0--container\0/a\0app\0:\0-n2\0--container=/a\0app"));
	assert_false(AGREE("srun\0--container=/a\0app\0:\0--container=/b\0app"));
	assert_false(AGREE("srun\0--container=/a\0app\0:\0app"));
	assert_false(AGREE("srun\0app\0:\0--container=/a\0app"));
	assert_false(AGREE("srun\0--container=/a\0app\0:\0--container=/a\0app\0:\0app"));
	assert_false(AGREE("srun\0app\0:\0app\0:\0--container=/a"));
	assert_true(bb_arguments_agree("\0\0", 0));
}

static void test_arguments(void **state)
{
	struct bb_arguments arguments;

	(void)state;
	READ("srun\0-n2\0--task-prolog=/a\0--task-prolog=/b\0--multi-prog\0conf", &arguments);
	assert_string_equal(arguments.task_prolog, "/a");
	assert_true(arguments.multi_prog);
	assert_false(arguments.interactive);
	READ("srun\0--interactive\0--task-prolog\0/a", &arguments);
	assert_string_equal(arguments.task_prolog, "/a");
	assert_true(arguments.interactive);
	assert_false(arguments.multi_prog);
	READ("srun\0--task-prologs=/a\0--\0--multi-prog\0--interactive\0--task-prolog=/a", &arguments);
	assert_null(arguments.task_prolog);
	assert_false(arguments.multi_prog);
	assert_false(arguments.interactive);
	READ("srun\0--task-prolog", &arguments);
	assert_string_equal(arguments.task_prolog, "");
	bb_arguments_read("\0\0", 0, INT_MAX, &arguments);
	assert_null(arguments.task_prolog);
}

/* What was carried out, as text. */
struct log {
	char text[256];
};

static void note(void *data, const char *kind, const char *text, size_t length)
{
	struct log *log = data;

	assert_true(strlen(log->text) + strlen(kind) + length < sizeof log->text);
	strcat(log->text, kind);
	strncat(log->text, text, length);
}

static void print(void *data, const char *text, size_t length)
{
	note(data, "|print ", text, length);
}

static void set(void *data, const char *name, const char *value)
{
	note(data, "|set ", name, strlen(name));
	note(data, "=", value, strlen(value));
}

static void unset(void *data, const char *name)
{
	note(data, "|unset ", name, strlen(name));
}

static void obeys(const char *output, size_t size, size_t step, const char *wanted)
{
	struct log log = { "" };
	const struct bb_orders orders = { &log, print, set, unset };
	struct bb_lines lines = { .text = malloc(size), .size = size };

	for (size_t rest = strlen(output); rest;) {
		size_t room, got = rest < step ? rest : step;
		char *space = bb_lines_space(&lines, &room);

		got = got < room ? got : room;
		memcpy(space, output, got);
		bb_lines_take(&lines, got, &orders);
		output += got;
		rest -= got;
	}
	bb_lines_end(&lines, &orders);
	free(lines.text);
	assert_string_equal(log.text, wanted);
}

static void test_prolog_output(void **state)
{
	static const char output[] = "print  hello \nnoise\nexport  A = b=c \nexport none\nunset\tB\nunset  C \nexport D=";

	(void)state;
	for (size_t step = 1; step <= sizeof output; step++)
		obeys(output, 64, step, "|print hello \n|set A= b=c |unset C|set D=");
	obeys("\n\nprint x", 16, 3, "|print x\n");
	obeys("", 16, 1, "");
}

/* Found by fuzz_prolog: what followed the first bufferful of a line that was too long counted as a line of its own. */
static void test_the_rest_of_a_long_line_is_dropped_too(void **state)
{
	(void)state;
	for (size_t step = 1; step < 40; step++) {
		obeys("export LONG=xx unset PATH\nunset B\n", 16, step, "|unset B");
		obeys("export LONG=xx unset PATH", 16, step, "");
	}
	obeys("unset 89abcde\nunset 89abcdef\n", 16, 40, "|unset 89abcde");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_components),
		cmocka_unit_test(test_prolog_output),
		cmocka_unit_test(test_the_rest_of_a_long_line_is_dropped_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
