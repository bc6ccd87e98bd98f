/*
 * FT, Fourier transform: a heat equation on a periodic box, solved in the frequencies.
 *
 * The processes divide the box along z; for the transform along z an Alltoall divides it along y instead:
 *
 *     in space        [z of this process][y][x]
 *     in frequencies  [z][y of this process][x]
 *
 * Blocks from the others then lie one after the other in the right place, so that only one side of each exchange has
 * to be copied.
 */
#include "common.h"
#include "fft.h"

#include <math.h>

#define ALPHA 1e-6
#define POINTS 1024 /* of a checksum */
#define MOST_ITERATIONS 20
#define FORWARD (-1)
#define BACK 1

static const struct {
    int x;
    int y;
    int z;
    int iterations;
} classes[NPB_CLASS_COUNT] = {
    {64, 64, 64, 6}, {128, 128, 32, 6}, {256, 256, 128, 6}, {512, 256, 256, 20}, {512, 512, 512, 20},
};

#include "ft_sums.h"

struct problem {
    struct npb_run run;
    int x;
    int y;
    int z;
    int own_y;
    int own_z;
    size_t numbers;             /* of this process */
    struct number *frequencies; /* of the state so far */
    struct number *space;
    struct number *other; /* NULL for one process */
    double *decay[3];     /* factors of one step by frequency along x, y and z */
    struct fft fft[3];
};

/* The random state of the start: one number of the sequence each for real and imaginary part, x fastest. */
static void make_state(struct problem *problem)
{
    uint64_t state = npb_skip(NPB_SEED, 2 * (uint64_t)problem->numbers * (uint64_t)problem->run.rank);

    for (size_t i = 0; i < problem->numbers; i++) {
        problem->space[i].re = npb_draw(&state);
        problem->space[i].im = npb_draw(&state);
    }
}

static void make_decay(double *decay, int length)
{
    double pi = acos(-1.0);

    for (int k = 0; k < length; k++) {
        double frequency = k < length / 2 ? k : k - length;
        decay[k] = exp(-4.0 * ALPHA * pi * pi * frequency * frequency);
    }
}

static void exchange(const struct problem *problem, const struct number *send, struct number *receive)
{
    int count = (int)(2 * problem->numbers / (size_t)problem->run.ranks);
    MPI_Alltoall(send, count, MPI_DOUBLE, receive, count, MPI_DOUBLE, MPI_COMM_WORLD);
}

/* Rows of a box in space, and the order in which blocks for the others have them. */
static void reorder(const struct problem *problem, struct number *box, struct number *blocks, bool out)
{
    size_t rows = (size_t)problem->own_y * (size_t)problem->x; /* what one plane has for one process */

    for (int process = 0; process < problem->run.ranks; process++) {
        for (int z = 0; z < problem->own_z; z++) {
            struct number *part = box + (size_t)(z * problem->run.ranks + process) * rows;
            struct number *block = blocks + (size_t)(process * problem->own_z + z) * rows;
            memcpy(out ? block : part, out ? part : block, rows * sizeof *box);
        }
    }
}

static void transform_planes(struct problem *problem, int sign)
{
    size_t row = (size_t)problem->x;

    for (int z = 0; z < problem->own_z; z++) {
        struct number *plane = problem->space + (size_t)z * (size_t)problem->y * row;
        if (sign == FORWARD)
            fft_lines(&problem->fft[0], sign, plane, 1, problem->y, row);
        fft_lines(&problem->fft[1], sign, plane, row, problem->x, 1);
        if (sign == BACK)
            fft_lines(&problem->fft[0], sign, plane, 1, problem->y, row);
    }
}

static void transform_depth(struct problem *problem, struct number *data, int sign)
{
    size_t plane = (size_t)problem->own_y * (size_t)problem->x;
    fft_lines(&problem->fft[2], sign, data, plane, problem->own_y * problem->x, 1);
}

/* From space to frequencies. */
static void transform_forward(struct problem *problem)
{
    transform_planes(problem, FORWARD);
    if (problem->other != NULL) {
        reorder(problem, problem->space, problem->other, true);
        exchange(problem, problem->other, problem->frequencies);
    } else {
        memcpy(problem->frequencies, problem->space, problem->numbers * sizeof *problem->space);
    }
    transform_depth(problem, problem->frequencies, FORWARD);
}

/* What lies in space in the order of frequencies becomes the box in space. */
static void transform_back(struct problem *problem)
{
    transform_depth(problem, problem->space, BACK);
    if (problem->other != NULL) {
        exchange(problem, problem->space, problem->other);
        reorder(problem, problem->space, problem->other, false);
    }
    transform_planes(problem, BACK);
}

