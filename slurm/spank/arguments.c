#include "arguments.h"

#include <string.h>

/* The value of --task-prolog, which stands behind "=" or is the next argument; NULL where this is another one. */
static const char *task_prolog(const char *argument, const char *next)
{
	static const char option[] = "--task-prolog";
	size_t length = sizeof option - 1;

	if (strncmp(argument, option, length))
		return NULL;
	if (argument[length] == '=')
		return argument + length + 1;
	return argument[length] ? NULL : next;
}

void bb_arguments_read(const char *text, size_t size, struct bb_arguments *arguments)
{
	*arguments = (struct bb_arguments){ .interactive = false };
	for (const char *at = text, *next; at < text + size && strcmp(at, "--") != 0; at = next) {
		next = at + strlen(at) + 1;
		if (!strcmp(at, "--interactive"))
			arguments->interactive = true;
		else if (!strcmp(at, "--multi-prog"))
			arguments->multi_prog = true;
		else if (!arguments->task_prolog)
			arguments->task_prolog = task_prolog(at, next);
	}
}
