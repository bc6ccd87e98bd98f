/*
 * MG, multigrid: V-cycles on a periodic cube, for a Poisson problem of twenty point charges.
 *
 * The processes divide the cube along z, y and x in turn.  Every array has a halo of one cell, which is filled from
 * the neighbours one axis after the other, so that edges and corners come along.  Where a level leaves a process
 * fewer than four cells along an axis, all processes hold the whole level and compute the same: the cube is then so
 * small that one Allgather costs less than the halos of the levels below it.
 */
#include "mg_grid.h"

#include <math.h>

static const struct {
    int log;
    int iterations;
    double norm;
} classes[NPB_CLASS_COUNT] = {
    {5, 4, 0.5307707005734e-04},  {7, 4, 0.6467329375339e-05},  {8, 4, 0.2433365309069e-05},
    {8, 20, 0.1800564401355e-05}, {9, 20, 0.5706732285740e-06},
};

/* Coefficients by distance: the cell itself, across a face, an edge, a corner. */
static const double operator_a[] = {-8.0 / 3.0, 0.0, 1.0 / 6.0, 1.0 / 12.0};
static const double smoother_small[] = {-3.0 / 8.0, 1.0 / 32.0, -1.0 / 64.0, 0.0};
static const double smoother_large[] = {-3.0 / 17.0, 1.0 / 33.0, -1.0 / 61.0, 0.0};
static const double restriction[] = {1.0 / 2.0, 1.0 / 4.0, 1.0 / 8.0, 1.0 / 16.0};

/* ---- the four operations on a level ---- */

static void add_neighbours(struct problem *problem, const struct level *level, const double *data, int z, int y)
{
    const double *row = data + at(level, z, y);
    size_t down = level->row;
    size_t deep = level->plane;
    double *faces = problem->faces;
    double *edges = problem->edges;

    for (int x = 0; x < level->length[X] + 2; x++) {
        const double *cell = row + x;
        faces[x] = *(cell - down) + cell[down] + *(cell - deep) + cell[deep];
        edges[x] = *(cell - deep - down) + *(cell - deep + down) + *(cell + deep - down) + cell[deep + down];
    }
}

/* r = v - A u */
static void compute_residual(struct problem *problem, const struct level *level, const double *v)
{
    const double *a = operator_a;
    const double *faces = problem->faces;
    const double *edges = problem->edges;

    for (int z = 1; z <= level->length[Z]; z++) {
        for (int y = 1; y <= level->length[Y]; y++) {
            size_t row = at(level, z, y);
            const double *u = level->u + row;
            const double *charge = v + row;
            double *r = level->r + row;
            add_neighbours(problem, level, level->u, z, y);
            for (int x = 1; x <= level->length[X]; x++) /* a[1] is 0 */
                r[x] = charge[x] - a[0] * u[x] - a[2] * (edges[x] + faces[x - 1] + faces[x + 1]) -
                       a[3] * (edges[x - 1] + edges[x + 1]);
        }
    }
    fill_halo(problem, level, level->r);
}

/* u = u + S r */
static void smooth(struct problem *problem, const struct level *level)
{
    const double *c = problem->smoother;
    const double *faces = problem->faces;
    const double *edges = problem->edges;

    for (int z = 1; z <= level->length[Z]; z++) {
        for (int y = 1; y <= level->length[Y]; y++) {
            const double *r = level->r + at(level, z, y);
            double *u = level->u + at(level, z, y);
            add_neighbours(problem, level, level->r, z, y);
            for (int x = 1; x <= level->length[X]; x++) /* c[3] is 0 */
                u[x] += c[0] * r[x] + c[1] * (r[x - 1] + r[x + 1] + faces[x]) +
                        c[2] * (edges[x] + faces[x - 1] + faces[x + 1]);
        }
    }
    fill_halo(problem, level, level->u);
}

/* Cell j of the coarse level lies on cell 2 j of the fine one, counted with the halo.  part, with the strides of to,
   is where this process's cells of the coarse level begin. */
static void restrict_part(struct problem *problem, const struct level *from, const struct level *to, double *part)
{
    const double *p = restriction;
    const double *faces = problem->faces;
    const double *edges = problem->edges;

    for (int z = 1; z <= from->length[Z] / 2; z++) {
        for (int y = 1; y <= from->length[Y] / 2; y++) {
            const double *r = from->r + at(from, 2 * z, 2 * y);
            double *coarse = part + at(to, z, y);
            add_neighbours(problem, from, from->r, 2 * z, 2 * y);
            for (int x = 1; x <= from->length[X] / 2; x++) {
                int i = 2 * x;
                coarse[x] = p[0] * r[i] + p[1] * (r[i - 1] + r[i + 1] + faces[i]) +
                            p[2] * (edges[i] + faces[i - 1] + faces[i + 1]) + p[3] * (edges[i - 1] + edges[i + 1]);
            }
        }
    }
}

