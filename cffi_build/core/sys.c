#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>

void bb_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}
