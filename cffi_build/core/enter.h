/* Enter: makes the namespaces of a step on a node by running a program's mounts. */
#ifndef BB_ENTER_H
#define BB_ENTER_H

#include "idmap.h"
#include "program.h"

/* Moves the calling single-threaded process into new user and mount namespaces whose root is the program's; `mapper` as
 * for bb_idmap_unshare.  `image` is a detached mount of a squashfs image, which somebody else (root, for the plugin) has
 * made, and is closed in any case; -1 where there is none, and a FUSE server is started then.
 * It must have been executed as the user: /proc/self of one that changed its uid is root's (proc(5)), and nothing that was
 * root's may be made dumpable, which lets the user read its memory.
 * On failure the process may be left half way in them: it has to exit. */
int bb_enter(const struct bb_program *program, int image, const struct bb_mapper *mapper, struct bb_err *err);

#endif
