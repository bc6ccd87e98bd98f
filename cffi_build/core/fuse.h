/* An image that is a squashfs file, shown by a FUSE server that runs as the user.
 *
 * The server stays outside the namespaces that see its mount, and holds nothing of them: when the last process in them
 * has ended, however it did, the mount is gone, and the server, whose device then says so, ends by itself (fuse(4)). */
#ifndef BB_FUSE_H
#define BB_FUSE_H

#include "err.h"

struct bb_fuse {
	int channel;   /* to what will be the server; -1 where there is none */
	int complaint; /* the server's standard error */
};

/* Forks what becomes the server (`server`, called as squashfuse_ll(1) is) of the squashfs file `image`.  To be called before
 * the process enters the namespaces that are to see the mount.  On failure nothing is left. */
int bb_fuse_prepare(struct bb_fuse *fuse, const char *image, const char *server, struct bb_err *err);

/* In the new user namespace: starts the server and returns the image as a detached mount that answers. */
int bb_fuse_mount(struct bb_fuse *fuse, const char *image, struct bb_err *err);

/* Ends a server that was never started. */
void bb_fuse_close(struct bb_fuse *fuse);

/* Sends a descriptor (and one byte) through a socket, and receives one; unix(7). */
int bb_fd_send(int channel, int fd, struct bb_err *err);
int bb_fd_receive(int channel);

#endif
