/* The submitting side: srun, sbatch and salloc, as the user. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "plugin.h"

/* Slurm's own configuration, of the release that the plugin is built against; weak, should a release hide it. */
extern slurm_conf_t slurm_conf __attribute__((weak));

/* This process's own arguments, and how many bytes they are. */
static const char *read_line(size_t *length)
{
	static char line[256 * 1024]; /* only here, in a process that lives for one command */
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, line, sizeof line - 2);

	*length = got > 0 ? (size_t)got : 0;
	if (fd >= 0)
		close(fd);
	line[*length] = line[*length + 1] = '\0';
	return line;
}

/* The first `count` of them. */
static void read_arguments(int count, struct bb_arguments *arguments)
{
	size_t length;
	const char *line = read_line(&length);

	bb_arguments_read(line, length, count, arguments);
}

/* Slurm has one variable for all components of a step, so each would run in the first one's image. */
static void refuse_several_images(void)
{
	size_t length;
	const char *line = read_line(&length);

	if (spank_context() != S_CTX_LOCAL || bb_arguments_agree(line, length))
		return;
	fprintf(stderr, "bareboat: error: cannot run the components of a heterogeneous step in different images: Slurm passes on "
			"one --container for all of them; give each component the same, or start a step for each\n");
	exit(BB_FAILED);
}

void bb_local_init(void)
{
	struct bb_arguments all;

	/* srun sets SLURM_CONTAINER only where it is not set, so a value that sbatch or salloc left behind would put a
	 * step without the flag into the container.  The interactive step of `salloc --container` is the exception:
	 * that srun is salloc's own, and has no other way to learn of the container.  No option has been read yet, so an
	 * argument of the application is taken for one until drop_inherited. */
	read_arguments(INT_MAX, &all);
	if (!all.interactive)
		unsetenv(BB_CONTAINER);
}

/* Mends what bb_local_init could not know: the --interactive that it saw was the application's. */
static void drop_inherited(void)
{
	struct bb_arguments all, own;

	read_arguments(INT_MAX, &all);
	read_arguments(optind, &own);
	if (own.interactive || !all.interactive)
		return;
	if (own.container)
		setenv(BB_CONTAINER, own.container, 1);
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

static bool wants_check(void)
{
	const char *value = getenv(BB_CHECK);

	if (!value || !value[0] || !strcmp(value, "0"))
		return false;
	if (strcmp(value, "1") != 0) {
		fprintf(stderr, "bareboat: error: " BB_CHECK " is '%s', which says neither yes nor no; set it to 1 or 0\n", value);
		exit(2);
	}
	return true;
}

void bb_local_post_opt(spank_t sp)
{
	struct bb_arguments arguments;
	const char *image;
	bool check;

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
	refuse_several_images();
	make_absolute(image);
	check = wants_check();
	/* No spank_item carries these to the nodes; variables do. */
	read_arguments(optind, &arguments);
	if (arguments.task_prolog)
		setenv(BB_TASK_PROLOG, arguments.task_prolog, 1);
	else
		unsetenv(BB_TASK_PROLOG);
	if (arguments.multi_prog)
		setenv(BB_MULTI_PROG, "1", 1);
	else
		unsetenv(BB_MULTI_PROG);
	if (check && spank_context() == S_CTX_LOCAL)
		bb_compare_start();
}
