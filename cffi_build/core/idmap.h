/* A user namespace in which the user keeps the own uid and gid. */
#ifndef BB_IDMAP_H
#define BB_IDMAP_H

#include "err.h"

/* Moves the calling (single-threaded) process into new user and mount namespaces and maps its effective uid and
 * gid to themselves.  Supplementary groups stay in force but show as the overflow gid (user_namespaces(7)). */
int bb_idmap_unshare(struct bb_err *err);

#endif
