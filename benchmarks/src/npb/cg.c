/*
 * CG, conjugate gradient: the smallest eigenvalue of a sparse matrix of random pattern, by inverse iteration.
 *
 * The processes form a grid with as many columns as rows, or twice as many.  Each has one block of the matrix.  A
 * vector is cut into one part a column, which all processes of the column hold; a product's partial sums are added
 * along the row of the grid and then change places with the partner across the diagonal.  All messages are pairs of
 * Irecv and Send, as in NPB's: there is no collective in the timed part.
 */
#include "common.h"

#include <math.h>

#define STEPS 25 /* of conjugate gradient for each step of inverse iteration */
#define CONDITION 0.1
#define MOST_PROCESSES (1 << 20) /* a grid of 1024 x 1024, fewer than the order of class S */
#define TAG_SUM 1
#define TAG_SWAP 2
#define SEED_DRAWS 1 /* one number is drawn before the matrix is made */

static const struct {
    int order;
    int nonzeros; /* of each random vector */
    int iterations;
    double shift;
    double zeta;
} classes[NPB_CLASS_COUNT] = {
    {1400, 7, 15, 10.0, 8.5971775078648},    {7000, 8, 15, 12.0, 10.362595087124},
    {14000, 11, 15, 20.0, 17.130235054029},  {75000, 13, 75, 60.0, 22.712745482631},
    {150000, 15, 75, 110.0, 28.973605592845},
};

struct problem {
    struct npb_run run;
    int order;
    int rows; /* of the grid of processes */
    int columns;
    int row; /* this process's place in it */
    int column;
    int partner;     /* with whom a product's parts change places */
    int part_start;  /* of what the partner gets, in this row's part */
    int part_length;
    int low;         /* matrix rows low <= i < low + height and columns left <= j < left + width are here */
    int height;
    int left;
    int width;
    int *starts; /* of the rows in the two that follow */
    int *places; /* columns, from left */
    double *values;
    double *product; /* height */
    double *other;
    double *x; /* width, as all that follow */
    double *z;
    double *p;
    double *q;
    double *r;
};

/* The random vectors whose outer products make up the matrix: vector i has counts[i] entries from i * stride. */
struct vectors {
    int stride;
    int *counts;
    int *places;
    double *values;
};

/* Where part index of count parts of a vector begins. */
static int cut(const struct problem *problem, int index, int count)
{
    return (int)((int64_t)problem->order * index / count);
}

static void place_in_grid(struct problem *problem)
{
    int log = npb_log2(problem->run.ranks);
    problem->rows = 1 << log / 2;
    problem->columns = problem->run.ranks / problem->rows;
    problem->row = problem->run.rank / problem->columns;
    problem->column = problem->run.rank % problem->columns;

    problem->low = cut(problem, problem->row, problem->rows);
    problem->height = cut(problem, problem->row + 1, problem->rows) - problem->low;
    problem->left = cut(problem, problem->column, problem->columns);
    problem->width = cut(problem, problem->column + 1, problem->columns) - problem->left;

    int ratio = problem->columns / problem->rows; /* parts of a column in the part of a row */
    int part = problem->row * ratio + problem->column % ratio;
    problem->partner = problem->column / ratio * problem->columns + part;
    problem->part_start = cut(problem, part, problem->columns) - problem->low;
    problem->part_length = cut(problem, part + 1, problem->columns) - problem->low - problem->part_start;
}

static bool holds(const int *places, int count, int place)
{
    for (int i = 0; i < count; i++)
        if (places[i] == place)
            return true;
    return false;
}

/* Every process makes all of them: they follow from one sequence, of which nobody knows which draws are rejected. */
static struct vectors make_vectors(const struct problem *problem)
{
    int order = problem->order;
    int nonzeros = classes[problem->run.index].nonzeros;
    uint64_t state = npb_skip(NPB_SEED, SEED_DRAWS);
    int power = 2;
    struct vectors all = {.stride = nonzeros + 1};

    while (power < order)
        power *= 2;
    all.counts = npb_allocate((size_t)order, sizeof(int));
    all.places = npb_allocate((size_t)order * (size_t)all.stride, sizeof(int));
    all.values = npb_allocate((size_t)order * (size_t)all.stride, sizeof(double));
    for (int i = 0; i < order; i++) {
        int *places = all.places + (size_t)i * (size_t)all.stride;
        double *values = all.values + (size_t)i * (size_t)all.stride;
        int count = 0;
        bool diagonal = false;
        while (count < nonzeros) {
            double value = npb_draw(&state);
            int place = (int)(power * npb_draw(&state));
            if (place >= order || holds(places, count, place))
                continue;
            places[count] = place;
            values[count++] = value;
        }
        for (int k = 0; k < count; k++) {
            if (places[k] == i) {
                values[k] = 0.5;
                diagonal = true;
            }
        }
        if (!diagonal) {
            places[count] = i;
            values[count++] = 0.5;
        }
        all.counts[i] = count;
    }
    return all;
}

