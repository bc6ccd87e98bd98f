/* bareboat-enter PROGRAM -- APP [ARG...]: runs a program's plan in this process and then the application, in place.
 * An AppArmor profile, which some systems ask for before they allow user namespaces, can name this file.
 * bareboat-enter --hold PROGRAM GROUPS IMAGE [NAME=VALUE...]: enters, writes a struct bb_entered to standard output, and
 * holds the namespaces until standard input ends.  The values are for the program's placeholders; GROUPS is "asked" where
 * standard input answers whether somebody else has mapped the groups; IMAGE is the descriptor of a mounted image, or -1.
 * The SPANK plugin's helper runs it, as bareboat-hold.
 * bareboat-enter --show IMAGE SERVER: mounts a squashfs image by a FUSE server, and sends the mount through standard
 * output, a socket.  It lasts as long as somebody holds it; for those who only want to read.
 * Exit codes: 125 bareboat failed, 126 APP cannot be executed, 127 APP was not found, else the application's own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "enter.h"
#include "fuse.h"
#include "idmap.h"
#include "join.h"
#include "sys.h"

enum { FAILED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static const char own_fds[] = "/proc/self/fd/";

extern char **environ;

static int get(void *data, const char *name, char *value, size_t size)
{
	const char *found = getenv(name);

	(void)data;
	if (!found || strlen(found) >= size)
		return -1;
	memcpy(value, found, strlen(found) + 1);
	return 0;
}

static int set(void *data, const char *name, const char *value)
{
	(void)data;
	return setenv(name, value, 1);
}

static int unset(void *data, const char *name)
{
	(void)data;
	return unsetenv(name);
}

static int read_program(const char *path, char *data, size_t size, size_t *length, struct bb_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0)
		return bb_fail(err, errno, "open the program", path);
	for (*length = 0; got > 0 && *length < size; *length += (size_t)got)
		got = read(fd, data + *length, size - *length);
	bb_close(&fd);
	if (got < 0)
		return bb_fail(err, errno, "read the program", path);
	/* The memfd that `bareboat run` hands over is none of the application's business. */
	if (!strncmp(path, own_fds, sizeof own_fds - 1))
		close(atoi(path + sizeof own_fds - 1));
	return 0;
}

/* 0 where `path` can be executed, ENOENT where there is nothing, EACCES where it is no program, else what went wrong. */
static int examine(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno == ENOTDIR || errno == EACCES || errno == ELOOP || errno == ENAMETOOLONG ? ENOENT : errno;
	if (!S_ISREG(status.st_mode))
		return EACCES;
	return access(path, X_OK) < 0 ? errno : 0;
}

/* Finds `name` as execvp(3) would: 0, or why not, as `examine` says it of the first that is there. */
static int find(const char *name, char *path, size_t size)
{
	const char *directories = getenv("PATH");
	int reason = ENOENT;

	if (strchr(name, '/') || !directories)
		directories = "";
	for (const char *start = directories;; start++) {
		const char *end = strchrnul(start, ':');
		const char *slash = end > start ? "/" : "";
		int now = ENOENT;

		if ((size_t)snprintf(path, size, "%.*s%s%s", (int)(end - start), start, slash, name) < size)
			now = examine(path);
		if (now == 0)
			return 0;
		if (reason == ENOENT)
			reason = now;
		if (!*end)
			return reason;
		start = end;
	}
}

/* Why execve(2) said ENOENT for a file that exists: the interpreter it names does not. */
static void print_interpreter(const char *path)
{
	char line[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, line, sizeof line - 1);

	bb_close(&fd);
	if (got > 2 && !strncmp(line, "#!", 2)) {
		line[strcspn(line, "\n")] = '\0';
		fprintf(stderr, "bareboat: cannot run %s: its interpreter \"%s\" is not in the container\n", path,
			line + 2 + strspn(line + 2, " "));
	} else {
		fprintf(stderr, "bareboat: cannot run %s: its program loader is not in the container\n", path);
	}
}

