/* Mounts an image of a store as slurmstepd does, so that each system call of that can be made to fail:
 * tests/integration/test_store_faults.py.
 *
 *   drive_store IMAGE ARGUMENT...    the plugin's arguments, as in plugstack.conf */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"

int main(int argc, char **argv)
{
	char note[1536];
	struct stat status;
	int mount;

	if (argc < 2)
		return 2;
	mount = bb_store_mount(argv[1], argc - 2, argv + 2, &status, note, sizeof note);
	dprintf(STDOUT_FILENO, "%s\n", mount < 0 ? note : "mounted");
	/* Where it was not waited for. */
	while (wait(NULL) > 0)
		;
	/* What a caller that goes on would still have. */
	for (int fd = 3; fd < 32; fd++)
		if (fd != mount && fcntl(fd, F_GETFD) >= 0)
			dprintf(STDOUT_FILENO, "open %d\n", fd);
	return 0;
}
