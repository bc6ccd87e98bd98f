/* Asks the plugin's own rules of stores, for a test that compares them with `bareboat slurm status`:
 *   store_rules IMAGE ARGUMENT...  "trusted" where the image would be mounted by the kernel, if it is a squashfs file. */
#include "store.c"

#include <stdio.h>

int main(int argc, char **argv)
{
	const char *store = argc < 2 ? NULL : store_of(argv[1], argc - 2, argv + 2);
	struct bb_err err;

	if (argc < 2)
		return 2;
	puts(store && open_trusted(argv[1], store, &err) >= 0 ? "trusted" : "not trusted");
	return 0;
}