/* Where row place of the matrix is here, or -1; likewise for columns. */
static int inside(int place, int start, int length)
{
    return place >= start && place < start + length ? place - start : -1;
}

/* The summands of the matrix's elements that are here, by row; a place may occur several times in a row.
   places NULL: only how many there are in row i, in ends[i]. */
static void scatter(const struct problem *problem, const struct vectors *all, int *ends, int *places, double *values)
{
    double scale = 1.0;
    double ratio = pow(CONDITION, 1.0 / problem->order);
    double diagonal = CONDITION - classes[problem->run.index].shift;

    for (int i = 0; i < problem->order; i++) {
        const int *vector = all->places + (size_t)i * (size_t)all->stride;
        const double *entries = all->values + (size_t)i * (size_t)all->stride;
        for (int a = 0; a < all->counts[i]; a++) {
            int row = inside(vector[a], problem->low, problem->height);
            if (row < 0)
                continue;
            for (int b = 0; b < all->counts[i]; b++) {
                int column = inside(vector[b], problem->left, problem->width);
                if (column < 0)
                    continue;
                if (places != NULL) {
                    places[ends[row]] = column;
                    values[ends[row]] = entries[b] * (scale * entries[a]);
                    if (vector[a] == i && vector[b] == i)
                        values[ends[row]] += diagonal;
                }
                ends[row]++;
            }
        }
        scale *= ratio;
    }
}

static int compare_places(const void *first, const void *second)
{
    return *(const int *)first - *(const int *)second;
}

/* Adds up what belongs to one element, and puts each row in the order of its columns. */
static void add_up(struct problem *problem)
{
    double *sums = npb_allocate((size_t)problem->width, sizeof *sums);
    int *marks = npb_allocate((size_t)problem->width, sizeof *marks); /* in which row a column was last seen, from 1 */
    int end = 0;

    for (int row = 0; row < problem->height; row++) {
        int first = problem->starts[row];
        int count = 0;
        problem->starts[row] = end;
        for (int k = first; k < problem->starts[row + 1]; k++) {
            int place = problem->places[k];
            if (marks[place] != row + 1) {
                marks[place] = row + 1;
                sums[place] = 0.0;
                problem->places[end + count++] = place; /* never ahead of k */
            }
            sums[place] += problem->values[k];
        }
        qsort(problem->places + end, (size_t)count, sizeof(int), compare_places);
        for (int k = end; k < end + count; k++)
            problem->values[k] = sums[problem->places[k]];
        end += count;
    }
    problem->starts[problem->height] = end;
    free(sums);
    free(marks);
}

static void make_matrix(struct problem *problem)
{
    struct vectors all = make_vectors(problem);
    size_t height = (size_t)problem->height;
    int *ends = npb_allocate(height, sizeof(int));
    int total = 0;

    problem->starts = npb_allocate(height + 1, sizeof(int));
    scatter(problem, &all, ends, NULL, NULL);
    for (int row = 0; row < problem->height; row++) {
        int count = ends[row];
        problem->starts[row] = ends[row] = total;
        total += count;
    }
    problem->starts[height] = total;
    problem->places = npb_allocate((size_t)total, sizeof(int));
    problem->values = npb_allocate((size_t)total, sizeof(double));
    scatter(problem, &all, ends, problem->places, problem->values);
    add_up(problem);
    free(ends);
    free(all.counts);
    free(all.places);
    free(all.values);
}

/* Sums count numbers over the processes of this row of the grid; room for as many in other. */
static void sum_along_row(const struct problem *problem, double *values, double *other, int count)
{
    for (int distance = 1; distance < problem->columns; distance *= 2) {
        int to = problem->row * problem->columns + (problem->column ^ distance);
        npb_exchange(values, count, to, other, count, to, TAG_SUM);
        for (int i = 0; i < count; i++)
            values[i] += other[i];
    }
}

/* result = matrix * vector */
static void multiply(struct problem *problem, const double *vector, double *result)
{
    const int *places = problem->places;
    const double *values = problem->values;

    for (int row = 0; row < problem->height; row++) {
        double sums[2] = {0.0, 0.0}; /* two chains of additions: one alone waits for itself */
        int k = problem->starts[row];
        int end = problem->starts[row + 1];
        for (; k + 1 < end; k += 2) {
            sums[0] += values[k] * vector[places[k]];
            sums[1] += values[k + 1] * vector[places[k + 1]];
        }
        if (k < end)
            sums[0] += values[k] * vector[places[k]];
        problem->product[row] = sums[0] + sums[1];
    }
    sum_along_row(problem, problem->product, problem->other, problem->height);
    const double *part = problem->product + problem->part_start;
    if (problem->partner == problem->run.rank)
        memcpy(result, part, (size_t)problem->width * sizeof *result);
    else
        npb_exchange(part, problem->part_length, problem->partner, result, problem->width, problem->partner, TAG_SWAP);
}

