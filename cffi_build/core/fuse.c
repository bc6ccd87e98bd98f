#define _GNU_SOURCE
#include "fuse.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mount.h"
#include "sys.h"

/* Room for one descriptor beside the byte that carries it (unix(7), cmsg(3)). */
union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

int bb_fd_send(int channel, int fd, struct bb_err *err)
{
	union control control = { .room = { 0 } };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(channel, &message, MSG_NOSIGNAL) != 1)
		return bb_fail(err, errno, "hand over", "a mount");
	return 0;
}

int bb_fd_receive(int channel)
{
	union control control = { .room = { 0 } };
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	struct cmsghdr *header;
	ssize_t got;
	int fd;

	do
		got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

static void fd_path(const char *directory, int fd, char text[static 32])
{
	size_t at = bb_put(text, 32, 0, directory);

	bb_put_number(text, 32, at, (unsigned)fd);
}

/* Closes all descriptors from 3 on but these two.  The other end of the channel is among them: with a copy of it open, its end
 * would never be seen. */
static void close_all_but(int one, int other)
{
	unsigned low = (unsigned)(one < other ? one : other), high = (unsigned)(one < other ? other : one);

	if (low > 3)
		sys_close_range(3, low - 1, 0);
	if (high > low + 1)
		sys_close_range(low + 1, high - 1, 0);
	sys_close_range(high + 1, ~0U, 0);
}

/* Becomes the server once the descriptor of its device has come; in a session of its own, which a terminal's signals do
 * not reach.  It inherits nothing else: what it holds open would not end before it does. */
static void serve(int channel, int image, int complaint, const char *server) __attribute__((noreturn));

static void serve(int channel, int image, int complaint, const char *server)
{
	static const char what[] = "it cannot be executed: ";
	char archive[32], device[32];
	const char *argv[] = { server, "-f", archive, device, NULL }, *reason;
	char *environment[] = { NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fuse;
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* What it says later is heard by nobody. */
	signal(SIGPIPE, SIG_IGN);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(complaint, STDERR_FILENO);
	close_all_but(channel, image);
	fuse = bb_fd_receive(channel);
	if (fuse < 0)
		_exit(1);
	/* libfuse takes such a path for a device that is mounted already (mount.fuse3(8)). */
	fd_path("/proc/self/fd/", image, archive);
	fd_path("/dev/fd/", fuse, device);
	if (fcntl(image, F_SETFD, 0) == 0 && fcntl(fuse, F_SETFD, 0) == 0)
		execve(server, (char **)(uintptr_t)argv, environment);
	reason = bb_describe(errno);
	if (write(STDERR_FILENO, what, sizeof what - 1) > 0 && write(STDERR_FILENO, reason, strlen(reason)) < 0)
		_exit(126);
	_exit(127);
}

/* A grandchild: nobody in the step waits for it or is told of its end. */
static int start(int channel, int image, int complaint, const char *server)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		pid_t grandchild = fork();

		if (grandchild == 0)
			serve(channel, image, complaint, server);
		_exit(grandchild < 0 ? errno : 0);
	}
	if (child < 0)
		return -1;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return errno ? -1 : 0;
}

static int open_image(const char *path, struct bb_err *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat status;

	if (fd < 0)
		return bb_fail(err, errno, "open the image", path);
	errno = EINVAL; /* where fstat(2) does not fail */
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		return fd;
	bb_fail(err, errno, "open the image", path);
	bb_close(&fd);
	return -1;
}

int bb_fuse_prepare(struct bb_fuse *fuse, const char *image, const char *server, struct bb_err *err)
{
	int file = open_image(image, err), channel[2] = { -1, -1 }, complaint[2] = { -1, -1 }, rc = -1;

	*fuse = (struct bb_fuse){ -1, -1 };
	if (file < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0 ||
	    pipe2(complaint, O_CLOEXEC | O_NONBLOCK) < 0 || start(channel[1], file, complaint[1], server) < 0)
		bb_fail(err, errno, "start", server);
	else
		rc = 0;
	if (rc == 0)
		*fuse = (struct bb_fuse){ channel[0], complaint[0] };
	else {
		bb_close(&channel[0]);
		bb_close(&complaint[0]);
	}
	bb_close(&channel[1]);
	bb_close(&complaint[1]);
	bb_close(&file);
	return rc;
}

/* "IMAGE (squashfuse_ll: its last words)" */
static int complain(struct bb_fuse *fuse, int errnum, const char *image, struct bb_err *err)
{
	char text[256], where[sizeof err->path];
	ssize_t got = read(fuse->complaint, text, sizeof text - 1);
	size_t at = bb_put(where, sizeof where, 0, image);

	if (got > 0) {
		text[got] = '\0';
		text[strcspn(text, "\n")] = '\0';
		at = bb_put(where, sizeof where, at, " (its FUSE server says: ");
		at = bb_put(where, sizeof where, at, text);
		bb_put(where, sizeof where, at, ")");
	}
	return bb_fail(err, errnum, "read the squashfs image", where);
}

int bb_fuse_mount(struct bb_fuse *fuse, const char *image, struct bb_err *err)
{
	/* In this user namespace: the kernel takes no device of another one for a mount (fuse(4)). */
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), mount = -1;
	struct stat status;

	if (device < 0)
		return bb_fail(err, errno, "open the FUSE device", "/dev/fuse");
	mount = bb_mount_fuse(device, image, err);
	if (mount >= 0 && bb_fd_send(fuse->channel, device, err) < 0)
		bb_close(&mount);
	/* From here on the server alone has it: when that ends, the mount says so instead of waiting for ever. */
	bb_close(&device);
	bb_close(&fuse->channel);
	if (mount >= 0 && fstat(mount, &status) < 0) {
		complain(fuse, errno, image, err);
		bb_close(&mount);
	}
	bb_close(&fuse->complaint);
	return mount;
}

void bb_fuse_close(struct bb_fuse *fuse)
{
	bb_close(&fuse->channel);
	bb_close(&fuse->complaint);
}
