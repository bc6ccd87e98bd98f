#include "arguments.h"

#include <string.h>

/* The value of `option`, which stands behind "=" or is the next argument; NULL where this is another one. */
static const char *value_of(const char *option, const char *argument, const char *next)
{
	size_t length = strlen(option);

	if (strncmp(argument, option, length))
		return NULL;
	if (argument[length] == '=')
		return argument + length + 1;
	return argument[length] ? NULL : next;
}

void bb_arguments_read(const char *text, size_t size, int count, struct bb_arguments *arguments)
{
	*arguments = (struct bb_arguments){ .interactive = false };
	for (const char *at = text, *next; at < text + size && count-- > 0 && strcmp(at, "--") != 0; at = next) {
		next = at + strlen(at) + 1;
		if (!strcmp(at, "--interactive"))
			arguments->interactive = true;
		else if (!strcmp(at, "--multi-prog"))
			arguments->multi_prog = true;
		else if (!arguments->container && (arguments->container = value_of("--container", at, next)))
			continue;
		else if (!arguments->task_prolog)
			arguments->task_prolog = value_of("--task-prolog", at, next);
	}
}

bool bb_arguments_agree(const char *text, size_t size)
{
	const char *first = NULL, *container = NULL;
	bool several = false;

	for (const char *at = text, *next; at < text + size; at = next) {
		next = at + strlen(at) + 1;
		if (!strcmp(at, ":")) {
			if (several && ((!first != !container) || (first && strcmp(first, container) != 0)))
				return false;
			first = several ? first : container;
			several = true;
			container = NULL;
		} else if (!container) {
			container = value_of("--container", at, next);
		}
	}
	return !several || (!first == !container && (!first || !strcmp(first, container)));
}
