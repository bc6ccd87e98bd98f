#define _GNU_SOURCE
#include "ahead.h"

#include <fcntl.h>

#include "sys.h"

/* More of a large library than its start is rarely needed at once. */
enum { AHEAD_BYTES = 2 << 20 };

bool bb_read_ahead(const struct bb_program *program, size_t *cursor, int root)
{
	const struct open_how how = {
		/* O_NONBLOCK: a pipe of the image has nobody at its other end. */
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		/* Meanwhile the mount is moved into the container, and the host's files and devices are mounted on it. */
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	struct bb_op op;
	int fd;

	do
		if (!bb_program_next(program, cursor, &op))
			return false;
	while (op.verb != BB_READ_AHEAD);
	fd = sys_openat2(root, op.arg[0], &how);
	if (fd >= 0)
		(void)posix_fadvise(fd, 0, AHEAD_BYTES, POSIX_FADV_WILLNEED);
	bb_close(&fd);
	return true;
}
