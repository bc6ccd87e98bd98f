/* Any bytes as srun's arguments. */
#define _GNU_SOURCE
#include "exact.h"

#include <limits.h>

#include "arguments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = exact(data, size, 2);
	struct bb_arguments arguments;

	bb_arguments_read(text, size, INT_MAX, &arguments);
	if (arguments.task_prolog) {
		size_t at = (size_t)(arguments.task_prolog - text);

		CHECK(at <= size + 1);
		CHECK(at + strlen(arguments.task_prolog) <= size + 1);
		/* It stands behind the option, which stands at the start or behind an argument. */
		CHECK(at > strlen("--task-prolog"));
		at -= strlen("--task-prolog") + 1;
		CHECK(!memcmp(text + at, "--task-prolog", strlen("--task-prolog")));
		CHECK(!at || !text[at - 1]);
	}
	CHECK(!arguments.multi_prog || memmem(text, size + 1, "--multi-prog", sizeof "--multi-prog"));
	CHECK(!arguments.interactive || memmem(text, size + 1, "--interactive", sizeof "--interactive"));
	/* One component always agrees with itself. */
	CHECK(bb_arguments_agree(text, size) || memmem(text, size + 1, ":", sizeof ":"));
	free(text);
	return 0;
}
