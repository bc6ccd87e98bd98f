/* A user namespace in which the user keeps the own uid and gid. */
#ifndef BB_IDMAP_H
#define BB_IDMAP_H

#include "err.h"

/* Who maps the groups: `map` returns 1 where somebody else (root, from outside) has done so, 0 where nobody will, -1 (and
 * errno) where that cannot be known.  A process without root may map only its own gid. */
struct bb_mapper {
	int (*map)(void *data);
	void *data;
};

/* Moves the calling (single-threaded) process into new user and mount namespaces and maps its effective uid to itself;
 * its groups by `mapper`, or, where that is NULL or says no, its effective gid alone.  Groups that are not mapped stay
 * in force but show as the overflow gid (user_namespaces(7)). */
int bb_idmap_unshare(const struct bb_mapper *mapper, struct bb_err *err);

#endif