/* One step in time: the frequencies decay; a copy goes to space. */
static void evolve(struct problem *problem)
{
    size_t i = 0;

    for (int z = 0; z < problem->z; z++) {
        for (int y = 0; y < problem->own_y; y++) {
            double factor = problem->decay[2][z] * problem->decay[1][problem->run.rank * problem->own_y + y];
            for (int x = 0; x < problem->x; x++, i++) {
                double decay = factor * problem->decay[0][x];
                problem->frequencies[i].re *= decay;
                problem->frequencies[i].im *= decay;
                problem->space[i] = problem->frequencies[i];
            }
        }
    }
}

/* The sum is rank 0's. */
static void add_checksum(const struct problem *problem, double *sum)
{
    double mine[2] = {0.0, 0.0};
    double total = (double)problem->x * problem->y * problem->z;
    int first = problem->run.rank * problem->own_z;

    for (int j = 1; j <= POINTS; j++) {
        int x = j % problem->x;
        int y = 3 * j % problem->y;
        int z = 5 * j % problem->z - first;
        if (z < 0 || z >= problem->own_z)
            continue;
        const struct number *number =
            &problem->space[((size_t)z * (size_t)problem->y + (size_t)y) * (size_t)problem->x + (size_t)x];
        mine[0] += number->re / total;
        mine[1] += number->im / total;
    }
    MPI_Reduce(mine, sum, 2, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
}

static void prepare(struct problem *problem)
{
    const int lengths[] = {problem->x, problem->y, problem->z};

    make_state(problem);
    for (int axis = 0; axis < 3; axis++)
        make_decay(problem->decay[axis], lengths[axis]);
    transform_forward(problem);
}

static void allocate_all(struct problem *problem)
{
    const int lengths[] = {problem->x, problem->y, problem->z};

    problem->frequencies = npb_allocate(problem->numbers, sizeof(struct number));
    problem->space = npb_allocate(problem->numbers, sizeof(struct number));
    problem->other = problem->run.ranks > 1 ? npb_allocate(problem->numbers, sizeof(struct number)) : NULL;
    for (int axis = 0; axis < 3; axis++) {
        problem->decay[axis] = npb_allocate((size_t)lengths[axis], sizeof(double));
        fft_make(&problem->fft[axis], lengths[axis]);
    }
}

int main(int argc, char **argv)
{
    struct problem problem = {.x = 0};
    double sums[MOST_ITERATIONS][2];
    char size[32];
    bool verified = true;

    npb_start(&problem.run, "FT", &argc, &argv);
    int index = problem.run.index;
    int ranks = problem.run.ranks;
    int iterations = classes[index].iterations;
    problem.x = classes[index].x;
    problem.y = classes[index].y;
    problem.z = classes[index].z;
    npb_need_power_of_two(&problem.run, problem.y < problem.z ? problem.y : problem.z);
    problem.own_y = problem.y / ranks;
    problem.own_z = problem.z / ranks;
    problem.numbers = (size_t)problem.x * (size_t)problem.y * (size_t)problem.own_z;
    snprintf(size, sizeof size, "%4dx%4dx%4d", problem.x, problem.y, problem.z);
    npb_say(&problem.run, " Size                : %s  (class %c)\n", size, problem.run.class);
    npb_say(&problem.run, " Iterations          :%15d\n Number of processes :%15d\n", iterations, ranks);
    npb_say(&problem.run, " Processor array     :%10dx%4d\n", 1, ranks);
    npb_say(&problem.run, " Layout type         :%15s\n\n", ranks == 1 ? "0D" : "1D");

    double start = MPI_Wtime();
    allocate_all(&problem);
    prepare(&problem);
    evolve(&problem);
    transform_back(&problem);
    npb_say(&problem.run, " Initialization time =%12.4f\n\n", MPI_Wtime() - start);

    MPI_Barrier(MPI_COMM_WORLD);
    start = MPI_Wtime();
    prepare(&problem);
    for (int i = 0; i < iterations; i++) {
        evolve(&problem);
        transform_back(&problem);
        add_checksum(&problem, sums[i]);
        npb_say(&problem.run, " T = %4d     Checksum = %22.12E %22.12E\n", i + 1, sums[i][0], sums[i][1]);
    }
    double elapsed = MPI_Wtime() - start;

    for (int i = 0; i < iterations && problem.run.rank == 0; i++) {
        double error = hypot(sums[i][0] - published[index][i][0], sums[i][1] - published[index][i][1]);
        if (!(error <= 1e-12 * hypot(published[index][i][0], published[index][i][1])))
            verified = false;
    }
    npb_say(&problem.run, " Result verification %s\n", verified ? "successful" : "failed");
    double total = (double)problem.x * problem.y * problem.z;
    struct npb_result result = {
        .size = size,
        .iterations = iterations,
        .seconds = elapsed,
        .operations =
            1e-6 * total * (14.8157 + 7.19641 * log(total) + (5.23518 + 7.21113 * log(total)) * iterations),
        .operation = "floating point",
        .verified = verified,
    };
    return npb_finish(&problem.run, &result);
}
