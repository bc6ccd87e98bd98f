/* The submitting side: srun, sbatch and salloc, as the user. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

/* Slurm's own configuration, of the release that the plugin is built against; weak, should a release hide it. */
extern slurm_conf_t slurm_conf __attribute__((weak));

/* Calls `act` with the first `count` of this process's own arguments until it returns true. */
static bool any_argument(int count, bool (*act)(const char *argument, const char *next, void *data), void *data)
{
	static char line[256 * 1024]; /* only here, in a process that lives for one command */
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line - 2);
	char *end = line + (length > 0 ? length : 0);

	if (fd >= 0)
		close(fd);
	end[0] = end[1] = '\0';
	for (char *at = line; at < end && count-- > 0; at += strlen(at) + 1) {
		if (!strcmp(at, "--"))
			return false;
		if (act(at, at + strlen(at) + 1, data))
			return true;
	}
	return false;
}

static bool is_interactive(const char *argument, const char *next, void *data)
{
	(void)next, (void)data;
	return !strcmp(argument, "--interactive");
}

static bool is_multi_prog(const char *argument, const char *next, void *data)
{
	(void)next, (void)data;
	return !strcmp(argument, "--multi-prog");
}

struct option_value {
	const char *option, *value;
};

static bool take_value(const char *argument, const char *next, void *data)
{
	struct option_value *wanted = data;
	size_t length = strlen(wanted->option);

	if (strncmp(argument, wanted->option, length))
		return false;
	argument += length;
	wanted->value = *argument == '=' ? argument + 1 : next;
	return *argument == '=' || !*argument;
}

void bb_local_init(void)
{
	/* srun sets SLURM_CONTAINER only where it is not set, so a value that sbatch or salloc left behind would put a
	 * step without the flag into the container.  The interactive step of `salloc --container` is the exception:
	 * that srun is salloc's own, and has no other way to learn of the container.  No option has been read yet, so an
	 * argument of the application is taken for one until drop_inherited. */
	if (!any_argument(INT_MAX, is_interactive, NULL))
		unsetenv(BB_CONTAINER);
}

/* Mends what bb_local_init could not know: the --interactive that it saw was the application's. */
static void drop_inherited(void)
{
	struct option_value container = { .option = "--container" };

	if (any_argument(optind, is_interactive, NULL) || !any_argument(INT_MAX, is_interactive, NULL))
		return;
	if (any_argument(optind, take_value, &container))
		setenv(BB_CONTAINER, container.value, 1);
	else
		unsetenv(BB_CONTAINER);
}

/* With an oci.conf, slurmstepd hands the step to its own container runtime before it asks any plugin. */
static void refuse_oci(void)
{
	char path[PATH_MAX];
	const char *conf = &slurm_conf ? slurm_conf.slurm_conf : getenv("SLURM_CONF");
	const char *slash = conf ? strrchr(conf, '/') : NULL;

	if (!slash || snprintf(path, sizeof path, "%.*s/oci.conf", (int)(slash - conf), conf) >= (int)sizeof path)
		return;
	if (access(path, F_OK) == 0) {
		fprintf(stderr,
			"bareboat: error: cannot run --container: this cluster has %s, so Slurm would start its own container "
			"runtime instead of bareboat; the site's administrator has to remove one of the two\n",
			path);
		exit(BB_FAILED);
	}
}

/* A path is relative to the submitting directory.  What is not there and does not start like a path is left as it is:
 * it may be a reference to a registry, or a path of the nodes. */
static void make_absolute(const char *image)
{
	char directory[PATH_MAX], path[2 * PATH_MAX];

	bool path_like = !strncmp(image, "./", 2) || !strncmp(image, "../", 3) || access(image, F_OK) == 0;

	if (image[0] == '/' || !path_like || !getcwd(directory, sizeof directory))
		return;
	if (snprintf(path, sizeof path, "%s/%s", directory, image) < (int)sizeof path)
		setenv(BB_CONTAINER, path, 1);
}

void bb_local_post_opt(spank_t sp)
{
	struct option_value prolog = { .option = "--task-prolog" };
	const char *image;

	(void)sp;
	/* Slurm has read its options by now, and getopt(3) tells where they ended: what follows is the application's. */
	drop_inherited();
	image = getenv(BB_CONTAINER);
	if (!image)
		return;
	if (!image[0]) {
		fprintf(stderr, "bareboat: error: --container= names no image; give the directory of one\n");
		exit(2);
	}
	refuse_oci();
	make_absolute(image);
	/* No spank_item carries these to the nodes; variables do. */
	if (any_argument(optind, take_value, &prolog))
		setenv(BB_TASK_PROLOG, prolog.value, 1);
	else
		unsetenv(BB_TASK_PROLOG);
	if (any_argument(optind, is_multi_prog, NULL))
		setenv(BB_MULTI_PROG, "1", 1);
	else
		unsetenv(BB_MULTI_PROG);
}
