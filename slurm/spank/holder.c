/* Runs bareboat-hold, which enters the container and holds its namespaces.  A program of its own: who writes a user map
 * and lets others open its namespaces has to be dumpable (proc(5)), and the helper is a copy of slurmstepd, whose memory
 * is not for the user to read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

enum { ENTER_SECONDS = 140 };

static const char cannot[] = "cannot make the container with ";

int bb_program_file(const struct bb_share *share)
{
	int fd = memfd_create("bareboat-program", 0);

	if (fd >= 0 && bb_write_all(fd, share->program.data, share->program.size) < 0)
		bb_close(&fd);
	return fd;
}

/* NAME=VALUE, in memory of the caller's; NULL where it does not fit. */
static char *assignment(const struct bb_value *value, char *text, size_t size)
{
	size_t at = bb_put(text, size, 0, value->name);

	at = bb_put(text, size, at, "=");
	at = bb_put(text, size, at, value->value);
	return at + 1 < size ? text : NULL;
}

/* Does not return; where the program cannot be executed, its pipe says why. */
static void execute(const char *path, int program, int image, bool groups, const struct bb_value *values, int in, int out)
{
	enum { HEAD = 5, MOST = 6 };
	char hold[] = "--hold", asked[] = "asked", alone[] = "alone", mount[16] = "-1", source[64], texts[MOST][PATH_MAX + 32];
	char *argv[HEAD + MOST + 1] = { (char *)(uintptr_t)path, hold, source, groups ? asked : alone, mount };
	char *environment[] = { NULL };
	struct bb_entered entered = { .told = BB_NOT_ENTERED };
	size_t at = bb_put(source, sizeof source, 0, "/proc/self/fd/"), count = 0;

	bb_put_number(source, sizeof source, at, (unsigned)program);
	for (; values->name && count < MOST; values++)
		if (values->value && (argv[HEAD + count] = assignment(values, texts[count], sizeof texts[count])))
			count++;
	argv[HEAD + count] = NULL;
	if (image >= 0)
		bb_put_number(mount, sizeof mount, 0, (unsigned)image);
	if ((image < 0 || fcntl(image, F_SETFD, 0) == 0) && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		execve(path, argv, environment);
	bb_fail(&entered.err, errno, "execute", path);
	_exit(write(out, &entered, sizeof entered) < 0 ? 127 : BB_FAILED);
}

/* Hears what the holder has to say; false where it ended or the time limit or the step's end came first. */
static bool hear(int fd, struct bb_entered *entered, const struct bb_share *share)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	long limit = bb_now() + ENTER_SECONDS;

	while (bb_now() <= limit && bb_wanted(share))
		if (poll(&poll_fd, 1, 1000) > 0)
			return read(fd, entered, sizeof *entered) == (ssize_t)sizeof *entered;
	return false;
}

/* Has root's child map the groups of the holder, if that asks, and hears how it ended. */
static bool attend(struct bb_share *share, pid_t child, int leash, int out, struct bb_entered *entered)
{
	char answer = 'n';

	if (!hear(out, entered, share))
		return false;
	if (entered->told != BB_ASKS_FOR_GROUPS)
		return true;
	atomic_store(&share->holder, child);
	if (bb_groups_mapped(share))
		answer = BB_MAPPED;
	else
		share->unmapped = true;
	return write(leash, &answer, 1) == 1 && hear(out, entered, share);
}

static int judge(struct bb_share *share, const char *path, pid_t child, int leash, int out)
{
	struct bb_entered entered;
	int status = 0;

	if (!attend(share, child, leash, out, &entered)) {
		bb_close(&leash);
		bb_reap(child, bb_now() + 1, &status);
		return bb_broken(share, cannot, path,
				 "it was ended from outside or took longer than 140 s; see the node's kernel log and try again");
	}
	if (entered.told != BB_ENTERED) {
		bb_close(&leash);
		bb_reap(child, bb_now() + 1, &status);
		bb_err_text(&entered.err, share->text, sizeof share->text);
		return -1;
	}
	share->namespaces = entered.namespaces;
	return leash;
}

int bb_holder_start(struct bb_share *share, const struct bb_step_values *values)
{
	char path[PATH_MAX] = "bareboat-hold";
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, program = -1, leash = -1;
	pid_t child = -1;
	struct bb_err err;

	if (bb_installed("/libexec/bareboat/bareboat-hold", path, sizeof path) < 0)
		bb_fail(&err, ENOENT, "find", path);
	else if ((program = bb_program_file(share)) < 0)
		bb_fail(&err, errno, "copy the program for", path);
	else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		bb_fail(&err, errno, "open a pipe to", path);
	else if ((child = vfork()) < 0) /* a copy of slurmstepd's page tables would be for nothing */
		bb_fail(&err, errno, "fork for", path);
	if (child == 0)
		execute(path, program, share->image, atomic_load(&share->mapper) != 0, values->list, in[0], out[1]);
	if (child < 0)
		bb_err_text(&err, share->text, sizeof share->text);
	bb_close(&program);
	bb_close(&in[0]);
	bb_close(&out[1]);
	if (child < 0)
		bb_close(&in[1]);
	else
		leash = judge(share, path, child, in[1], out[0]);
	bb_close(&out[0]);
	return leash;
}
