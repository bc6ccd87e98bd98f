/* Asks the plugin's own rules of stores, for a test that compares them with `bareboat slurm status`:
 *   store_rules IMAGE ARGUMENT...  "trusted" where the image would be mounted by the kernel, if it is a squashfs file. */
#include "store.c"

#include <stdio.h>

int main(int argc, char **argv)
{
	struct bb_err err;

	if (argc < 2)
		return 2;
	puts(is_of_store(argv[1], argc - 2, argv + 2) && open_trusted(argv[1], &err) >= 0 ? "trusted" : "not trusted");
	return 0;
}