/* u = u + Q z, halo included: Q is linear between the cells of the coarse level. */
static void interpolate(const struct level *from, const double *part, const struct level *to)
{
    for (int z = 0; z <= to->length[Z] + 1; z++) {
        for (int y = 0; y <= to->length[Y] + 1; y++) {
            const double *near = part + at(from, z / 2, y / 2);
            size_t down = y % 2 ? from->row : 0;
            size_t deep = z % 2 ? from->plane : 0;
            double *u = to->u + at(to, z, y);
            for (int x = 0; x <= to->length[X] / 2; x++) {
                const double *cell = near + x;
                double here = cell[0] + cell[down] + cell[deep] + cell[down + deep];
                double next = cell[1] + cell[down + 1] + cell[deep + 1] + cell[down + deep + 1];
                u[2 * x] += 0.25 * here;
                u[2 * x + 1] += 0.125 * (here + next);
            }
        }
    }
}

/* ---- the method ---- */

static void run_cycle(struct problem *problem)
{
    for (int k = problem->top; k > 1; k--) {
        struct level *fine = &problem->levels[k];
        struct level *coarse = &problem->levels[k - 1];
        restrict_part(problem, fine, coarse, coarse->r + own_part(problem, coarse, fine));
        if (fine->spread && !coarse->spread)
            gather(problem, coarse, fine);
        fill_halo(problem, coarse, coarse->r);
        memset(coarse->u, 0, coarse->cells * sizeof *coarse->u);
    }
    smooth(problem, &problem->levels[1]);
    for (int k = 2; k <= problem->top; k++) {
        struct level *fine = &problem->levels[k];
        struct level *coarse = &problem->levels[k - 1];
        interpolate(coarse, coarse->u + own_part(problem, coarse, fine), fine);
        compute_residual(problem, fine, k == problem->top ? problem->v : fine->r);
        smooth(problem, fine);
    }
    compute_residual(problem, &problem->levels[problem->top], problem->v);
}

static double residual_norm(const struct problem *problem)
{
    const struct level *top = &problem->levels[problem->top];
    double sum = 0.0;
    double total;

    for (int z = 1; z <= top->length[Z]; z++)
        for (int y = 1; y <= top->length[Y]; y++)
            for (int x = 1; x <= top->length[X]; x++)
                sum += top->r[at(top, z, y) + (size_t)x] * top->r[at(top, z, y) + (size_t)x];
    MPI_Allreduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return sqrt(total / ldexp(1.0, 3 * problem->top));
}

static void start_over(struct problem *problem)
{
    struct level *top = &problem->levels[problem->top];

    memset(top->u, 0, top->cells * sizeof *top->u);
    place_charges(problem);
    compute_residual(problem, top, problem->v);
}

int main(int argc, char **argv)
{
    struct problem problem = {.top = 0};
    char size[32];
    double elapsed;
    double slowest;

    npb_start(&problem.run, "MG", &argc, &argv);
    int index = problem.run.index;
    int top = classes[index].log;
    int iterations = classes[index].iterations;
    npb_need_power_of_two(&problem.run, largest_count(top));
    snprintf(size, sizeof size, "%4dx%4dx%4d", 1 << top, 1 << top, 1 << top);
    npb_say(&problem.run, " Size: %s  (class %c)\n Iterations: %4d\n", size, problem.run.class, iterations);
    npb_say(&problem.run, " Total number of processes: %6d\n\n", problem.run.ranks);
    problem.smoother = problem.run.class == 'B' || problem.run.class == 'C' ? smoother_large : smoother_small;

    double start = MPI_Wtime();
    divide_cube(&problem, top);
    start_over(&problem);
    run_cycle(&problem);
    start_over(&problem);
    npb_say(&problem.run, "\n Initialization time: %15.3f seconds\n\n", MPI_Wtime() - start);

    MPI_Barrier(MPI_COMM_WORLD);
    start = MPI_Wtime();
    compute_residual(&problem, &problem.levels[top], problem.v);
    residual_norm(&problem);
    for (int iteration = 1; iteration <= iterations; iteration++) {
        if (iteration == 1 || iteration == iterations || iteration % 5 == 0)
            npb_say(&problem.run, "  iter %4d\n", iteration);
        run_cycle(&problem);
    }
    double norm = residual_norm(&problem);
    elapsed = MPI_Wtime() - start;
    MPI_Allreduce(&elapsed, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);

    bool verified = npb_is_close(norm, classes[index].norm, 1e-8);
    npb_say(&problem.run, "\n Benchmark completed\n VERIFICATION %s\n", verified ? "SUCCESSFUL" : "FAILED");
    npb_say(&problem.run, " L2 Norm is %20.13E\n", norm);
    npb_say(&problem.run, " Error is   %20.13E\n", fabs(norm / classes[index].norm - 1.0));
    struct npb_result result = {
        .size = size,
        .iterations = iterations,
        .seconds = slowest,
        .operations = 58e-6 * iterations * ldexp(1.0, 3 * top),
        .operation = "floating point",
        .verified = verified,
    };
    return npb_finish(&problem.run, &result);
}