static double dot(const struct problem *problem, const double *a, const double *b)
{
    double sum = 0.0;
    double other;

    for (int i = 0; i < problem->width; i++)
        sum += a[i] * b[i];
    sum_along_row(problem, &sum, &other, 1);
    return sum;
}

/* Solves matrix * z = x as far as STEPS go; returns the norm of x - matrix * z. */
static double solve(struct problem *problem)
{
    int width = problem->width;
    double *z = problem->z;
    double *p = problem->p;
    double *q = problem->q;
    double *r = problem->r;

    for (int i = 0; i < width; i++) {
        z[i] = 0.0;
        p[i] = r[i] = problem->x[i];
    }
    double square = dot(problem, r, r);
    for (int step = 0; step < STEPS; step++) {
        multiply(problem, p, q);
        double alpha = square / dot(problem, p, q);
        for (int i = 0; i < width; i++) {
            z[i] += alpha * p[i];
            r[i] -= alpha * q[i];
        }
        double before = square;
        square = dot(problem, r, r);
        double beta = square / before;
        for (int i = 0; i < width; i++)
            p[i] = r[i] + beta * p[i];
    }
    multiply(problem, z, r);
    for (int i = 0; i < width; i++)
        r[i] = problem->x[i] - r[i];
    return sqrt(dot(problem, r, r));
}

/* count steps of inverse iteration from x = 1; returns the last estimate of the eigenvalue. */
static double iterate(struct problem *problem, int count, bool quiet)
{
    double zeta = 0.0;

    for (int i = 0; i < problem->width; i++)
        problem->x[i] = 1.0;
    for (int iteration = 1; iteration <= count; iteration++) {
        double residual = solve(problem);
        double scale = 1.0 / sqrt(dot(problem, problem->z, problem->z));
        zeta = classes[problem->run.index].shift + 1.0 / dot(problem, problem->x, problem->z);
        if (!quiet && iteration == 1)
            npb_say(&problem->run, "\n   iteration           ||r||                 zeta\n");
        if (!quiet)
            npb_say(&problem->run, "    %5d       %20.14E%20.13f\n", iteration, residual, zeta);
        for (int i = 0; i < problem->width; i++)
            problem->x[i] = scale * problem->z[i];
    }
    return zeta;
}

int main(int argc, char **argv)
{
    struct problem problem = {.row = 0};
    char size[32];
    double elapsed;
    double slowest;

    npb_start(&problem.run, "CG", &argc, &argv);
    npb_need_power_of_two(&problem.run, MOST_PROCESSES);
    int index = problem.run.index;
    problem.order = classes[index].order;
    int iterations = classes[index].iterations;
    double nonzeros = classes[index].nonzeros;
    npb_say(&problem.run, " Size: %10d  (class %c)\n Iterations: %5d\n", problem.order, problem.run.class, iterations);
    npb_say(&problem.run, " Number of nonzeroes per row: %8.0f\n", nonzeros);
    npb_say(&problem.run, " Eigenvalue shift: %9.3f\n", classes[index].shift);
    npb_say(&problem.run, " Total number of processes: %6d\n", problem.run.ranks);

    place_in_grid(&problem);
    make_matrix(&problem);
    double **vectors[] = {&problem.x, &problem.z, &problem.p, &problem.q, &problem.r};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        *vectors[i] = npb_allocate((size_t)problem.width, sizeof(double));
    problem.product = npb_allocate((size_t)problem.height, sizeof(double));
    problem.other = npb_allocate((size_t)problem.height, sizeof(double));

    iterate(&problem, 1, true);
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    double zeta = iterate(&problem, iterations, false);
    elapsed = MPI_Wtime() - start;
    MPI_Allreduce(&elapsed, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);

    bool verified = npb_is_close(zeta, classes[index].zeta, 1e-10);
    npb_say(&problem.run, " Benchmark completed\n VERIFICATION %s\n", verified ? "SUCCESSFUL" : "FAILED");
    npb_say(&problem.run, " Zeta is     %.13E\n Error is    %.13E\n", zeta, fabs(zeta / classes[index].zeta - 1.0));
    double pattern = nonzeros * (nonzeros + 1.0);
    snprintf(size, sizeof size, "%d", problem.order);
    struct npb_result result = {
        .size = size,
        .iterations = iterations,
        .seconds = slowest,
        .operations = 2e-6 * iterations * problem.order * (3.0 + pattern + STEPS * (5.0 + pattern) + 3.0),
        .operation = "floating point",
        .verified = verified,
    };
    return npb_finish(&problem.run, &result);
}
