/*
 * What the five kernels share: options, the random numbers, messages to a neighbour, the result block.
 *
 * These are bareboat's own programs.  What they compute is specified in "The NAS Parallel Benchmarks", NASA report
 * NAS-94-007; sizes, seeds, reference values, tolerances and the form of the output are those of NPB 3.4.1, so that
 * what reads its output reads this.  The reference values decide: a run that misses one says UNSUCCESSFUL and ends
 * with exit code 1.
 *
 *     npb_cg [-c S|W|A|B|C]
 */
#ifndef NPB_COMMON_H
#define NPB_COMMON_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NPB_CLASSES "SWABC"
#define NPB_CLASS_COUNT 5

#define NPB_SEED 314159265u    /* of all kernels but EP */
#define NPB_EP_SEED 271828183u

/* One run of a kernel; index is that of the class in NPB_CLASSES. */
struct npb_run {
    const char *kernel;
    int index;
    char class;
    int rank;
    int ranks;
};

struct npb_result {
    const char *size;      /* as the kernel prints it, at most 24 characters */
    int iterations;
    double seconds;        /* only rank 0's counts */
    double operations;     /* of the whole run, in millions */
    const char *operation; /* what is counted */
    bool verified;         /* as far as this rank knows */
};

/* MPI_Init, the options, the title line.  Ends the program where an option is wrong. */
void npb_start(struct npb_run *run, const char *kernel, int *argc, char ***argv);

/* The result block, SUCCESSFUL if all ranks say so; MPI_Finalize; returns main's exit code. */
int npb_finish(const struct npb_run *run, const struct npb_result *result);

/* Ends the program on all ranks unless their number is a power of two up to a largest one. */
void npb_need_power_of_two(const struct npb_run *run, int largest);

/* Zeroed memory, aligned to 64 bytes; ends the program when there is none. */
void *npb_allocate(size_t count, size_t size);

/* log2 of a power of two. */
int npb_log2(int power);

/* Rank 0 prints, as printf. */
void npb_say(const struct npb_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* |value - reference| <= tolerance * |reference|; false for a value that is no number. */
bool npb_is_close(double value, double reference, double tolerance);

/* MPI_Irecv, MPI_Send, MPI_Wait of doubles: what NPB's own kernels do with a partner.  Both may be other ranks. */
void npb_exchange(const double *send, int send_count, int to, double *receive, int receive_count, int from, int tag);

/*
 * The random numbers: x(k+1) = 5^13 x(k) mod 2^46, the value is x 2^-46.  A product mod 2^64 keeps the low 46 bits
 * right, so that one multiplication of 64-bit integers is exact.
 */
#define NPB_MULTIPLIER UINT64_C(1220703125)
#define NPB_MASK ((UINT64_C(1) << 46) - 1)
#define NPB_UNIT 0x1p-46

static inline double npb_draw(uint64_t *state)
{
    *state = *state * NPB_MULTIPLIER & NPB_MASK;
    return (double)*state * NPB_UNIT;
}

/* The state after count draws. */
static inline uint64_t npb_skip(uint64_t state, uint64_t count)
{
    uint64_t factor = NPB_MULTIPLIER;
    for (; count != 0; count >>= 1) {
        if (count & 1)
            state = state * factor & NPB_MASK;
        factor = factor * factor & NPB_MASK;
    }
    return state;
}

#endif
