/*
 * MG's cube: its levels, how the processes divide it, and what they tell each other about it.
 */
#ifndef NPB_MG_GRID_H
#define NPB_MG_GRID_H

#include "common.h"

#define LEAST 4
#define LEVELS 10 /* level k has 2^k cells along an axis */

enum axis { X, Y, Z, AXES };

struct level {
    int length[AXES]; /* of this process's part, without its halo */
    size_t row;       /* from a cell to the next in y */
    size_t plane;     /* to the next in z */
    size_t cells;     /* with the halo */
    bool spread;      /* over the processes; otherwise each holds all of it */
    double *u;        /* the correction; on top the solution */
    double *r;        /* the residual */
};

struct problem {
    struct npb_run run;
    int top;
    int count[AXES]; /* processes along an axis */
    int place[AXES]; /* of this one */
    struct level levels[LEVELS];
    const double *smoother;
    double *v; /* the charges */
    double *send;
    double *receive;
    double *faces; /* sums over the neighbours of each cell of a row across a face, not along it */
    double *edges; /* and across an edge, not along it */
};

static inline size_t at(const struct level *level, int z, int y)
{
    return (size_t)z * level->plane + (size_t)y * level->row;
}

/* The largest number of processes for 2^top cells along an axis. */
int largest_count(int top);

/* Divides the cube of 2^top cells along an axis, and allocates all that problem points to. */
void divide_cube(struct problem *problem, int top);

/* Fills the halo of one of a level's arrays. */
void fill_halo(struct problem *problem, const struct level *level, double *data);

/* Where this process's cells begin in the arrays of the coarse level below a fine one (its halo's first cell). */
size_t own_part(const struct problem *problem, const struct level *coarse, const struct level *fine);

/* Of a level that each process holds below one that is spread: the others' parts of the residual. */
void gather(struct problem *problem, const struct level *coarse, const struct level *fine);

/* v: +1 in the ten cells with the largest random numbers, -1 in those with the smallest. */
void place_charges(struct problem *problem);

#endif
