#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "sys.h"

enum { VALUE_MAX = 128 * 1024 }; /* MAX_ARG_STRLEN, the longest variable that execve(2) takes */

/* Opens a namespace of the process that has the number of the one that held it, if it is the one with this inode number. */
static int open_namespace(pid_t pid, const char *name, uint64_t inode, struct bb_err *err)
{
	char path[128];
	struct stat status;
	size_t at = bb_put(path, sizeof path, 0, "/proc/");
	int fd;

	at = bb_put_number(path, sizeof path, at, (unsigned long long)pid);
	at = bb_put(path, sizeof path, at, "/ns/");
	at = bb_put(path, sizeof path, at, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0) {
		bb_close(&fd);
		return bb_fail(err, errno, "open the namespace", path);
	}
	if (status.st_ino == inode)
		return fd;
	bb_close(&fd);
	/* Both numbers, since they tell a reused pid from a message that no holder wrote. */
	at = bb_put(path, sizeof path, at, ", which is ");
	at = bb_put_number(path, sizeof path, at, status.st_ino);
	at = bb_put(path, sizeof path, at, " by now and was ");
	bb_put_number(path, sizeof path, at, inode);
	return bb_fail(err, ESTALE, "join the namespace", path);
}

int bb_namespaces_open(struct bb_err *err)
{
	static const char path[] = "/proc/self/ns";
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? bb_fail(err, errno, "open", path) : fd;
}

int bb_namespaces_self(int directory, struct bb_namespaces *namespaces, struct bb_err *err)
{
	struct stat user, mnt, root;

	if (fstatat(directory, "user", &user, 0) < 0 || fstatat(directory, "mnt", &mnt, 0) < 0)
		return bb_fail(err, errno, "examine the namespaces in", "/proc/self/ns");
	if (stat("/", &root) < 0)
		return bb_fail(err, errno, "examine", "/");
	*namespaces = (struct bb_namespaces){ .pid = getpid(),
					      .user = user.st_ino,
					      .mnt = mnt.st_ino,
					      .root_device = root.st_dev,
					      .root_inode = root.st_ino };
	return 0;
}

/* setns(2) gives the process the root that the namespace has now, with whatever was mounted over it. */
static int check_root(const struct bb_namespaces *namespaces, struct bb_err *err)
{
	struct stat root;

	if (stat("/", &root) < 0)
		return bb_fail(err, errno, "examine", "/");
	if (root.st_dev != namespaces->root_device || root.st_ino != namespaces->root_inode)
		return bb_fail(err, ESTALE, "use the container", "whose root is not the one that was made for this step");
	return 0;
}

int bb_join(const struct bb_namespaces *namespaces, struct bb_err *err)
{
	int rc = -1, mnt = -1, user = open_namespace(namespaces->pid, "user", namespaces->user, err);

	if (user < 0)
		goto out;
	mnt = open_namespace(namespaces->pid, "mnt", namespaces->mnt, err);
	if (mnt < 0)
		goto out;
	/* The user namespace first: it gives the capability that the mount namespace asks for (setns(2)). */
	if (setns(user, CLONE_NEWUSER) < 0)
		bb_fail(err, errno, "join", "the user namespace");
	else if (setns(mnt, CLONE_NEWNS) < 0)
		bb_fail(err, errno, "join", "the mount namespace");
	else
		rc = check_root(namespaces, err);
out:
	bb_close(&user);
	bb_close(&mnt);
	return rc;
}

/* Room for two values, in pages of its own: the user may have set a small limit for the stack. */
static char *values_open(void)
{
	char *values = mmap(NULL, 2 * VALUE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return values == MAP_FAILED ? NULL : values;
}

/* VALUE:OLD or OLD:VALUE; an unset or empty old value leaves VALUE alone. */
static int extend(const struct bb_environment *environment, char *old, const char *name, const char *value, bool front)
{
	char *new = old + VALUE_MAX;
	int rc = -1;
	size_t at;

	if (environment->get(environment->data, name, old, VALUE_MAX) < 0 || !old[0]) {
		rc = environment->set(environment->data, name, value);
	} else if (strlen(old) + strlen(value) + 2 > VALUE_MAX) {
		errno = E2BIG;
	} else {
		at = bb_put(new, VALUE_MAX, 0, front ? value : old);
		at = bb_put(new, VALUE_MAX, at, ":");
		bb_put(new, VALUE_MAX, at, front ? old : value);
		rc = environment->set(environment->data, name, new);
	}
	return rc;
}

static int set_default(const struct bb_environment *environment, char *old, const char *name, const char *value)
{
	return environment->get(environment->data, name, old, VALUE_MAX) == 0 ? 0 :
									       environment->set(environment->data, name, value);
}

static int change(const struct bb_op *op, const struct bb_environment *environment, char *values)
{
	switch (op->verb) {
	case BB_ENV_SET:
		return environment->set(environment->data, op->arg[0], op->arg[1]);
	case BB_ENV_DEFAULT:
		return set_default(environment, values, op->arg[0], op->arg[1]);
	case BB_ENV_UNSET:
		return environment->unset(environment->data, op->arg[0]);
	case BB_ENV_PREPEND:
	case BB_ENV_APPEND:
		return extend(environment, values, op->arg[0], op->arg[1], op->verb == BB_ENV_PREPEND);
	default:
		return 0;
	}
}

int bb_set_environment(const struct bb_program *program, const struct bb_environment *environment, struct bb_err *err)
{
	struct bb_op op;
	size_t cursor = 0;
	int rc = 0;
	char *values = values_open();

	if (!values)
		return bb_fail(err, errno, "change", "the environment");
	while (rc == 0 && bb_program_next(program, &cursor, &op)) {
		errno = ENOMEM; /* where the environment's owner gives no reason of its own */
		if (change(&op, environment, values) < 0)
			rc = bb_fail(err, errno, "change the variable", op.arg[0]);
	}
	munmap(values, 2 * VALUE_MAX);
	return rc;
}

int bb_settle(const struct bb_program *program, struct bb_err *err)
{
	struct bb_op op;
	size_t cursor = 0;

	while (bb_program_next(program, &cursor, &op)) {
		if (op.verb == BB_CWD && chdir(op.arg[0]) < 0)
			return bb_fail(err, errno, "enter the working directory", op.arg[0]);
		if (op.verb == BB_NO_NEW_PRIVS && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return bb_fail(err, errno, "set", "no_new_privs");
	}
	return 0;
}
