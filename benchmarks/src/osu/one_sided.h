/* What the two files of the one-sided tests share. */
#ifndef OSU_ONE_SIDED_H
#define OSU_ONE_SIDED_H

#include "osu.h"

struct one_sided {
    const struct options *options;
    int operation;
    enum sync sync;
    enum memory memory;
    int rank;
    int peer;
    int calls; /* of an iteration */
    int both_ways;
    enum type type;
    MPI_Datatype datatype;
    int count;
    size_t bytes;
    char *origin;
    char *result;
    char *compared;
    char *shared; /* this rank's window memory */
    MPI_Aint base; /* of the peer's window */
    MPI_Win window;
    MPI_Group partner;
    double *samples;
};

void open_window(struct one_sided *test);
void close_window(struct one_sided *test);
int is_active(const struct one_sided *test); /* the target takes part */
int is_latency(const struct one_sided *test);
void begin_passive(struct one_sided *test); /* around all iterations */
void end_passive(struct one_sided *test);
void iterate(struct one_sided *test);

#endif
