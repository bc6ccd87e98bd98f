#define _GNU_SOURCE
#include "idmap.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "sys.h"

static int write_proc(const char *path, const char *text, struct bb_err *err)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(text);

	if (fd < 0)
		return bb_fail(err, errno, "write the user map of", path);
	/* The kernel takes a map in one write only (user_namespaces(7)). */
	errno = EIO; /* where it takes a part */
	if (write(fd, text, length) != (ssize_t)length) {
		bb_close(&fd);
		return bb_fail(err, errno, "write the user map of", path);
	}
	bb_close(&fd);
	return 0;
}

static void identity_map(char *text, size_t size, unsigned id)
{
	size_t at = bb_put_number(text, size, 0, id);

	at = bb_put(text, size, at, " ");
	at = bb_put_number(text, size, at, id);
	bb_put(text, size, at, " 1");
}

int bb_idmap_unshare(const struct bb_mapper *mapper, struct bb_err *err)
{
	unsigned uid = geteuid(), gid = getegid();
	char uid_map[64], gid_map[64];
	int mapped = 0;

	identity_map(uid_map, sizeof uid_map, uid);
	identity_map(gid_map, sizeof gid_map, gid);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return bb_fail(err, errno, "create a user namespace", "");
	if (write_proc("/proc/self/uid_map", uid_map, err) < 0)
		return -1;
	if (mapper)
		mapped = mapper->map(mapper->data);
	if (mapped)
		return mapped < 0 ? bb_fail(err, errno, "ask for a map of the groups", "") : 0;
	/* Without root, a gid can be mapped only once setgroups(2) is denied (user_namespaces(7)). */
	if (write_proc("/proc/self/setgroups", "deny", err) < 0)
		return -1;
	return write_proc("/proc/self/gid_map", gid_map, err);
}
