/* Does with the core what the plugin's helper and ranks do, one thing a run, so that each system call of it can be made to
 * fail: tests/integration/test_plugin_core_faults.py.
 *
 *   drive_core cache DIRECTORY KEY [ENTRY]    looks KEY up and, with ENTRY, keeps that
 *   drive_core guards FILE                    asks the guards of the entry in FILE
 *   drive_core join PROGRAM PID USER MNT DEVICE INODE APP [ARG...]    joins, settles and executes APP
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "join.h"
#include "sys.h"

static char data[BB_ENTRY_MAX];

/* Without stdio, whose system calls are not those of the core. */
static void say(const char *text, const char *more, size_t size)
{
	char line[4096];
	size_t at = bb_put(line, sizeof line, 0, text);

	for (; size && at < sizeof line - 1; size--)
		line[at++] = *more++;
	line[at++] = '\n';
	if (write(STDOUT_FILENO, line, at) < 0)
		_exit(2);
}

static int fail(const struct bb_err *err)
{
	char text[2048];

	bb_err_text(err, text, sizeof text);
	fprintf(stderr, "bareboat: %s\n", text);
	return 125;
}

/* By one read, as what is read here is not what is tested. */
static size_t read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, data, sizeof data);

	bb_close(&fd);
	return got < 0 ? 0 : (size_t)got;
}

static int use_cache(const char *directory, const char *text, const char *entry)
{
	static struct bb_key key;
	struct bb_err err;
	int cache;
	size_t size;

	bb_key_add(&key, text);
	cache = bb_cache_open(directory, &err);
	if (cache < 0)
		return fail(&err);
	size = bb_cache_load(cache, &key, data, sizeof data);
	say(size ? "hit " : "miss", data, size);
	if (entry)
		say(bb_cache_store(cache, &key, entry, strlen(entry)) == 0 ? "kept" : "not kept", "", 0);
	bb_close(&cache);
	return 0;
}

static int ask_guards(const char *path)
{
	struct bb_entry entry;
	struct bb_err err;
	const char *broken;

	if (bb_entry_open(&entry, data, read_file(path), &err) < 0)
		return fail(&err);
	if (bb_entry_holds(&entry, &broken))
		say("holds", "", 0);
	else
		say("broken ", broken, strlen(broken));
	return 0;
}

static int get(void *unused, const char *name, char *value, size_t size)
{
	const char *found = getenv(name);

	(void)unused;
	return found && (size_t)snprintf(value, size, "%s", found) < size ? 0 : -1;
}

static int set(void *unused, const char *name, const char *value)
{
	(void)unused;
	return setenv(name, value, 1);
}

static int unset(void *unused, const char *name)
{
	(void)unused;
	return unsetenv(name);
}

static int join(char **arguments)
{
	const struct bb_environment environment = { .get = get, .set = set, .unset = unset };
	const struct bb_namespaces namespaces = {
		.pid = (pid_t)strtol(arguments[1], NULL, 10),
		.user = strtoull(arguments[2], NULL, 10),
		.mnt = strtoull(arguments[3], NULL, 10),
		.root_device = strtoull(arguments[4], NULL, 10),
		.root_inode = strtoull(arguments[5], NULL, 10),
	};
	struct bb_program program;
	struct bb_err err;

	if (bb_program_open(&program, data, read_file(arguments[0]), &err) < 0 || bb_join(&namespaces, &err) < 0 ||
	    bb_set_environment(&program, &environment, &err) < 0 || bb_settle(&program, &err) < 0)
		return fail(&err);
	execv(arguments[6], arguments + 6);
	return 126;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "cache"))
		return use_cache(argv[2], argv[3], argv[4]);
	if (argc == 3 && !strcmp(argv[1], "guards"))
		return ask_guards(argv[2]);
	if (argc >= 9 && !strcmp(argv[1], "join"))
		return join(argv + 2);
	return 2;
}
