/* Any bytes as an entry of the cache: refused with a reason, or its program is one and its guards can be asked. */
#define _GNU_SOURCE
#include "exact.h"

#include <errno.h>
#include <sys/stat.h>

#include "entry.h"

int __wrap_stat(const char *path, struct stat *status);
int __wrap_lstat(const char *path, struct stat *status);
int __real_stat(const char *path, struct stat *status);
int __real_lstat(const char *path, struct stat *status);

static bool asking; /* else it is libFuzzer that looks for its own files */

/* A file system in which a path's last character says what is there, so that nothing of this machine is touched. */
static int fake(const char *path, struct stat *status)
{
	size_t length = strlen(path);

	CHECK(path[0] == '/');
	memset(status, 0, sizeof *status);
	if (path[length - 1] == '-') {
		errno = ENOENT;
		return -1;
	}
	status->st_dev = 1;
	status->st_ino = 2;
	status->st_size = 3;
	/* One from before 1970, which a file can have. */
	status->st_mtim = (struct timespec){ path[length - 1] == '<' ? -4 : 4, 5 };
	status->st_ctim = (struct timespec){ 6, 7 };
	return 0;
}

int __wrap_stat(const char *path, struct stat *status)
{
	return asking ? fake(path, status) : __real_stat(path, status);
}

int __wrap_lstat(const char *path, struct stat *status)
{
	return asking ? fake(path, status) : __real_lstat(path, status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exact(data, size, 0);
	const char *broken = NULL;
	struct bb_err err = { .errnum = 0 };
	struct bb_entry entry;

	if (bb_entry_open(&entry, copy, size, &err) == 0) {
		CHECK(entry.guards > copy && entry.guards < entry.program.data);
		CHECK(entry.program.data + entry.program.size == copy + size);
		CHECK(!memcmp(entry.program.data - sizeof "program", "program", sizeof "program"));
		CHECK(bb_program_check(entry.program.data, entry.program.size, &err) == 0);
		asking = true;
		CHECK(bb_entry_holds(&entry, &broken) == !broken);
		asking = false;
		CHECK(!broken || (broken > entry.guards && broken < entry.program.data && broken[0] == '/'));
	} else {
		CHECK(err.errnum == EINVAL && err.path[0]);
	}
	free(copy);
	return 0;
}
