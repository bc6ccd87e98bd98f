/* What an attacker types, as one static program that needs nothing of an image.  Each command prints one line a try:
 *   ids                    who it is, its capabilities, and whether it may gain privileges
 *   open PATH...           opens each for reading
 *   clear FLAG PATH        takes ro, nosuid or nodev from the mount at PATH
 *   recast FLAG PATH       takes it from a copy of the mount at PATH
 *   remount PATH           takes all flags by mount(2), and "ro" from the file system itself
 *   umount PATH            unmounts what is on top there
 *   uncover PATH           copies the mount at PATH without those below it
 *   write PATH...          opens each for writing
 *   trace PID              ptrace(2)s it
 *   swap A B               exchanges the two names until it is ended
 *   within PID COMMAND...  does the command in the user and mount namespaces of PID, with all their capabilities
 *   forge TOLD PID USER MNT  waits for a bareboat-hold of its user's, and speaks in its name (PID may be "holder") */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "join.h"

static int tell(const char *what, const char *path, int rc)
{
	printf("%s %s: %s\n", what, path, rc < 0 ? strerror(errno) : "done");
	fflush(stdout);
	return 0;
}

static int ids(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	printf("uid %u %u gid %u %u", getuid(), geteuid(), getgid(), getegid());
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "CapPrm", 6) || !strncmp(line, "CapEff", 6) || !strncmp(line, "NoNewPrivs", 10)) {
			line[strcspn(line, "\n")] = '\0';
			printf(" %.*s %s", (int)strcspn(line, ":"), line, line + strcspn(line, ":") + 2);
		}
	puts("");
	return 0;
}

static int clear(const char *flag, const char *path, bool copy)
{
	struct mount_attr attr = { .attr_clr = !strcmp(flag, "ro") ? MOUNT_ATTR_RDONLY :
					       !strcmp(flag, "nosuid") ? MOUNT_ATTR_NOSUID : MOUNT_ATTR_NODEV };
	int at = copy ? (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE) : AT_FDCWD;
	char what[64];

	snprintf(what, sizeof what, "%s %s", copy ? "recast" : "clear", flag);
	if (copy && at < 0)
		return tell("copy", path, -1);
	return tell(what, path, (int)syscall(SYS_mount_setattr, at, copy ? "" : path, copy ? AT_EMPTY_PATH : 0, &attr, sizeof attr));
}

static int remount(const char *path)
{
	int fs;

	tell("remount", path, (int)syscall(SYS_mount, "none", path, NULL, 4096 | 32 /* MS_BIND | MS_REMOUNT */, NULL));
	fs = (int)syscall(SYS_fspick, AT_FDCWD, path, 0);
	if (fs >= 0 && syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "rw", NULL, 0) == 0)
		return tell("reconfigure", path, (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	return tell("reconfigure", path, -1);
}

static int within(const char *pid)
{
	static const char *const kinds[] = { "user", "mnt" };
	int fds[2];

	for (int i = 0; i < 2; i++) {
		char path[64];

		snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kinds[i]);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			return tell("open", path, -1) - 1;
	}
	for (int i = 0; i < 2; i++)
		if (setns(fds[i], 0) < 0)
			return tell("enter", kinds[i], -1) - 1;
	return 0;
}

static int swap(const char *left, const char *right)
{
	for (;;)
		if (syscall(SYS_renameat2, AT_FDCWD, left, AT_FDCWD, right, 2 /* RENAME_EXCHANGE */) < 0)
			return tell("swap", left, -1);
}

/* The standard output of a bareboat-hold of this user's; -1 where there is none now. */
static int find_holder(pid_t *pid)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int found = -1;

	while (processes && found < 0 && (entry = readdir(processes))) {
		char path[300], line[256] = "";
		int fd;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, line, sizeof line - 1) > 0 && !strcmp(line + strlen(line) + 1, "--hold")) {
			*pid = atoi(entry->d_name);
			snprintf(path, sizeof path, "/proc/%s/fd/1", entry->d_name);
			found = open(path, O_WRONLY | O_NONBLOCK);
		}
		close(fd);
	}
	closedir(processes);
	return found;
}

static int forge(char **words)
{
	struct bb_entered message = { .told = (enum bb_told)atoi(words[0]) };
	pid_t holder = 0;
	int fd;

	memset(message.err.operation, 'O', sizeof message.err.operation);
	memset(message.err.path, 'P', sizeof message.err.path);
	message.err.errnum = EPERM;
	message.namespaces.pid = atoi(words[1]);
	message.namespaces.user = strtoull(words[2], NULL, 10);
	message.namespaces.mnt = strtoull(words[3], NULL, 10);
	puts("ready");
	fflush(stdout);
	while ((fd = find_holder(&holder)) < 0)
		;
	if (!strcmp(words[1], "holder"))
		message.namespaces.pid = holder;
	return tell("forge", "a message", write(fd, &message, sizeof message) == sizeof message ? 0 : -1);
}

static int command(int argc, char **argv)
{
	const char *name = argc ? argv[0] : "";

	if (!strcmp(name, "ids"))
		return ids();
	if (!strcmp(name, "open") || !strcmp(name, "write")) {
		for (int i = 1; i < argc; i++)
			tell(name, argv[i], open(argv[i], (name[0] == 'w' ? O_WRONLY : O_RDONLY) | O_NONBLOCK));
		return 0;
	}
	if (!strcmp(name, "uncover") && argc == 2)
		return tell(name, argv[1], (int)syscall(SYS_open_tree, AT_FDCWD, argv[1], OPEN_TREE_CLONE));
	if ((!strcmp(name, "clear") || !strcmp(name, "recast")) && argc == 3)
		return clear(argv[1], argv[2], name[0] == 'r');
	if (!strcmp(name, "remount") && argc == 2)
		return remount(argv[1]);
	if (!strcmp(name, "umount") && argc == 2)
		return tell(name, argv[1], (int)syscall(SYS_umount2, argv[1], 0));
	if (!strcmp(name, "trace") && argc == 2)
		return tell(name, argv[1], (int)ptrace(PTRACE_ATTACH, atoi(argv[1]), NULL, NULL));
	if (!strcmp(name, "swap") && argc == 3)
		return swap(argv[1], argv[2]);
	if (!strcmp(name, "forge") && argc == 5)
		return forge(argv + 1);
	if (!strcmp(name, "within") && argc > 2)
		return within(argv[1]) < 0 ? 1 : command(argc - 2, argv + 2);
	fprintf(stderr, "no such attack: %s\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	return command(argc - 1, argv + 1);
}
