#define _GNU_SOURCE
#include "err.h"

#include <errno.h>
#include <string.h>

size_t bb_put(char *text, size_t size, size_t length, const char *more)
{
	while (*more && length + 1 < size)
		text[length++] = *more++;
	if (size)
		text[length < size ? length : size - 1] = '\0';
	return length;
}

size_t bb_put_number(char *text, size_t size, size_t length, unsigned long long number)
{
	char digits[24];
	size_t at = sizeof digits;

	digits[--at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return bb_put(text, size, length, digits + at);
}

int bb_fail(struct bb_err *err, int errnum, const char *operation, const char *path)
{
	err->errnum = errnum;
	bb_put(err->operation, sizeof err->operation, 0, operation);
	bb_put(err->path, sizeof err->path, 0, path ? path : "");
	return -1;
}

static const struct {
	int errnum;
	const char *operation, *hint;
} hints[] = {
	{ ENOSPC, "create a user namespace",
	  "user namespaces are switched off on this node (user.max_user_namespaces); `bareboat doctor` shows how to allow them" },
	{ EPERM, "create a user namespace",
	  "user namespaces are not allowed for this user on this node; `bareboat doctor` shows how to allow them" },
	{ EACCES, "write the user map of", "a security module may forbid it; see `bareboat doctor`" },
	{ ENOENT, "open the image", "the path must exist on every node of the step" },
	{ EACCES, "open the image", "the user must be able to read it on every node of the step" },
	{ ENOENT, "find a FUSE server for the image",
	  "install squashfuse (squashfuse_ll) on every node, or have the site put the image into its trusted store" },
	{ EPERM, "trust", "an image of the store and each directory above it must be root's, writable by nobody else and open to all" },
	{ ENOENT, "open the FUSE device", "images that are files need it: modprobe fuse" },
	{ EACCES, "open the FUSE device", "images that are files need it, open to users: chmod 666 /dev/fuse" },
	{ ENOENT, "execute",
	  "install bareboat under the same prefix on every node and check with `bareboat slurm status --nodes`" },
	{ ENOENT, "bind", "the source of a mount must exist on every node of the step" },
	{ ENOENT, "enter the working directory", "choose one with --chdir that exists in the container" },
	{ ENOENT, "open the namespace",
	  "the process that holds the container was ended from outside; see the node's kernel log (out of memory?) and try again" },
	{ EAGAIN, "fork", "no more processes are allowed; see `ulimit -u` and the job's limit of processes" },
	{ EAGAIN, "fork for", "no more processes are allowed; see `ulimit -u` and the job's limit of processes" },
	{ ESTALE, "use the container",
	  "a process of this user or of root mounted something over it before this rank joined; start the step again, and "
	  "if it stays so, look for what mounts in other processes' namespaces on this node" },
	{ ESTALE, "join the namespace",
	  "a process of this user or of root ended the one that held it, or spoke in its name; start the step again, and if it "
	  "stays so, look for who does that on this node" },
	{ EPERM, "mount a tmpfs for", "a security module may forbid mounts in user namespaces; see `bareboat doctor`" },
	{ EINVAL, "lay an overlay over",
	  "nothing may be mounted inside the directory of an image that lacks mount points; "
	  "`bareboat plan` names those that it lacks" },
	{ EACCES, "mount a tmpfs for", "a security module may forbid mounts in user namespaces; see `bareboat doctor`" },
};

const char *bb_describe(int errnum)
{
#ifdef __GLIBC__
	return strerrordesc_np(errnum);
#else
	return strerror(errnum);
#endif
}

void bb_err_text(const struct bb_err *told, char *text, size_t size)
{
	/* It may come from a process that its user can speak for: what has no end must not show what lies behind it. */
	struct bb_err err = *told;
	const char *reason = bb_describe(err.errnum);
	size_t at = bb_put(text, size, 0, "cannot ");

	err.operation[sizeof err.operation - 1] = '\0';
	err.path[sizeof err.path - 1] = '\0';
	at = bb_put(text, size, at, err.operation);
	if (err.path[0]) {
		at = bb_put(text, size, at, " ");
		at = bb_put(text, size, at, err.path);
	}
	at = bb_put(text, size, at, ": ");
	at = bb_put(text, size, at, reason ? reason : "unknown error");
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
		if (hints[i].errnum == err.errnum && !strcmp(hints[i].operation, err.operation)) {
			at = bb_put(text, size, at, "; ");
			at = bb_put(text, size, at, hints[i].hint);
			break;
		}
	}
}
