/* What a container's own dynamic loader would map for each of many files: one start of a container for them all.
 *   trace_loader INTERPRETER [NAME=VALUE...] < FILES
 * FILES are lines "P PATH", a program that the kernel starts, or "L PATH", a library that INTERPRETER is started with (without
 * --list, which takes a missing library for an error).  Prints for each "= PATH", what the loader says (its errors among it), and
 * "! STATUS".  Static, so that no loader runs for it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words)
{
	char *environment[64] = {"LD_TRACE_LOADED_OBJECTS=1"}, *line = NULL;
	size_t room = 0;
	ssize_t length;
	posix_spawn_file_actions_t actions;

	if (count < 2 || count > 60 || posix_spawn_file_actions_init(&actions) != 0)
		return 2;
	for (int i = 2; i < count; i++)
		environment[i - 1] = words[i];
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	while ((length = getline(&line, &room, stdin)) > 3) {
		line[length - 1] = '\0';
		char *path = line + 2, *program[] = {path, NULL}, *library[] = {words[1], path, NULL};
		char **argv = line[0] == 'P' ? program : library;
		pid_t child;
		int status;

		printf("= %s\n", path);
		fflush(stdout);
		int error = posix_spawn(&child, argv[0], &actions, NULL, argv, environment);
		if (error != 0) {
			printf("! cannot be started: %s\n", strerror(error));
			continue;
		}
		if (waitpid(child, &status, 0) != child)
			return 1;
		printf("! %d\n", status);
	}
	return 0;
}
