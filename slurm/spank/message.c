/* What the user reads.  A rank's standard error leads to the user's terminal by the time the plugin runs in it. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "plugin.h"

/* One line of `text`, which ends at `end`; what the planner says begins with "bareboat: " already. */
static void say_line(const char *node, const char *text, const char *end)
{
	static const char name[] = "bareboat: ";
	char line[sizeof((struct bb_share *)0)->text + 256];
	size_t at = bb_put(line, sizeof line, 0, name);

	if (!strncmp(text, name, sizeof name - 1))
		text += sizeof name - 1;
	at = bb_put(line, sizeof line, at, node);
	while (text < end && at < sizeof line - 2)
		line[at++] = *text++;
	line[at++] = '\n';
	line[at] = '\0';
	/* One write a line, so that the lines of several nodes do not mix (pipe(7)). */
	if (write(STDERR_FILENO, line, at) < 0)
		slurm_error("%s", line);
}

void bb_say(spank_t sp, const char *text)
{
	char node[128];
	bool named = spank_getenv(sp, "SLURMD_NODENAME", node, sizeof node - 2) == ESPANK_SUCCESS;

	bb_put(node, sizeof node, named ? strlen(node) : 0, named ? ": " : "");
	while (*text) {
		const char *end = strchrnul(text, '\n');

		if (end > text)
			say_line(node, text, end);
		text = *end ? end + 1 : end;
	}
}
