/* What the user reads.  A rank's standard error leads to the user's terminal by the time the plugin runs in it. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "plugin.h"

void bb_say(spank_t sp, const char *text)
{
	char line[sizeof((struct bb_share *)0)->text + 256], node[128];
	size_t at = bb_put(line, sizeof line, 0, "bareboat: ");

	if (spank_getenv(sp, "SLURMD_NODENAME", node, sizeof node) == ESPANK_SUCCESS) {
		at = bb_put(line, sizeof line, at, node);
		at = bb_put(line, sizeof line, at, ": ");
	}
	at = bb_put(line, sizeof line, at, text);
	while (at && line[at - 1] == '\n')
		line[--at] = '\0';
	at = bb_put(line, sizeof line, at, "\n");
	if (write(STDERR_FILENO, line, at) < 0)
		slurm_error("bareboat: %s", text);
}

void bb_die(spank_t sp, const char *text)
{
	bb_say(sp, text);
	_exit(BB_FAILED);
}

void bb_die_err(spank_t sp, const struct bb_err *err)
{
	char text[2048];

	bb_err_text(err, text, sizeof text);
	bb_die(sp, text);
}
