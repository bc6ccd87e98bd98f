/* Read-ahead: what the first rank's exec will need of an image, while the container is made. */
#ifndef BB_AHEAD_H
#define BB_AHEAD_H

#include "program.h"

/* Has the kernel read the next file that the program names for this, below the descriptor `root` of the image; `*cursor` is
 * 0 at first.  False where there is none left.  A file that is not there was looked for, which is read just as well. */
bool bb_read_ahead(const struct bb_program *program, size_t *cursor, int root);

#endif
