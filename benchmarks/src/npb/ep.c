/*
 * EP, embarrassingly parallel: pairs of Gaussian deviates by the polar method, counted in square annuli.
 *
 * Any number of processes up to the number of batches.  A batch of 2^16 pairs starts at its own place in the one
 * sequence of random numbers, so that the sums do not depend on who computes which.
 */
#include "common.h"

#include <math.h>

#define BATCH_LOG 16
#define BATCH (1 << BATCH_LOG)
#define ANNULI 10

static const struct {
    int pairs_log;
    double sum_x;
    double sum_y;
} classes[NPB_CLASS_COUNT] = {
    {24, -3.247834652034740e3, -6.958407078382297e3},
    {25, -2.863319731645753e3, -6.320053679109499e3},
    {28, -4.295875165629892e3, -1.580732573678431e4},
    {30, 4.033815542441498e4, -2.660669192809235e4},
    {32, 4.764367927995374e4, -8.084072988043731e4},
};

struct sums {
    double x;
    double y;
    double counts[ANNULI];
};

static void add_batch(int64_t batch, double *uniforms, struct sums *sums)
{
    uint64_t state = npb_skip(NPB_EP_SEED, (uint64_t)batch * 2 * BATCH);

    for (int i = 0; i < 2 * BATCH; i++)
        uniforms[i] = 2.0 * npb_draw(&state) - 1.0;
    for (int i = 0; i < BATCH; i++) {
        double x = uniforms[2 * i];
        double y = uniforms[2 * i + 1];
        double square = x * x + y * y;
        if (square > 1.0)
            continue;
        double factor = sqrt(-2.0 * log(square) / square);
        double gauss_x = x * factor;
        double gauss_y = y * factor;
        sums->counts[(int)fmax(fabs(gauss_x), fabs(gauss_y))] += 1.0;
        sums->x += gauss_x;
        sums->y += gauss_y;
    }
}

int main(int argc, char **argv)
{
    struct npb_run run;
    struct sums mine = {.x = 0.0};
    struct sums all;
    char size[32];
    double elapsed;
    double slowest;
    double pairs = 0.0;

    npb_start(&run, "EP", &argc, &argv);
    int64_t batches = INT64_C(1) << (classes[run.index].pairs_log - BATCH_LOG);
    double numbers = ldexp(1.0, classes[run.index].pairs_log + 1);
    double *uniforms = npb_allocate((size_t)2 * BATCH, sizeof *uniforms);
    if (run.ranks > batches)
        npb_need_power_of_two(&run, (int)batches);
    npb_say(&run, " Number of random numbers generated: %15.0f  (class %c)\n", numbers, run.class);
    npb_say(&run, " Total number of processes:          %15d\n\n", run.ranks);

    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    int64_t first = batches * run.rank / run.ranks;
    int64_t end = batches * (run.rank + 1) / run.ranks;
    for (int64_t batch = first; batch < end; batch++)
        add_batch(batch, uniforms, &mine);
    MPI_Allreduce(&mine.x, &all.x, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(&mine.y, &all.y, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(mine.counts, all.counts, ANNULI, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    elapsed = MPI_Wtime() - start;
    MPI_Allreduce(&elapsed, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);

    for (int i = 0; i < ANNULI; i++)
        pairs += all.counts[i];
    npb_say(&run, "EP Benchmark Results:\n\nCPU Time =%10.4f\nN = 2^%5d\n", slowest, classes[run.index].pairs_log);
    npb_say(&run, "No. Gaussian Pairs = %14.0f.\nSums = %25.15e %25.15e\nCounts:\n", pairs, all.x, all.y);
    for (int i = 0; i < ANNULI; i++)
        npb_say(&run, "%3d %14.0f.\n", i, all.counts[i]);

    snprintf(size, sizeof size, "%.0f", numbers);
    struct npb_result result = {
        .size = size,
        .seconds = slowest,
        .operations = numbers / 1e6,
        .operation = "Random numbers generated",
        .verified = npb_is_close(all.x, classes[run.index].sum_x, 1e-8) &&
                    npb_is_close(all.y, classes[run.index].sum_y, 1e-8),
    };
    free(uniforms);
    return npb_finish(&run, &result);
}