static int run(char **argv)
{
	char path[4096];
	int reason = find(argv[0], path, sizeof path);

	if (reason == 0) {
		execve(path, argv, environ);
		reason = errno;
		if (reason == ENOENT)
			print_interpreter(path);
		else
			fprintf(stderr, "bareboat: cannot run %s: %s\n", path, strerror(reason));
	} else if (reason == ENOENT) {
		fprintf(stderr, "bareboat: cannot run %s: no such program in the container (PATH is %s)\n", argv[0],
			getenv("PATH") ? getenv("PATH") : "not set");
	} else if (reason == EACCES) {
		fprintf(stderr, "bareboat: cannot run %s: it is there, but it is not an executable file\n", argv[0]);
	} else {
		fprintf(stderr, "bareboat: cannot run %s: %s\n", argv[0], strerror(reason));
	}
	return reason == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

static int load(const char *path, struct bb_program *program, struct bb_err *err)
{
	static char data[BB_PROGRAM_MAX + 1];
	size_t length = 0;

	return read_program(path, data, sizeof data, &length, err) < 0 ? -1 : bb_program_open(program, data, length, err);
}

static int ask_for_groups(void *data)
{
	const struct bb_entered question = { .told = BB_ASKS_FOR_GROUPS };
	char answer = 0;

	(void)data;
	errno = EPIPE; /* where nobody is there to answer */
	if (write(STDOUT_FILENO, &question, sizeof question) != sizeof question || read(STDIN_FILENO, &answer, 1) != 1)
		return -1;
	return answer == BB_MAPPED;
}

/* Splits NAME=VALUE arguments; those beyond the list's size are dropped. */
static void read_values(char **arguments, struct bb_value *values, size_t size)
{
	size_t count = 0;

	for (; *arguments && count + 1 < size; arguments++) {
		char *equals = strchr(*arguments, '=');

		if (!equals)
			continue;
		*equals = '\0';
		values[count++] = (struct bb_value){ .name = *arguments, .value = equals + 1 };
	}
	values[count] = (struct bb_value){ .name = NULL };
}

/* Whoever waits for a FUSE server that does not answer hears of nothing else (fuse(4)). */
static void end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int hold(const char *path, const char *groups, const char *image, char **arguments)
{
	const struct bb_mapper mapper = { .map = ask_for_groups };
	struct bb_entered entered = { .told = BB_NOT_ENTERED };
	struct bb_value values[16];
	struct bb_program program;
	int directory;
	char byte;

	end_with_parent();
	directory = bb_namespaces_open(&entered.err);
	if (directory >= 0 && load(path, &program, &entered.err) == 0) {
		read_values(arguments, values, sizeof values / sizeof *values);
		program.values = values;
		if (bb_enter(&program, atoi(image), strcmp(groups, "asked") ? NULL : &mapper, &entered.err) == 0 &&
		    bb_namespaces_self(directory, &entered.namespaces, &entered.err) == 0)
			entered.told = BB_ENTERED;
	}
	if (write(STDOUT_FILENO, &entered, sizeof entered) != sizeof entered || entered.told != BB_ENTERED)
		return FAILED;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

static int fail(const struct bb_err *err)
{
	char text[2048];

	bb_err_text(err, text, sizeof text);
	fprintf(stderr, "bareboat: %s\n", text);
	return FAILED;
}

/* Where the caller has closed a standard descriptor, what is opened next would take its number, and a FUSE server would get
 * /dev/null instead of the image.  The application finds it closed. */
static void occupy_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	bb_close(&fd);
}

static int show(const char *image, const char *server)
{
	struct bb_fuse fuse;
	struct bb_err err;
	int mount = -1;

	occupy_standard();
	end_with_parent();
	if (bb_fuse_prepare(&fuse, image, server, &err) < 0)
		return fail(&err);
	if (bb_idmap_unshare(NULL, &err) == 0)
		mount = bb_fuse_mount(&fuse, image, &err);
	bb_fuse_close(&fuse);
	return mount < 0 || bb_fd_send(STDOUT_FILENO, mount, &err) < 0 ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
	struct bb_environment environment = { .get = get, .set = set, .unset = unset };
	struct bb_program program;
	struct bb_err err;

	if (argc >= 5 && !strcmp(argv[1], "--hold"))
		return hold(argv[2], argv[3], argv[4], argv + 5);
	if (argc == 4 && !strcmp(argv[1], "--show"))
		return show(argv[2], argv[3]);
	if (argc < 4 || strcmp(argv[2], "--") != 0) {
		fprintf(stderr, "usage: bareboat-enter PROGRAM -- APP [ARG...]\n");
		return 2;
	}
	if (load(argv[1], &program, &err) < 0)
		return fail(&err);
	occupy_standard();
	if (bb_enter(&program, -1, NULL, &err) < 0 || bb_set_environment(&program, &environment, &err) < 0 ||
	    bb_settle(&program, &err) < 0)
		return fail(&err);
	return run(argv + 3);
}
