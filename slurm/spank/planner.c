/* Runs the installed application's Python, which makes the program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "sys.h"

enum { PLAN_SECONDS = 120, ARGUMENTS_MAX = 4096 };

int bb_broken(struct bb_share *share, const char *what, const char *path, const char *why)
{
	size_t at = bb_put(share->text, sizeof share->text, 0, what);

	at = bb_put(share->text, sizeof share->text, at, path);
	at = bb_put(share->text, sizeof share->text, at, ": ");
	bb_put(share->text, sizeof share->text, at, why);
	return -1;
}

int bb_installed(const char *name, char *path, size_t size)
{
	Dl_info info;
	const char *end;
	size_t at;

	if (!dladdr((void *)(uintptr_t)bb_installed, &info) || !info.dli_fname)
		return -1;
	end = info.dli_fname + strlen(info.dli_fname);
	for (int up = 0; up < 3; up++) {
		while (end > info.dli_fname && end[-1] != '/')
			end--;
		if (end == info.dli_fname)
			return -1;
		end--;
	}
	at = (size_t)(end - info.dli_fname);
	/* Not cut: another path would be executed. */
	if (at + strlen(name) >= size)
		return -1;
	memcpy(path, info.dli_fname, at);
	memcpy(path + at, name, strlen(name) + 1);
	return 0;
}

static void execute(const char *python, const struct bb_request *request, int image, int out, int err)
{
	enum { IMAGE = 3 }; /* the descriptor's number in the planner */
	const char *const head[] = { python, "-I", "-X", "utf8", "-m", "launcher.step", image < 0 ? "--" : "3" };
	const char *argv[ARGUMENTS_MAX];
	size_t count = 0;

	for (; count < sizeof head / sizeof *head; count++)
		argv[count] = head[count];
	for (char **argument = request->argv; *argument && count < ARGUMENTS_MAX - 1; argument++)
		argv[count++] = *argument;
	argv[count] = NULL;
	/* Nobody else ends it when the helper is ended. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	if (image >= 0)
		dup2(image, IMAGE);
	/* dup2(2) of a descriptor onto itself would leave it one that is closed by execve(2). */
	if (image == IMAGE)
		fcntl(image, F_SETFD, 0);
	sys_close_range(image < 0 ? IMAGE : IMAGE + 1, ~0U, 0);
	execve(python, (char **)(uintptr_t)argv, request->environment);
	_exit(127);
}

struct stream {
	int fd;
	char *data;
	size_t size, length;
};

/* Takes what there is; what exceeds the buffer is thrown away, but the length goes on counting. */
static void take(struct stream *stream)
{
	char spill[4096];
	bool full = stream->length >= stream->size;
	ssize_t got = read(stream->fd, full ? spill : stream->data + stream->length,
			   full ? sizeof spill : stream->size - stream->length);

	if (got < 0 && errno == EINTR)
		return;
	if (got <= 0)
		bb_close(&stream->fd);
	else
		stream->length += (size_t)got;
}

/* Reads both streams to their ends; false where the time limit or the step's end came first. */
static bool drain(struct stream *out, struct stream *err, long limit, const struct bb_share *share)
{
	while (out->fd >= 0 || err->fd >= 0) {
		struct pollfd polls[2] = { { .fd = out->fd, .events = POLLIN }, { .fd = err->fd, .events = POLLIN } };

		if (bb_now() > limit || !bb_wanted(share))
			return false;
		/* That it fails, for want of memory, is no reason to give up before the limit. */
		poll(polls, 2, 1000);
		if (polls[0].revents)
			take(out);
		if (polls[1].revents)
			take(err);
	}
	return true;
}

static int judge(struct bb_share *share, const char *python, int status, bool complete, const struct stream *out)
{
	if (!complete)
		return bb_broken(share, "cannot plan the container with ", python,
			      "it took longer than 120 s; the node is overloaded or a file system hangs: look for mounts on it that do not "
			      "answer, and try again");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !share->text[0])
		return bb_broken(share, "cannot run ", python,
			      "it is missing or not executable on this node; install bareboat under the same prefix on every "
			      "node and check with `bareboat slurm status --nodes`");
	if (WIFSIGNALED(status))
		return bb_broken(share, "cannot plan the container with ", python,
			      "it was ended from outside; see the node's kernel log (out of memory?) and try again");
	if (WEXITSTATUS(status))
		return share->text[0] ? -1
				      : bb_broken(share, "cannot plan the container with ", python,
						  "it gave no reason; run `bareboat plan` with this image on the node");
	if (out->length > out->size)
		return bb_broken(share, "cannot use the plan of ", python,
			      "it is longer than 2 MiB; ask for fewer mounts or shorter variables");
	share->entry_size = out->length;
	return 0;
}

int bb_plan(struct bb_share *share, const struct bb_request *request)
{
	struct stream out = { -1, share->entry, sizeof share->entry, 0 };
	struct stream err = { -1, share->text, sizeof share->text - 1, 0 };
	int out_pipe[2] = { -1, -1 }, err_pipe[2] = { -1, -1 }, status = 0, rc = 0;
	long limit = bb_now() + PLAN_SECONDS;
	char python[PATH_MAX];
	struct bb_err problem;
	pid_t child = -1;
	bool complete;

	if (bb_installed("/venv/bin/python", python, sizeof python) < 0)
		return bb_broken(share, "cannot find ", "the Python of bareboat", "the plugin does not know its own path");
	if (pipe2(out_pipe, O_CLOEXEC) < 0 || pipe2(err_pipe, O_CLOEXEC) < 0)
		rc = bb_fail(&problem, errno, "open a pipe to", python);
	else if ((child = fork()) < 0)
		rc = bb_fail(&problem, errno, "fork for", python);
	if (rc < 0) {
		for (int i = 0; i < 2; i++) {
			bb_close(&out_pipe[i]);
			bb_close(&err_pipe[i]);
		}
		bb_err_text(&problem, share->text, sizeof share->text);
		return -1;
	}
	if (child == 0)
		execute(python, request, share->image, out_pipe[1], err_pipe[1]);
	bb_close(&out_pipe[1]);
	bb_close(&err_pipe[1]);
	out.fd = out_pipe[0];
	err.fd = err_pipe[0];
	complete = drain(&out, &err, limit, share);
	complete = bb_reap(child, complete ? limit : 0, &status) && complete;
	bb_close(&out.fd);
	bb_close(&err.fd);
	share->text[err.length < err.size ? err.length : err.size] = '\0';
	return judge(share, python, status, complete, &out);
}
